"""Sorting along one dimension; values follow by gathering, so only positions are primitive."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.ir.op import Primitive
from cupola.ops._build import of_real


def _argsort_reference(xp: Any, x: Any, dim: int, descending: bool) -> Any:
    if x.dtype.kind == "V" or (x.dtype.itemsize < 4 and x.dtype.kind not in "biu"):
        x = x.astype(xp.float32)
    if not descending:
        return xp.argsort(x, axis=dim, kind="stable").astype(xp.int64)
    # A stable descending order: sort the reversed sequence, then reverse positions. NaN comes
    # first, as in PyTorch.
    back = xp.flip(x, dim)
    order = xp.argsort(back, axis=dim, kind="stable")
    return xp.flip(x.shape[dim] - 1 - order, dim).astype(xp.int64)


argsort = Primitive(
    "argsort",
    "library",
    of_real("sort", lambda x, dim, descending: (x.shape, dtypes.int64)),
    _argsort_reference,
).register()


def _searchsorted_reference(xp: Any, edges: Any, values: Any, right: bool) -> Any:
    side = "right" if right else "left"
    if edges.ndim == 1:
        return xp.asarray(xp.searchsorted(edges, values, side=side)).astype(xp.int64)
    if not values.size or not edges.size:
        return xp.zeros(values.shape, xp.int64)
    rows = edges.reshape(-1, edges.shape[-1])
    wanted = values.reshape(rows.shape[0], -1)
    found = [xp.searchsorted(e, v, side=side) for e, v in zip(rows, wanted, strict=True)]
    return xp.stack(found).reshape(values.shape).astype(xp.int64)


searchsorted = Primitive(
    "searchsorted",
    "library",
    lambda edges, values, right: (values.shape, dtypes.int64),
    _searchsorted_reference,
).register()
