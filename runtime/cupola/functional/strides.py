"""Strides, contiguity and what can be viewed, as PyTorch would report them."""

from __future__ import annotations

from typing import Any

from cupola.functional._convert import wrap_dim
from cupola.functional._register import operator
from cupola.ir.strides import viewed
from cupola.tensor import Tensor
from cupola.tensor.geometry import phantom, strides


def viewable(x: Tensor, shape: tuple[int, ...]) -> bool:
    ghost, _, _ = phantom(x)
    if ghost is None:
        return True
    return 0 in shape or viewed(ghost.shape, ghost.strides, tuple(shape)) is not None


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the tensor's elements lie in memory in row-major order (as PyTorch would report)."""
    from cupola.ir.program import strides_of
    from cupola.tensor.layout import channels_last

    if memory_format is channels_last:
        return self.ndim == 4 and phantom(self.permute(0, 2, 3, 1))[0] is None
    want = strides_of(self._n.shape)
    have = strides(self)
    return self.numel() == 0 or all(
        n == 1 or a == b for n, a, b in zip(self._n.shape, want, have, strict=True)
    )


@operator(public=False)
def stride(self: Tensor, dim: int | None = None) -> Any:
    """Strides in elements, as PyTorch would report them."""
    found = strides(self)
    return found if dim is None else found[wrap_dim(dim, self.ndim)]


@operator(public=False)
def storage_offset(self: Tensor) -> int:
    """Offset of the first element in its storage, as PyTorch would report it."""
    return phantom(self)[2]


Tensor.is_contiguous = is_contiguous  # type: ignore[attr-defined]


__all__ = ["is_contiguous", "phantom", "strides", "viewable"]
