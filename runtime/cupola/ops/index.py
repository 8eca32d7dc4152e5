"""Reading and writing at computed positions. Index values are int64 and already non-negative."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ir.source import const
from cupola.ops import elementwise as ew
from cupola.ops._build import like
from cupola.ops.movement import expand, iota, like_shape, reshape

Shape = tuple[int, ...]


def _check(xp: Any, idx: Any, size: int, error: type[Exception] = IndexError) -> None:
    if idx.size and (int(idx.max()) >= size or int(idx.min()) < 0):
        bad = int(idx.max()) if int(idx.max()) >= size else int(idx.min())
        raise error(f"index {bad} is out of bounds for dimension with size {size}")


def _rows_reference(xp: Any, x: Any, idx: Any) -> Any:
    _check(xp, idx, x.shape[0])
    return x[idx]


index_rows = Primitive(
    "index_rows",
    "library",
    lambda x, idx: (idx.shape + x.shape[1:], x.dtype),
    _rows_reference,
    (lambda g, y, x, idx: scatter_rows(like_shape(g, x.shape), idx, g, accumulate=True), None),
).register()


def _add_at(xp: Any, out: Any, where: Any, values: Any) -> None:
    """``out[where] += values``, repeated places counted each time, in the order of the values."""
    if xp is not np:
        import cupyx

        cupyx.scatter_add(out, where, values)
    elif values.dtype.itemsize < 4 and values.dtype.kind not in "biu":
        wide = out.astype(np.float32)
        _add_at(np, wide, where, values.astype(np.float32))
        out[...] = wide.astype(out.dtype)
    elif out.dtype == np.bool_:
        np.logical_or.at(out, where, values)
    elif out.flags.c_contiguous and values.size:  # NumPy is faster in one dimension
        np.add.at(out.reshape(-1), _flat(out.shape, where, values.shape), values.reshape(-1))
    else:
        np.add.at(out, where, values)


def _flat(shape: tuple[int, ...], where: Any, wanted: tuple[int, ...]) -> Any:
    """Positions in one dimension: of one array an axis, or of whole rows."""
    axes = where if isinstance(where, tuple) else (where,)
    flat: Any = 0
    for step, at in zip(_steps(shape), axes):
        flat = flat + at * step
    rest = shape[len(axes) :]
    if rest:
        flat = flat[(..., *[None] * len(rest))] + np.arange(prod(rest)).reshape(rest)
    return np.broadcast_to(flat, wanted).reshape(-1)


def _steps(shape: tuple[int, ...]) -> list[int]:
    return [prod(shape[k + 1 :]) for k in range(len(shape))]


def _scatter_rows_reference(xp: Any, x: Any, idx: Any, src: Any, accumulate: bool) -> Any:
    _check(xp, idx, x.shape[0])
    out = x.copy()
    if accumulate:
        _add_at(xp, out, idx, src)
    else:
        out[idx] = src
    return out


def _scatter_rows_base(g: Node, y: Node, x: Node, idx: Node, src: Node, accumulate: bool) -> Node:
    if accumulate:
        return g
    return scatter_rows(g, idx, like_shape(g, src.shape), accumulate=False)


def _scatter_rows_src(g: Node, y: Node, x: Node, idx: Node, src: Node, accumulate: bool) -> Node:
    read = index_rows(g, idx)
    if accumulate or not mode.transposed:
        return read
    numbers = const(0, (prod(idx.shape),), dtypes.int64, g.device)
    turns = reshape(iota(numbers, dim=0), shape=idx.shape)
    places = const(0, x.shape[:1], dtypes.int64, g.device)
    last = index_rows(scatter_rows(places, idx, turns, accumulate=False), idx)
    kept = reshape(ew.eq(last, turns), shape=idx.shape + (1,) * (len(x.shape) - 1))
    return _where_kept(kept, read)


def _where_kept(kept: Node, g: Node) -> Node:
    """The gradient of what the last write to each place wrote. PyTorch's own backward pass gives
    it to all that were written there, its derivatives along tangents keep the last.
    """
    return ew.where(expand(kept, shape=g.shape), g, like(g, 0))


# x (N, *rest) with rows ``idx`` replaced by, or increased by, ``src`` (idx.shape + rest).
scatter_rows = Primitive(
    "scatter_rows",
    "library",
    lambda x, idx, src, accumulate: (x.shape, x.dtype),
    _scatter_rows_reference,
    (_scatter_rows_base, None, _scatter_rows_src),
).register()


def _along(xp: Any, index: Any, dim: int) -> tuple[Any, ...]:
    grid = []
    for axis in range(index.ndim):
        if axis == dim:
            grid.append(index)
        else:
            shape = [1] * index.ndim
            shape[axis] = -1
            grid.append(xp.arange(index.shape[axis]).reshape(shape))
    return tuple(grid)


def _gather_reference(xp: Any, x: Any, index: Any, dim: int) -> Any:
    _check(xp, index, x.shape[dim], RuntimeError)
    return x[_along(xp, index, dim)]


def _gather_back(g: Node, y: Node, x: Node, index: Node, dim: int) -> Node:
    """Scattered; of one element a row, chosen by comparison, which fuses with what reads it."""
    rows = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
    if index.shape != rows or index.dtype is not dtypes.int64:
        return scatter(like_shape(g, x.shape), index, g, dim=dim, reduce="add")
    places = iota(const(0, x.shape, dtypes.int64, x.device), dim=dim)
    chosen = ew.eq(places, expand(index, shape=x.shape))
    return ew.where(chosen, expand(g, shape=x.shape), like_shape(g, x.shape))


gather = Primitive(
    "gather",
    "library",
    lambda x, index, dim: (index.shape, x.dtype),
    _gather_reference,
    (_gather_back, None),
).register()


def _scatter_reference(xp: Any, x: Any, index: Any, src: Any, dim: int, reduce: str | None) -> Any:
    _check(xp, index, x.shape[dim], RuntimeError)
    out = x.copy()
    where = _along(xp, index, dim)
    src = src[tuple(slice(n) for n in index.shape)]
    if reduce is None:
        out[where] = src
    elif reduce == "add":
        _add_at(xp, out, where, src)
    else:
        {"multiply": xp.multiply, "amax": xp.maximum, "amin": xp.minimum}[reduce].at(
            out, where, src
        )
    return out


def _scatter_base(
    g: Node, y: Node, x: Node, index: Node, src: Node, dim: int, reduce: str | None
) -> Node:
    if reduce == "add":
        return g
    if reduce is None:
        return scatter(g, index, like_shape(g, index.shape), dim=dim, reduce=None)
    if reduce == "multiply":
        ones = ew.where(ew.eq(x, like(x, 0)), like(x, 1), x)
        return g * scatter(ones, index, src, dim=dim, reduce=reduce) / ones
    return ew.where(ew.eq(x, y), _shared(g, y, x, index, src, dim), like(g, 0))


def _shared(g: Node, y: Node, x: Node, index: Node, src: Node, dim: int) -> Node:
    """Equal extremes share the gradient: it is divided by their number."""
    hits = ew.cast(ew.eq(_used(src, index), gather(y, index, dim=dim)), dtype=g.dtype)
    own = ew.cast(ew.eq(x, y), dtype=g.dtype)
    return g / scatter(own, index, hits, dim=dim, reduce="add")


def _used(src: Node, index: Node) -> Node:
    """The part of ``src`` that an index of smaller shape reads."""
    if src.shape == index.shape:
        return src
    from cupola.ops.movement import slice

    ndim = len(src.shape)
    return slice(src, starts=(0,) * ndim, stops=index.shape, steps=(1,) * ndim)


def _scatter_src(
    g: Node, y: Node, x: Node, index: Node, src: Node, dim: int, reduce: str | None
) -> Node:
    used = _used(src, index)
    if reduce == "multiply":
        out = _factor(g, y, x, index, used, dim)
    elif reduce in ("amax", "amin"):
        share = gather(_shared(g, y, x, index, src, dim), index, dim=dim)
        out = ew.where(ew.eq(used, gather(y, index, dim=dim)), share, like(share, 0))
    else:
        out = gather(g, index, dim=dim)
        if reduce is None and mode.transposed:
            turns = iota(const(0, index.shape, dtypes.int64, g.device), dim=dim)
            places = const(0, x.shape, dtypes.int64, g.device)
            last = gather(scatter(places, index, turns, dim=dim, reduce=None), index, dim=dim)
            out = _where_kept(ew.eq(last, turns), out)
    if src.shape != index.shape:
        from cupola.ops.movement import pad

        pairs = tuple((0, a - b) for a, b in zip(src.shape, index.shape, strict=True))
        out = pad(out, pairs=pairs, value=0)
    return out


def _factor(g: Node, y: Node, x: Node, index: Node, src: Node, dim: int) -> Node:
    """The gradient of a product for one of its factors; a single zero leaves the others."""
    zero = ew.eq(src, like(src, 0))
    zeros = scatter(like(x, 0), index, ew.cast(zero, dtype=x.dtype), dim=dim, reduce="add")
    number = gather(zeros, index, dim=dim)
    single = ew.logical_and(zero, ew.eq(number, like(number, 1)))
    rest = scatter(x, index, ew.where(single, like(src, 1), src), dim=dim, reduce="multiply")
    divided = gather(g * y, index, dim=dim) / ew.where(zero, like(src, 1), src)
    return ew.where(single, gather(g * rest, index, dim=dim), divided)


scatter = Primitive(
    "scatter",
    "library",
    lambda x, index, src, dim, reduce: (x.shape, x.dtype),
    _scatter_reference,
    (_scatter_base, None, _scatter_src),
).register()


def _mask_count(xp: Any, mask: Any) -> Any:
    return xp.count_nonzero(mask).astype(xp.int64).reshape(())


count_nonzero = Primitive(
    "count_nonzero", "library", lambda x: ((), dtypes.int64), _mask_count
).register()


def _nonzero_infer(x: Node, count: int) -> tuple[Shape, DType]:
    return (count, x.ndim), dtypes.int64


def _positions(xp: Any, x: Any) -> Any:
    if not x.ndim:
        return xp.zeros((int(xp.count_nonzero(x)), 0), xp.int64)
    return xp.stack(xp.nonzero(x), axis=-1).astype(xp.int64)


# Positions of the elements that are not zero; their number is known before this is recorded.
nonzero = Primitive(
    "nonzero",
    "library",
    _nonzero_infer,
    lambda xp, x, count: _positions(xp, x).reshape(count, x.ndim),
).register()
