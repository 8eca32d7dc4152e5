"""The array object: a Tensor that the namespace made."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

from cupola.tensor import Size, Tensor, protocol

F = TypeVar("F", bound=Callable[..., Any])


class _Count(int):
    """A number of elements that, called, answers as ``torch.Tensor.size`` does."""

    _shape: Size

    def __call__(self, dim: int | None = None) -> Any:
        return self._shape if dim is None else self._shape[dim]


class Array(Tensor):
    """A Tensor whose operators and subscripts follow the Array API standard.

    Where torch.Tensor and the standard agree, and in everything that the standard does not name,
    it is a Tensor like any other: methods, gradients, modules. It differs in this: arrays of no
    dimensions count in type promotion, unsigned integers promote with signed ones, slices may run
    backwards, integer arrays of any dtype index, and ``size`` is the number of elements (which can
    be called as torch's method).
    """

    __torch_function__ = staticmethod(protocol.disabled)

    @property
    def size(self) -> Any:
        """The number of elements."""
        count = _Count(math.prod(self.shape))
        count._shape = self.shape
        return count

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else object.__format__(self, spec)

    @property
    def T(self) -> Any:  # noqa: N802
        """The transpose of a matrix.

        Raises:
            ValueError: the array has not two dimensions.
        """
        if self.ndim != 2:
            raise ValueError(
                f"x.T needs an array of two dimensions, got {self.ndim}; use x.mT for stacks of "
                "matrices, or permute_dims"
            )
        return as_array(Tensor.transpose(self, 0, 1))

    @property
    def mT(self) -> Any:  # noqa: N802
        """The transpose of each matrix of a stack.

        Raises:
            ValueError: the array has fewer than two dimensions.
        """
        if self.ndim < 2:
            raise ValueError(f"x.mT needs an array of two dimensions or more, got {self.ndim}")
        return as_array(Tensor.transpose(self, -2, -1))

    def to_device(self, device: Any, /, *, stream: Any = None) -> Any:
        """The array on a device."""
        moved = Tensor.to_device(self, device, stream=stream)  # type: ignore[attr-defined]
        return as_array(moved, self)


def as_array(x: Tensor, *mine: Any) -> Tensor:
    """A Tensor that was just made, as an Array; one of ``mine``, the caller's, stays what it is."""
    if type(x) is Tensor and not any(x is m for m in mine):
        x.__class__ = Array
    return x


def standard(f: F) -> F:
    """Publishes a function of the standard: tensors that it makes are Arrays."""

    @functools.wraps(f)
    def face(*args: Any, **kwargs: Any) -> Any:
        result = f(*args, **kwargs)
        if isinstance(result, Tensor):
            if type(result) is Tensor:
                return as_array(result, *_tensors(args))
        elif isinstance(result, (tuple, list)):
            given = _tensors(args)
            for r in result:
                if type(r) is Tensor:
                    as_array(r, *given)
        return result

    return face  # type: ignore[return-value]


def _tensors(args: tuple[Any, ...]) -> list[Tensor]:
    found: list[Tensor] = []
    for a in args:
        if isinstance(a, Tensor):
            found.append(a)
        elif isinstance(a, (tuple, list)):
            found += [b for b in a if isinstance(b, Tensor)]
    return found


__all__ = ["Array", "as_array", "standard"]
