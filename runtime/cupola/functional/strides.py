"""Strides, contiguity and what can be viewed, as PyTorch would report them."""

from __future__ import annotations

from typing import Any

from cupola.functional._convert import wrap_dim
from cupola.functional._register import operator
from cupola.ir.program import strides_of
from cupola.ir.strides import viewed
from cupola.random.layout import inner_first
from cupola.random.layout import is_contiguous as in_order
from cupola.tensor import Tensor
from cupola.tensor.geometry import phantom, strides
from cupola.tensor.layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    preserve_format,
)

_CHANNELS_LAST = ((0, 2, 3, 1), (0, 2, 3, 4, 1))


def viewable(x: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether PyTorch would give a view of this shape without a copy."""
    if x._storage is None and x._n.order is None:
        return True
    ghost, _, _ = phantom(x)
    if ghost is None:
        return True
    return 0 in shape or viewed(ghost.shape, ghost.strides, tuple(shape)) is not None


def order_of(memory_format: Any, rank: int) -> tuple[int, ...] | None:
    """The order in memory, outermost dimension first, that a format asks for; None: row-major.

    Raises:
        RuntimeError: the format is for another number of dimensions.
    """
    if memory_format not in (channels_last, channels_last_3d):
        return None
    wanted = 4 if memory_format is channels_last else 5
    if rank != wanted:
        name = str(memory_format).removeprefix("torch.")
        raise RuntimeError(f"required rank {wanted} tensor to use {name} format")
    return (0, *range(2, rank), 1)


def row_major(x: Tensor, keeps: bool = False) -> Tensor:
    """A result that was just made, laid in memory in the order of its dimensions, as PyTorch's
    kernels store it whatever they read; ``keeps``: channels_last stays as it is.
    """
    if not (keeps and x._n.order in _CHANNELS_LAST):
        x._n.order = None
    return x


def memory_order(x: Tensor, memory_format: Any = None) -> tuple[int, ...] | None:
    """Dimensions as ``empty_like`` lays them in memory, outermost first; None: row-major."""
    if x._storage is None and x._n.order is None and memory_format in (None, preserve_format):
        return None
    if memory_format is contiguous_format:
        return None
    wanted = order_of(memory_format, x.ndim)
    if wanted is not None:
        return wanted
    shape, steps = x._n.shape, strides(x)
    if in_order(shape, steps):
        return None
    places = iter([d for d in reversed(inner_first(shape, steps)) if shape[d] != 1])
    wanted = tuple(d if n == 1 else next(places) for d, n in enumerate(shape))
    return None if wanted == tuple(range(x.ndim)) else wanted


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the tensor's elements lie in memory in row-major order (as PyTorch would report),
    or in that of another format.
    """
    shape, order = self._n.shape, tuple(range(self.ndim))
    if memory_format in (channels_last, channels_last_3d):
        if self.ndim != (4 if memory_format is channels_last else 5):
            return False
        order = (0, *order[2:], 1)
    want = strides_of(tuple([shape[d] for d in order]))
    have = strides(self)
    return self.numel() == 0 or all(
        shape[d] == 1 or have[d] == step for d, step in zip(order, want, strict=True)
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


__all__ = [
    "is_contiguous",
    "memory_order",
    "order_of",
    "phantom",
    "row_major",
    "strides",
    "viewable",
]
