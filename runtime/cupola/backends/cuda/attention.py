"""Scaled dot-product attention: half types through cuDNN, float32 where TF32 is allowed by a kernel
of our own; the references on CuPy where neither has one.

Operands and results as in ``ops.attention``. Operands are taken where they lie if their features
are neighbours in memory: query, key and value are usually three parts of one product's result.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cupola.backends.cuda import cudnn_graph, flash
from cupola.backends.cuda.cudnn_graph import Layout, Plan
from cupola.backends.cuda.device import current, require
from cupola.backends.cuda.flags import flags
from cupola.ops import attention as ops

_LOAD = 16  # bytes that one load takes
_ALIGNED = 8  # elements of 16 bits in them
_WIDEST = 128  # features a head


def available(dtype: str, widths: tuple[int, int], causal: bool, grad: bool) -> bool:
    """Whether there is a kernel, and one for the gradients if ``grad``.

    ``widths``: features of a query's head and of a value's. A frontend compiled for a newer cuDNN
    than the one that runs can lack the gradients; float32 has none.
    """
    if dtype == "float32":
        return not grad and flags.matmul_tf32 and flash.available(widths)
    if not flags.cudnn or not _fit(widths):
        return False
    shapes = [(1, 1, 64, width) for width in (widths[0], *widths)]
    layouts = tuple(Layout(s, (64 * s[-1], 64 * s[-1], s[-1], 1)) for s in shapes)
    kinds = (False, True) if grad else (False,)
    return all(
        _made(dtype, layouts, 1.0, causal, kind, kind and flags.deterministic, current())
        for kind in kinds
    )


def _fit(widths: tuple[int, int]) -> bool:
    return all(e % _ALIGNED == 0 and e <= _WIDEST for e in widths)


def attention(q: Any, k: Any, v: Any, *, scale: float, causal: bool) -> tuple[Any, Any]:
    """``(out, stats)``."""
    q, k, v = map(_readable, (q, k, v))
    if q.dtype.name == "float32" and available(
        "float32", (q.shape[-1], v.shape[-1]), causal, False
    ):
        return flash.attention(q, k, v, scale, causal)
    plan = _plan(q, k, v, scale, causal, False)
    if plan is None:
        found: tuple[Any, Any] = ops.attention.reference(require(), q, k, v, scale, causal)
        return found
    xp = require()
    n, h, length, _ = q.shape
    out = xp.empty((n, length, h, v.shape[-1]), q.dtype)
    stats = xp.empty((n, h, length, 1), xp.float32)
    plan([x.data.ptr for x in (q, k, v, out, stats)])
    return out, stats


def attention_grad(
    g: Any, q: Any, k: Any, v: Any, out: Any, stats: Any, *, scale: float, causal: bool
) -> tuple[Any, Any, Any]:
    """Gradients of the operands."""
    q, k, v = map(_readable, (q, k, v))
    plan = _plan(q, k, v, scale, causal, True)
    xp = require()
    if plan is None:
        found: tuple[Any, Any, Any] = ops.attention_grad.reference(
            xp, g, q, k, v, out, stats, scale, causal
        )
        return found
    g, out, stats = map(xp.ascontiguousarray, (g, out, stats))
    made = tuple(xp.empty((n, s, h, e), q.dtype) for n, h, s, e in (q.shape, k.shape, v.shape))
    plan([x.data.ptr for x in (q, k, v, out, g, stats, *made)])
    return made


def _readable(x: Any) -> Any:
    """The operand itself, or a copy that the kernels can read."""
    fits = x.strides[-1] == x.dtype.itemsize and x.data.ptr % _LOAD == 0
    walked = [s for n, s in zip(x.shape[:-1], x.strides[:-1], strict=True) if n > 1]
    fits = fits and all(s % _LOAD == 0 and s > 0 for s in walked)
    return x if fits else require().ascontiguousarray(x)


def _layout(x: Any) -> Layout:
    """A dimension of size 1 has the stride that it would have in memory of its own."""
    strides, dense = [], 1
    for n, s in zip(reversed(x.shape), reversed(x.strides), strict=True):
        strides.append(s // x.dtype.itemsize if n > 1 else dense)
        dense *= n
    return Layout(x.shape, tuple(reversed(strides)))


def _plan(q: Any, k: Any, v: Any, scale: float, causal: bool, grad: bool) -> Plan | None:
    usable = flags.cudnn and q.dtype.itemsize == 2 and q.size and k.size and v.size
    if not usable or not _fit((q.shape[-1], v.shape[-1])):
        return None
    deterministic = grad and flags.deterministic
    layouts = (_layout(q), _layout(k), _layout(v))
    return _made(q.dtype.name, layouts, scale, causal, grad, deterministic, current())


@lru_cache(maxsize=1024)
def _made(
    dtype: str,
    layouts: tuple[Layout, ...],
    scale: float,
    causal: bool,
    grad: bool,
    deterministic: bool,
    device: int,
) -> Plan | None:
    """A plan called with q, k, v, out, stats; or q, k, v, out, g, stats and the three results."""

    def describe(graph: Any, cudnn: Any) -> list[Any]:
        single = cudnn.data_type.FLOAT
        q, k, v = (cudnn_graph.tensor(graph, x) for x in layouts)
        (n, h, length, _), width = layouts[0].shape, layouts[2].shape[-1]
        beside = _beside((n, h, length, width))
        options = {"attn_scale": scale, "use_causal_mask": causal}
        if not grad:
            out, stats = graph.sdpa(q=q, k=k, v=v, generate_stats=True, **options)
            cudnn_graph.give(out, beside)
            stats.set_output(True).set_data_type(single).set_dim([n, h, length, 1])
            stats.set_stride([h * length, length, 1, 1])
            return [q, k, v, out, stats]
        out, g = (cudnn_graph.tensor(graph, beside) for _ in range(2))
        stats = graph.tensor(
            dim=[n, h, length, 1], stride=[h * length, length, 1, 1], data_type=single
        )
        if deterministic:
            options["use_deterministic_algorithm"] = True
        made = graph.sdpa_backward(q=q, k=k, v=v, o=out, dO=g, stats=stats, **options)
        for result, layout in zip(made, layouts, strict=True):
            cudnn_graph.give(result, _beside(layout.shape))
        return [q, k, v, out, g, stats, *made]

    return cudnn_graph.build(dtype, describe, device)


def _beside(shape: tuple[int, ...]) -> Layout:
    """(N, H, L, E) in memory that is (N, L, H, E)."""
    n, h, length, width = shape
    return Layout(shape, (length * h * width, width, h * width, 1))
