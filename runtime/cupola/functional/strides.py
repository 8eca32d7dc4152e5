"""Strides as PyTorch would report them: worked out from how a tensor came about, unused by
kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.functional._convert import wrap_dim
from cupola.functional._register import operator
from cupola.ops import movement as mv
from cupola.tensor import Tensor


def strides(x: Tensor) -> tuple[int, ...]:
    """Strides that PyTorch would report, in elements."""
    return phantom(x)[1]


def phantom(x: Tensor) -> tuple[Any, tuple[int, ...], int]:
    """A NumPy array without data that has the strides of a view: (array, strides, offset)."""
    from cupola.ir.program import strides_of

    root = x._base._n.shape if x._base is not None else x._n.shape
    if x._storage is not None and x._storage.node is not None and x._chain:
        root, chain = x._storage.node.shape, x._chain
    else:
        chain = x._base_chain
    if not chain:
        order = x._n.order
        if order is None:
            return None, strides_of(x._n.shape), 0
        dense = np.lib.stride_tricks.as_strided(
            np.empty(1, np.int8), x._n.shape, _ordered(x._n.shape, order)
        )
        return dense, dense.strides, 0
    given = base_order(x)
    ghost = np.lib.stride_tricks.as_strided(
        np.empty(1, np.int8), root, strides_of(root) if given is None else _ordered(root, given)
    )
    start = ghost.__array_interface__["data"][0]
    for op, attrs in chain:
        if op is mv.as_strided:
            ghost = np.lib.stride_tricks.as_strided(
                np.empty(1, np.int8), attrs["shape"], attrs["strides"]
            )
            start = ghost.__array_interface__["data"][0] - attrs["offset"]
        elif op is mv.expand:
            steps = (
                0 if a != b else s
                for a, b, s in zip(ghost.shape, attrs["shape"], ghost.strides, strict=True)
            )
            ghost = np.lib.stride_tricks.as_strided(ghost, attrs["shape"], tuple(steps))
        elif op is mv.reshape and _same_but_ones(ghost.shape, attrs["shape"]):
            steps = _restride(ghost.shape, ghost.strides, attrs["shape"])
            ghost = np.lib.stride_tricks.as_strided(ghost, attrs["shape"], steps)
        else:
            assert op.reference is not None
            ghost = op.reference(np, ghost, **attrs)
    return ghost, ghost.strides, ghost.__array_interface__["data"][0] - start


def _same_but_ones(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def _restride(
    old: tuple[int, ...], steps: tuple[int, ...], new: tuple[int, ...]
) -> tuple[int, ...]:
    """Strides after dimensions of size 1 were dropped or inserted: the others keep theirs."""
    if len(old) == len(new):
        return tuple(steps)
    out: list[int] = []
    i = len(old) - 1
    spare = len(old) - len(new)
    for n in reversed(new):
        while i >= 0 and old[i] == 1 and (n != 1 or spare > 0):
            i, spare = i - 1, spare - 1
        if i >= 0 and old[i] == n:
            out.append(steps[i])
            i -= 1
        else:  # inserted: what the next dimension spans
            k = len(out)
            out.append(out[-1] * new[len(new) - k] if out else 1)
            spare += 1
    return tuple(reversed(out))


def base_order(x: Tensor) -> tuple[int, ...] | None:
    """Memory order of what a view's chain starts from."""
    if x._storage is not None and x._storage.node is not None and x._chain:
        return x._storage.node.order
    return x._base._n.order if x._base is not None else None


def _ordered(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a dense tensor whose dimensions lie in memory in ``order``."""
    out = [0] * len(shape)
    step = 1
    for d in reversed(order):
        out[d] = step
        step *= max(shape[d], 1)
    return tuple(out)


def viewable(x: Tensor, shape: tuple[int, ...]) -> bool:
    ghost, _, _ = phantom(x)
    if ghost is None:
        return True
    trial = ghost[...]
    try:
        trial.shape = shape
    except AttributeError:
        return False
    return True


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
