"""Prefix operations along one dimension."""

from __future__ import annotations

from typing import Any

from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops.movement import flip


def _scan(name: str) -> Any:
    def reference(xp: Any, x: Any, dim: int) -> Any:
        wide = x.astype(xp.float32) if x.dtype.itemsize < 4 and x.dtype.kind not in "biu" else x
        return getattr(xp, name)(wide, axis=dim).astype(x.dtype)

    return reference


def _cumsum_back(g: Node, y: Node, x: Node, dim: int) -> Node:
    return flip(cumsum(flip(g, dims=(dim,)), dim=dim), dims=(dim,))


cumsum = Primitive(
    "cumsum", "library", lambda x, dim: (x.shape, x.dtype), _scan("cumsum"), (_cumsum_back,)
).register()


def _exclusive_reference(xp: Any, x: Any, dim: int) -> Any:
    out = xp.ones_like(x)
    here = [slice(None)] * x.ndim
    there = [slice(None)] * x.ndim
    here[dim], there[dim] = slice(1, None), slice(0, -1)
    out[tuple(here)] = xp.cumprod(x[tuple(there)], axis=dim)
    return out


def _product_back(exclusive: bool) -> Any:
    """d y_j / d x_i is the product of the factors of y_j other than x_i: an O(n^2) sum that stays
    right at zeros.
    """

    def rule(g: Node, y: Node, x: Node, dim: int) -> Node:
        return cumprod_grad(g, x, dim=dim, exclusive=exclusive)

    return rule


def _cumprod_grad_reference(xp: Any, g: Any, x: Any, dim: int, exclusive: bool) -> Any:
    g, x = xp.moveaxis(g, dim, -1), xp.moveaxis(x, dim, -1)
    out = xp.zeros_like(x)
    n = x.shape[-1]
    for i in range(n):
        rest = x[..., i:].copy()
        rest[..., 0] = 1
        prefix = xp.prod(x[..., :i], axis=-1, keepdims=True)
        run = prefix * xp.cumprod(rest, axis=-1)  # run[j]: product up to i + j without x_i
        share = g[..., i + 1 :] * run[..., : n - i - 1] if exclusive else g[..., i:] * run
        out[..., i] = share.sum(-1)
    return xp.moveaxis(out, -1, dim)


cumprod_grad = Primitive(
    "cumprod_grad",
    "library",
    lambda g, x, dim, exclusive: (x.shape, x.dtype),
    _cumprod_grad_reference,
).register()
cumprod = Primitive(
    "cumprod",
    "library",
    lambda x, dim: (x.shape, x.dtype),
    _scan("cumprod"),
    (_product_back(False),),
).register()
exclusive_cumprod = Primitive(
    "exclusive_cumprod",
    "library",
    lambda x, dim: (x.shape, x.dtype),
    _exclusive_reference,
    (_product_back(True),),
).register()


def _running(better: str) -> Any:
    def reference(xp: Any, x: Any, dim: int) -> Any:
        run = (xp.maximum if better == "max" else xp.minimum).accumulate(x, axis=dim)
        place = xp.arange(x.shape[dim]).reshape([-1 if a == dim else 1 for a in range(x.ndim)])
        # The last position that reached the running extreme, as PyTorch reports it.
        hit = xp.where((x == run) | (x != x), place, -1)
        return xp.maximum.accumulate(hit, axis=dim).astype(xp.int64)

    return reference


def _index_infer(x: Node, dim: int) -> Any:
    from cupola.dtypes import int64

    return x.shape, int64


cummax_index = Primitive("cummax_index", "library", _index_infer, _running("max")).register()
cummin_index = Primitive("cummin_index", "library", _index_infer, _running("min")).register()
