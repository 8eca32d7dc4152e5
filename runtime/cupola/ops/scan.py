"""Prefix operations along one dimension."""

from __future__ import annotations

from typing import Any

import ml_dtypes

from cupola.dtypes import int64
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ir.source import const
from cupola.ops._build import like, of_real
from cupola.ops.elementwise import conj_of, eq, exp, ge, gt, log, lt, neg, where
from cupola.ops.movement import expand, flip, iota, permute, reshape
from cupola.ops.reduce import sum as sum_


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


def _rows(x: Node, dim: int) -> Node:
    """n copies of x along a new first dimension, one for each position of ``dim``."""
    return expand(reshape(x, shape=(1, *x.shape)), shape=(x.shape[dim], *x.shape))


def _pairs(x: Node, dim: int) -> tuple[Node, Node]:
    """Positions i of the copy and j along ``dim``, for every element of the copies."""
    blank = const(0, (x.shape[dim], *x.shape), int64, x.device)
    return iota(blank, dim=0), iota(blank, dim=dim + 1)


def _columns(x: Node, dim: int) -> Node:
    """As _rows, but every copy holds its own element of ``dim`` throughout."""
    first = permute(x, dims=(dim, *(d for d in range(x.ndim) if d != dim)))
    shape = (first.shape[0], *(1 if d == dim else n for d, n in enumerate(x.shape)))
    return expand(reshape(first, shape=shape), shape=(x.shape[dim], *x.shape))


def _summed(keep: Node, terms: Node, dim: int) -> Node:
    """Sums over j where ``keep`` holds, with i moved to its place."""
    total = sum_(where(keep, terms, like(terms, 0)), dims=(dim + 1,))
    rest = total.shape[1 : dim + 1] + total.shape[dim + 2 :]
    flat = reshape(total, shape=(total.shape[0], *rest))
    order = tuple(range(1, dim + 1)) + (0,) + tuple(range(dim + 1, flat.ndim))
    return permute(flat, dims=order)


def _product_back(exclusive: bool) -> Any:
    """d y_j / d x_i is the product of the factors of y_j other than x_i: an O(n^2) sum that stays
    right at zeros.
    """

    def rule(g: Node, y: Node, x: Node, dim: int) -> Node:
        x = conj_of(x)
        if not mode.grad:
            return cumprod_grad(g, x, dim=dim, exclusive=exclusive)
        # Differentiable itself: row i holds the products without factor i.
        row, place = _pairs(x, dim)
        product = exclusive_cumprod if exclusive else cumprod
        runs = product(where(eq(row, place), like(_rows(x, dim), 1), _rows(x, dim)), dim=dim + 1)
        later = gt if exclusive else ge
        return _summed(later(place, row), _rows(g, dim) * runs, dim)

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


def _logcumsumexp_reference(xp: Any, x: Any, dim: int) -> Any:
    import numpy as np

    host = x if xp is np else xp.asnumpy(x)
    wide = host.astype(np.float64) if host.dtype.kind == "f" else host  # as PyTorch accumulates
    out = np.logaddexp.accumulate(wide, axis=dim).astype(host.dtype)
    return xp.asarray(out)


def _logcumsumexp_back(g: Node, y: Node, x: Node, dim: int) -> Node:
    """exp(x_i) times the sum of g_j exp(-y_j) over j >= i, in logarithms as PyTorch has it: the
    positive and the negative part of g apart.
    """
    if mode.grad:  # a sum of pairs: differentiable in g, too, also where it is zero
        row, place = _pairs(x, dim)
        keep = ge(place, row)
        gap = where(keep, _columns(x, dim) - _rows(y, dim), like(_rows(y, dim), 0))
        return _summed(keep, _rows(g, dim) * exp(gap), dim)
    size = log(where(gt(g, like(g, 0)), g, neg(g)))
    low = like(g, float(ml_dtypes.finfo(g.dtype.np).min))

    def part(wanted: Node) -> Node:
        tail = flip(where(wanted, size, low) - y, dims=(dim,))
        return exp(flip(logcumsumexp(tail, dim=dim), dims=(dim,)) + x)

    return part(gt(g, like(g, 0))) - part(lt(g, like(g, 0)))


logcumsumexp = Primitive(
    "logcumsumexp",
    "library",
    lambda x, dim: (x.shape, x.dtype),
    _logcumsumexp_reference,
    (_logcumsumexp_back,),
).register()


def _index_infer(x: Node, dim: int) -> Any:
    return x.shape, int64


cummax_index = Primitive(
    "cummax_index", "library", of_real("cummax", _index_infer), _running("max")
).register()
cummin_index = Primitive(
    "cummin_index", "library", of_real("cummin", _index_infer), _running("min")
).register()
