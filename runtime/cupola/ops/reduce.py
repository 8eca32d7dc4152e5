"""Reductions: ``dims`` are non-negative and sorted; reduced dimensions stay with size 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops._build import of_real
from cupola.ops.elementwise import cast, conj_of, eq

Shape = tuple[int, ...]


def _kept(shape: Shape, dims: Shape) -> Shape:
    return tuple(1 if i in dims else n for i, n in enumerate(shape))


def _infer(x: Node, dims: Shape) -> tuple[Shape, DType]:
    return _kept(x.shape, dims), x.dtype


def _infer_index(x: Node, dims: Shape) -> tuple[Shape, DType]:
    return _kept(x.shape, dims), dtypes.int64


def spread(g: Node, shape: Shape) -> Node:
    """Broadcasts a reduced value back over the dimensions that were reduced."""
    from cupola.ops.movement import expand

    return expand(g, shape=shape) if g.shape != shape else g


def _wide(xp: Any, x: Any) -> Any:
    return x.astype(xp.float32) if x.dtype.itemsize < 4 and x.dtype.kind not in "biu" else x


def _reference(name: str) -> Any:
    def reference(xp: Any, x: Any, dims: Shape) -> Any:
        if name in ("sum", "prod"):
            return getattr(xp, name)(
                _wide(xp, x), axis=dims, keepdims=True, dtype=_wide(xp, x).dtype
            ).astype(x.dtype)
        return getattr(xp, name)(x, axis=dims, keepdims=True)

    return reference


sum = Primitive(
    "sum", "reduce", _infer, _reference("sum"), (lambda g, y, x, dims: spread(g, x.shape),)
).register()


def _prod_back(g: Node, y: Node, x: Node, dims: Shape) -> Node:
    """Products of the other elements: exact where there are zeros, unlike y / x."""
    from cupola.ops.movement import flip, permute, reshape
    from cupola.ops.scan import exclusive_cumprod

    keep = tuple(i for i in range(x.ndim) if i not in dims)
    order = keep + dims
    rows = tuple(x.shape[i] for i in keep)
    flat = reshape(permute(x, dims=order), shape=(*rows, math.prod(x.shape[i] for i in dims)))
    last = len(rows)
    before = exclusive_cumprod(flat, dim=last)
    after = flip(exclusive_cumprod(flip(flat, dims=(last,)), dim=last), dims=(last,))
    inverse = tuple(order.index(i) for i in range(x.ndim))
    others = permute(reshape(before * after, shape=tuple(x.shape[i] for i in order)), dims=inverse)
    return spread(g, x.shape) * conj_of(others)


prod = Primitive("prod", "reduce", _infer, _reference("prod"), (_prod_back,)).register()


def _extreme_back(g: Node, y: Node, x: Node, dims: Shape) -> Node:
    """The gradient is shared evenly among equal extremes, as in torch.amax."""
    hits = eq(x, spread(y, x.shape))
    ones = cast(hits, dtype=g.dtype)
    return spread(g / sum(ones, dims=dims), x.shape) * ones


amax = Primitive(
    "amax", "reduce", of_real("amax", _infer), _reference("max"), (_extreme_back,)
).register()
amin = Primitive(
    "amin", "reduce", of_real("amin", _infer), _reference("min"), (_extreme_back,)
).register()


def _arg_reference(name: str) -> Any:
    def reference(xp: Any, x: Any, dims: Shape) -> Any:
        keep = tuple(i for i in range(x.ndim) if i not in dims)
        rows = tuple(x.shape[i] for i in keep)
        flat = x.transpose(keep + tuple(dims)).reshape(*rows, -1)
        if flat.dtype.kind == "V" or flat.dtype.itemsize < 2:
            flat = flat.astype(xp.float32 if flat.dtype.kind == "V" else flat.dtype)
        return getattr(xp, name)(flat, axis=-1).astype(np.int64).reshape(_kept(x.shape, dims))

    return reference


# Over several dims the result is the row-major position within them; NaN counts as extreme, the
# first one wins.
argmax = Primitive(
    "argmax", "reduce", of_real("argmax", _infer_index), _arg_reference("argmax")
).register()
argmin = Primitive(
    "argmin", "reduce", of_real("argmin", _infer_index), _arg_reference("argmin")
).register()
