"""Where PyTorch would put a tensor's elements: strides and offset in its storage, worked out from
how the tensor came about. Kernels use none of it; programs ask, and writes may be refused for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.ops import movement as mv
from cupola.tensor.reread import Reread

Shape = tuple[int, ...]
_REPEATING = (mv.expand, mv.as_strided, mv.window)


def strides(x: Any) -> Shape:
    """Strides that PyTorch would report, in elements."""
    return phantom(x)[1]


def phantom(x: Any) -> tuple[Any, Shape, int]:
    """A NumPy array without data that has the strides of a view: (array, strides, offset).

    The array is None for a row-major tensor that is no view.
    """
    from cupola.ir.program import strides_of

    storage = x._storage
    chain = () if storage is None else x._chain
    if not chain and (storage is None or storage.external is None):
        order = x._n.order
        if order is None:
            return None, strides_of(x._n.shape), 0
        steps = ordered(x._n.shape, order)
        return _ghost(x._n.shape, steps), steps, 0
    if storage.external is not None:
        base, size = storage.external, max(storage.external.itemsize, 1)
        ghost = _ghost(base.shape, tuple(s // size for s in base.strides))
    else:
        shape, order = storage.node.shape, storage.node.order
        ghost = _ghost(shape, strides_of(shape) if order is None else ordered(shape, order))
    return _walked(ghost, chain)


def geometry(shape: Shape, chain: Any) -> tuple[Shape, Shape, int]:
    """Shape, strides and offset of a view of a row-major array."""
    from cupola.ir.program import strides_of

    ghost, steps, offset = _walked(_ghost(shape, strides_of(shape)), chain)
    return ghost.shape, steps, offset


def _walked(ghost: Any, chain: Any) -> tuple[Any, Shape, int]:
    start = _address(ghost)
    for op, attrs in chain:
        if op is mv.as_strided:
            ghost = _ghost(attrs["shape"], attrs["strides"])
            start = _address(ghost) - attrs["offset"]
        elif op is mv.expand:
            steps = tuple(
                0 if a != b else s
                for a, b, s in zip(ghost.shape, attrs["shape"], ghost.strides, strict=True)
            )
            ghost = np.lib.stride_tricks.as_strided(ghost, attrs["shape"], steps)
        elif op is mv.reshape and _same_but_ones(ghost.shape, attrs["shape"]):
            steps = _restride(ghost.shape, ghost.strides, attrs["shape"])
            ghost = np.lib.stride_tricks.as_strided(ghost, attrs["shape"], steps)
        elif op is mv.slice:  # of nothing, too, the place where it would begin
            begin = sum(a * s for a, s in zip(attrs["starts"], ghost.strides, strict=True))
            there = _address(ghost) - start + begin
            ghost = op.reference(np, ghost, **attrs)
            start = _address(ghost) - there
        elif isinstance(op, Reread):
            steps, offset = op.strides(ghost.strides, _address(ghost) - start, **attrs)
            ghost = _ghost(op.shape(ghost.shape, **attrs), steps)
            start = _address(ghost) - offset
        else:
            assert op.reference is not None
            ghost = op.reference(np, ghost, **attrs)
    return ghost, ghost.strides, _address(ghost) - start


def _ghost(shape: Shape, steps: Shape) -> Any:
    return np.lib.stride_tricks.as_strided(np.empty(1, np.int8), shape, steps)


def _address(ghost: Any) -> int:
    found: int = ghost.__array_interface__["data"][0]
    return found


def _same_but_ones(old: Shape, new: Shape) -> bool:
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def _restride(old: Shape, steps: Shape, new: Shape) -> Shape:
    """Strides after dimensions of size 1 were dropped or inserted: the others keep theirs."""
    if old == new:
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


def ordered(shape: Shape, order: Shape) -> Shape:
    """Strides of a dense tensor whose dimensions lie in memory in ``order``."""
    out = [0] * len(shape)
    step = 1
    for d in reversed(order):
        out[d] = step
        step *= max(shape[d], 1)
    return tuple(out)


def dense(shape: Shape, steps: Shape) -> bool:
    """Whether elements fill a stretch of memory, each in a place of its own."""
    span = 1
    for s, n in sorted((s, n) for n, s in zip(shape, steps, strict=True) if n != 1):
        if s != span:
            return False
        span *= n
    return True


def distinct(shape: Shape, steps: Shape) -> bool:
    """Whether every element surely has a place of its own."""
    span = 1
    for s, n in sorted((s, n) for n, s in zip(shape, steps, strict=True) if n != 1):
        if s < span:
            return False
        span += s * (n - 1)
    return True


_REPEATED = (
    "unsupported operation: more than one element of the written-to tensor refers to a single "
    "memory location. Please clone() the tensor before performing the operation."
)
_OVERLAPPING = (
    "unsupported operation: some elements of the input tensor and the written-to tensor refer to "
    "a single memory location. Please clone() the tensor before performing the operation."
)


def check_write(
    target: Any,
    *operands: Any,
    apart: bool = False,
    repeats: bool = False,
    aligned: bool = False,
) -> None:
    """Refuses writes whose result would depend on the order in which memory is visited.

    Args:
        target: the tensor to be written.
        operands: what the operator reads; other values than tensors are skipped.
        apart: not even the target itself may be read.
        repeats: the target may repeat elements.
        aligned: the operand is expanded to the target's shape before it is looked at.

    Raises:
        RuntimeError: the target repeats elements, or an operand lies partly in its memory.
    """
    storage = target._storage
    if storage is None:
        if apart and any(x is target for x in operands):
            raise RuntimeError(_OVERLAPPING)
        return
    if not repeats and any(op in _REPEATING for op, _ in target._chain):
        shape, steps = target._n.shape, strides(target)
        if 0 not in shape and any(s == 0 and n > 1 for n, s in zip(shape, steps, strict=True)):
            raise RuntimeError(_REPEATED)
    for x in operands:
        if getattr(x, "_storage", None) is storage and (x is not target or apart):
            _check_apart(target, x, apart, aligned)


def _check_apart(target: Any, x: Any, apart: bool, aligned: bool) -> None:
    _, a_steps, a = phantom(target)
    _, b_steps, b = phantom(x)
    m, n = target.numel(), x.numel()
    wide, narrow = target._n.dtype.itemsize, x._n.dtype.itemsize
    if not m or not n:
        return
    if target is x:
        raise RuntimeError(_OVERLAPPING)
    if not dense(target._n.shape, a_steps) or not dense(x._n.shape, b_steps):
        return  # PyTorch finds this too hard to say
    if wide != narrow:  # the same memory as other dtypes: places in bytes
        a, b, m, n = a * wide, b * narrow, m * wide, n * narrow
    if (a, m) == (b, n):
        if apart or not aligned and len(a_steps) != len(b_steps):
            raise RuntimeError(_OVERLAPPING)
        if _moving(target, a_steps) != _moving(x, b_steps):
            raise RuntimeError(_OVERLAPPING)
    elif a < b + n and b < a + m:
        raise RuntimeError(_OVERLAPPING)


def _moving(x: Any, steps: Shape) -> list[tuple[int, int]]:
    """Sizes and strides of the dimensions that have a stride."""
    return [(n, s) for n, s in zip(x._n.shape, steps, strict=True) if n != 1]
