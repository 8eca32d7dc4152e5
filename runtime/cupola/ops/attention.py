"""Scaled dot-product attention as one library call, and its gradient.

``q`` (N, H, L, E), ``k`` (N, G, S, E), ``v`` (N, G, S, V), G a divisor of H: each key head serves
H / G query heads. Results have the heads next to the features, as the layers around attention read
and write them: ``out`` (N, L, H, V), and ``stats`` (N, H, L, 1) in float32, the logarithm of each
row's sum of exponentials. ``causal`` lets query i see the keys 0..i.

It is recorded where a GPU has a kernel for it (see ``functional.attention``); a gradient that
is itself differentiated is recorded as the composition.
"""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ir.source import const, item
from cupola.ops import elementwise, movement, reduce
from cupola.ops.matmul import matmul, transposed

_SWAPPED = (0, 2, 1, 3)


def _infer(q: Node, k: Node, v: Node, scale: float, causal: bool) -> Any:
    n, h, length, _ = q.shape
    return ((n, length, h, v.shape[-1]), (n, h, length, 1)), (q.dtype, dtypes.float32)


def _grad_infer(
    g: Node, q: Node, k: Node, v: Node, out: Node, stats: Node, scale: float, causal: bool
) -> Any:
    shapes = tuple(tuple(x.shape[d] for d in _SWAPPED) for x in (q, k, v))
    return shapes, (q.dtype,) * 3


def _wide(xp: Any, *arrays: Any) -> list[Any]:
    return [x.astype(xp.float32) if x.dtype.itemsize < 4 else x for x in arrays]


def _served(xp: Any, x: Any, heads: int) -> Any:
    """Keys or values with one head a query head."""
    return xp.repeat(x, heads // x.shape[1], axis=1)


def _gathered(x: Any, groups: int) -> Any:
    """Gradients of ``_served``: summed over the query heads of each key head."""
    n, h, *rest = x.shape
    return x.reshape(n, groups, h // groups, *rest).sum(2)


def _scores(xp: Any, q: Any, k: Any, scale: float, causal: bool) -> Any:
    scores = xp.matmul(q, k.swapaxes(-2, -1)) * scale
    if causal:
        seen = xp.arange(q.shape[2])[:, None] >= xp.arange(k.shape[2])
        scores = xp.where(seen, scores, xp.asarray(-math.inf, scores.dtype))
    return scores


def _reference(xp: Any, q: Any, k: Any, v: Any, scale: float, causal: bool) -> Any:
    kept, heads = q.dtype, q.shape[1]
    q, k, v = _wide(xp, q, k, v)
    scores = _scores(xp, q, _served(xp, k, heads), scale, causal)
    top = scores.max(-1, keepdims=True)
    powers = xp.exp(scores - top)
    total = powers.sum(-1, keepdims=True)
    out = xp.matmul(powers / total, _served(xp, v, heads)).transpose(_SWAPPED)
    return out.astype(kept), (top + xp.log(total)).astype(xp.float32)


def _grad_reference(
    xp: Any,
    g: Any,
    q: Any,
    k: Any,
    v: Any,
    out: Any,
    stats: Any,
    scale: float,
    causal: bool,
) -> Any:
    kept, heads, groups = q.dtype, q.shape[1], k.shape[1]
    g, q, k, v, out = _wide(xp, g, q, k, v, out)
    g, out = g.transpose(_SWAPPED), out.transpose(_SWAPPED)
    k, v = _served(xp, k, heads), _served(xp, v, heads)
    weights = xp.exp(_scores(xp, q, k, scale, causal) - stats)
    dv = xp.matmul(weights.swapaxes(-2, -1), g)
    inner = xp.matmul(g, v.swapaxes(-2, -1)) - (g * out).sum(-1, keepdims=True)
    ds = weights * inner * scale
    dq, dk = xp.matmul(ds, k), xp.matmul(ds.swapaxes(-2, -1), q)
    found = (dq, _gathered(dk, groups), _gathered(dv, groups))
    return tuple(x.transpose(_SWAPPED).astype(kept) for x in found)


def _rule(
    gs: tuple[Node, Node], node: Node, q: Node, k: Node, v: Node, scale: float, causal: bool
) -> list[Node]:
    if mode.grad:
        return _composed_gradient(gs, q, k, v, scale, causal)
    made = attention_grad(gs[0], q, k, v, item(node, 0), item(node, 1), scale=scale, causal=causal)
    return [movement.permute(item(made, i), dims=_SWAPPED) for i in range(3)]


def _composed_gradient(
    gs: tuple[Node, Node], q: Node, k: Node, v: Node, scale: float, causal: bool
) -> list[Node]:
    """The gradient as a composition, in float32, which is differentiable itself."""
    kept, heads, groups = q.dtype, q.shape[1], k.shape[1]

    work = dtypes.float32 if kept.itemsize < 4 else kept

    def wide(x: Node) -> Node:
        return x if x.dtype is work else elementwise.cast(x, dtype=work)

    def served(x: Node) -> Node:
        n, _, s, e = x.shape
        apart = movement.reshape(x, shape=(n, groups, 1, s, e))
        shape = (n, groups, heads // groups, s, e)
        return movement.reshape(movement.expand(apart, shape=shape), shape=(n, heads, s, e))

    def gathered(x: Node) -> Node:
        n, _, s, e = x.shape
        apart = movement.reshape(x, shape=(n, groups, heads // groups, s, e))
        found = movement.reshape(reduce.sum(apart, dims=(2,)), shape=(n, groups, s, e))
        return elementwise.cast(found, dtype=kept)

    def along(x: Node, like: Node) -> Node:
        return movement.expand(movement.reshape(x, shape=(*like.shape[:-1], 1)), shape=like.shape)

    g = wide(movement.permute(gs[0], dims=_SWAPPED))
    q, k, v = wide(q), served(wide(k)), served(wide(v))
    scores = matmul(q, transposed(k))
    number = const(scale, scores.shape, scores.dtype, scores.device)
    scores = scores * number
    if causal:
        places = const(0, scores.shape, dtypes.int64, scores.device)
        rows, columns = (movement.iota(places, dim=d) for d in (2, 3))
        hole = const(-math.inf, scores.shape, scores.dtype, scores.device)
        scores = elementwise.where(elementwise.lt(rows, columns), hole, scores)
    top = along(reduce.amax(scores, dims=(3,)), scores)
    powers = elementwise.exp(scores - top)
    weights = powers / along(reduce.sum(powers, dims=(3,)), powers)
    dv = matmul(transposed(weights), g)
    inner = matmul(g, transposed(v))
    mean = along(reduce.sum(inner * weights, dims=(3,)), inner)
    ds = weights * (inner - mean + along(wide(gs[1]), inner)) * number
    return [
        elementwise.cast(matmul(ds, k), dtype=kept),
        gathered(matmul(transposed(ds), q)),
        gathered(dv),
    ]


attention = Primitive(
    "attention", "library", _infer, _reference, _rule, multi=True, heavy=True
).register()
attention_grad = Primitive(
    "attention_grad", "library", _grad_infer, _grad_reference, multi=True
).register()
