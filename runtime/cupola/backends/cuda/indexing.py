"""Reading and writing at computed positions with CuPy, without waiting to check them."""

from __future__ import annotations

from typing import Any

from cupola.backends.cuda.device import require
from cupola.backends.cuda.flags import flags


def _check(index: Any, size: int) -> None:
    if flags.check_indices and index.size:
        high, low = int(index.max()), int(index.min())
        if high >= size or low < 0:
            bad = high if high >= size else low
            raise IndexError(f"index {bad} is out of bounds for dimension with size {size}")


def _along(index: Any, dim: int) -> tuple[Any, ...]:
    """``index`` along ``dim``, the own position along every other dimension."""
    xp = require()
    shapes = [[-1 if a == axis else 1 for a in range(index.ndim)] for axis in range(index.ndim)]
    grid = [xp.arange(n).reshape(s) for n, s in zip(index.shape, shapes)]
    grid[dim] = index
    return tuple(grid)


def _add(out: Any, where: Any, values: Any) -> None:
    """``out[where] += values`` with repeated positions counted each time."""
    xp = require()
    if out.dtype == xp.bool_:
        wide = out.astype(xp.int32)
        xp.add.at(wide, where, values.astype(xp.int32))
        out[...] = wide != 0
    elif out.dtype.itemsize < 4 or out.dtype == xp.int64:
        # Atomic additions exist for 32- and 64-bit floats and for 32-bit and unsigned 64-bit
        # integers.
        kind = (
            xp.uint64
            if out.dtype == xp.int64
            else xp.int32
            if out.dtype.kind in "iu"
            else xp.float32
        )
        wide = out.view(kind) if out.dtype == xp.int64 else out.astype(kind)
        xp.add.at(wide, where, values.view(kind) if out.dtype == xp.int64 else values.astype(kind))
        out[...] = wide.view(out.dtype) if out.dtype == xp.int64 else wide.astype(out.dtype)
    else:
        xp.add.at(out, where, values)


def _extreme(out: Any, where: Any, values: Any, largest: bool) -> None:
    """``out[where] = max(out[where], values)`` or min; NaN wins.

    Floating-point numbers are compared as integers in the same order: CuPy's own maximum rounds
    float64 to float32 and passes over NaN.
    """
    xp = require()
    fold = (xp.maximum if largest else xp.minimum).at
    kind = out.dtype.kind
    if kind in "biu":
        wide = out if out.dtype.name in _ATOMIC else out.astype(xp.int32)
        fold(wide, where, values.astype(wide.dtype))
        if wide is not out:
            out[...] = wide.astype(out.dtype)
        return
    small = out.dtype.itemsize < 4
    wide, values = (a.astype(xp.float32) if small else a for a in (out, values))
    keys = _ordered(wide, largest)
    fold(keys, where, _ordered(values, largest))
    out[...] = _unordered(keys, wide.dtype, largest).astype(out.dtype)


_ATOMIC = ("int32", "int64", "uint32", "uint64")


def _ordered(x: Any, largest: bool) -> Any:
    """Integers in the order of floating-point numbers; NaN is the largest, or the smallest."""
    xp = require()
    kind = xp.dtype(xp.int32 if x.dtype.itemsize == 4 else xp.int64)
    ends = xp.iinfo(kind)
    bits = xp.ascontiguousarray(x).view(kind)
    keys = xp.where(bits < 0, bits ^ kind.type(ends.max), bits)
    return xp.where(xp.isnan(x), kind.type(ends.max if largest else ends.min), keys)


def _unordered(keys: Any, dtype: Any, largest: bool) -> Any:
    """What ``_ordered`` was made from."""
    xp = require()
    ends = xp.iinfo(keys.dtype)
    nan = keys == keys.dtype.type(ends.max if largest else ends.min)
    bits = xp.where(keys < 0, keys ^ keys.dtype.type(ends.max), keys)
    return xp.where(nan, dtype.type(xp.nan), bits.view(dtype))


def index_rows(x: Any, idx: Any) -> Any:
    """x (N, *rest), idx S int64 -> (S, *rest)."""
    _check(idx, x.shape[0])
    return require().take(x, idx, axis=0)


def gather(x: Any, index: Any, dim: int) -> Any:
    """Elements of ``x`` at ``index`` along ``dim``; other dimensions may be shorter than x's."""
    _check(index, x.shape[dim])
    return x[_along(index, dim)]


def scatter_rows(x: Any, idx: Any, src: Any, accumulate: bool) -> Any:
    """A copy of x (N, *rest) with rows ``idx`` replaced by, or increased by, ``src``."""
    _check(idx, x.shape[0])
    out = x.copy()
    if accumulate:
        _add(out, idx, src)
    else:
        out[idx] = src
    return out


def scatter(x: Any, index: Any, src: Any, dim: int, reduce: str | None) -> Any:
    """A copy of ``x`` with ``src`` written or folded in at ``index`` along ``dim``."""
    xp = require()
    _check(index, x.shape[dim])
    out = x.copy()
    where = _along(index, dim)
    src = src[tuple(slice(n) for n in index.shape)]
    if reduce is None:
        out[where] = src
    elif reduce == "add":
        _add(out, where, src)
    elif reduce in ("amax", "amin"):
        _extreme(out, where, src, reduce == "amax")
    else:  # CuPy has no atomic product
        import numpy as np

        host = xp.asnumpy(out)
        np.multiply.at(host, tuple(xp.asnumpy(w) for w in where), xp.asnumpy(src))
        out[...] = xp.asarray(host)
    return out
