"""Reading and writing at computed positions. Index values are int64 and already non-negative."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops._build import like
from cupola.ops.movement import like_shape

Shape = tuple[int, ...]


def _check(xp: Any, idx: Any, size: int) -> None:
    if idx.size and (int(idx.max()) >= size or int(idx.min()) < 0):
        bad = int(idx.max()) if int(idx.max()) >= size else int(idx.min())
        raise IndexError(f"index {bad} is out of bounds for dimension with size {size}")


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
    if xp is np:
        if values.dtype.itemsize < 4 and values.dtype.kind not in "biu":
            wide = out.astype(np.float32)
            np.add.at(wide, where, values.astype(np.float32))
            out[...] = wide.astype(out.dtype)
            return
        if out.dtype == np.bool_:
            np.logical_or.at(out, where, values)
            return
        np.add.at(out, where, values)
    else:
        import cupyx

        cupyx.scatter_add(out, where, values)


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


# x (N, *rest) with rows ``idx`` replaced by, or increased by, ``src`` (idx.shape + rest).
scatter_rows = Primitive(
    "scatter_rows",
    "library",
    lambda x, idx, src, accumulate: (x.shape, x.dtype),
    _scatter_rows_reference,
    (_scatter_rows_base, None, lambda g, y, x, idx, src, accumulate: index_rows(g, idx)),
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
    _check(xp, index, x.shape[dim])
    return x[_along(xp, index, dim)]


gather = Primitive(
    "gather",
    "library",
    lambda x, index, dim: (index.shape, x.dtype),
    _gather_reference,
    (
        lambda g, y, x, index, dim: scatter(
            like_shape(g, x.shape), index, g, dim=dim, reduce="add"
        ),
        None,
    ),
).register()


def _scatter_reference(xp: Any, x: Any, index: Any, src: Any, dim: int, reduce: str | None) -> Any:
    _check(xp, index, x.shape[dim])
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
    raise NotImplementedError(
        f"the derivative of scatter with reduce='{reduce}' is not implemented"
    )


def _scatter_src(
    g: Node, y: Node, x: Node, index: Node, src: Node, dim: int, reduce: str | None
) -> Node:
    out = gather(g, index, dim=dim)
    if src.shape != index.shape:
        from cupola.ops.movement import pad

        pairs = tuple((0, a - b) for a, b in zip(src.shape, index.shape, strict=True))
        out = pad(out, pairs=pairs, value=0)
    return out


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


# Positions of the elements that are not zero; their number is known before this is recorded.
nonzero = Primitive(
    "nonzero",
    "library",
    _nonzero_infer,
    lambda xp, x, count: xp.stack(xp.nonzero(x), axis=-1).astype(xp.int64).reshape(count, x.ndim),
).register()

__all__ = ["count_nonzero", "gather", "index_rows", "like", "nonzero", "scatter", "scatter_rows"]
