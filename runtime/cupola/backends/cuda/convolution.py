"""Convolution and its adjoints: cuDNN where it has an engine, unfolding and cuBLAS elsewhere.

``x`` (N, C, *space), ``w`` (O, C / groups, *kernel), 1 to 3 spatial dimensions; ``padding`` is a (low, high) pair a
dimension, each of either sign. Arrays are taken with the strides that they have; a result is channels-last where its
first operand is, else C-contiguous. float32 follows ``flags.cudnn_tf32``.
"""

from __future__ import annotations

from typing import Any

from cupola.backends.cuda import cudnn_graph, im2col
from cupola.backends.cuda.cudnn_graph import Layout, NoPlan, Problem
from cupola.backends.cuda.device import require
from cupola.backends.cuda.flags import flags

Dims = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

_TYPES = ("float16", "bfloat16", "float32", "float64")


def _layout(x: Any) -> Layout:
    size = x.dtype.itemsize
    strides = [s // size for s in x.strides]
    # A dimension of size 1 may have any stride; cuDNN wants one that fits between its neighbours'.
    for d, n in enumerate(x.shape):
        if n == 1:
            strides[d] = _natural(x, strides, d)
    return Layout(x.shape, tuple(strides))


def _natural(x: Any, strides: list[int], d: int) -> int:
    if _is_last(x):
        order = (0, *range(2, x.ndim), 1)
    else:
        order = tuple(range(x.ndim))
    span = 1
    for e in order[order.index(d) + 1 :]:
        span *= x.shape[e]
    return span


def _is_last(x: Any) -> bool:
    """Whether channels vary fastest in memory (and the array is not also C-contiguous)."""
    return x.ndim > 2 and x.shape[1] > 1 and x.strides[1] == x.itemsize and not x.flags.c_contiguous


def channels_last(x: Any) -> Any:
    """A copy (or ``x`` itself) in which channels vary fastest."""
    xp = require()
    back = xp.ascontiguousarray(xp.moveaxis(x, 1, -1))
    return xp.moveaxis(back, -1, 1)


def _dense(x: Any) -> Any:
    """``x`` itself if its memory is dense in one of the two orders, else a C-contiguous copy."""
    if x.flags.c_contiguous or (_is_last(x) and require().moveaxis(x, 1, -1).flags.c_contiguous):
        return x
    return require().ascontiguousarray(x)


def _new(shape: Dims, dtype: Any, last: bool) -> Any:
    xp = require()
    if not last:
        return xp.empty(shape, dtype)
    return xp.moveaxis(xp.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


def _padded(x: Any, padding: Pairs) -> tuple[Any, Dims]:
    """``x`` with what cuDNN cannot pad applied, and the symmetric padding that remains."""
    rest = tuple(max(0, min(pair)) for pair in padding)
    extra = [(lo - r, hi - r) for (lo, hi), r in zip(padding, rest)]
    if all(pair == (0, 0) for pair in extra):
        return x, rest
    return _pad(x, extra), rest


def _pad(x: Any, pairs: Any) -> Any:
    """Pads with zeros, and crops where a pair is negative."""
    xp = require()
    crop = tuple(slice(max(0, -lo), n - max(0, -hi)) for n, (lo, hi) in zip(x.shape[2:], pairs))
    x = x[(slice(None), slice(None), *crop)]
    grow = [(max(0, lo), max(0, hi)) for lo, hi in pairs]
    if any(pair != (0, 0) for pair in grow):
        shape = tuple(n + lo + hi for n, (lo, hi) in zip(x.shape[2:], grow))
        out = _new((*x.shape[:2], *shape), x.dtype, _is_last(x))
        out[...] = 0
        inside = tuple(slice(lo, lo + n) for n, (lo, _) in zip(x.shape[2:], grow))
        out[(slice(None), slice(None), *inside)] = x
        return out
    return xp.ascontiguousarray(x)


def _flat(*arrays: Any) -> list[Any]:
    """One-dimensional operands with a height of 1."""
    return [a[:, :, None, :] for a in arrays]


def _solve(
    kind: str,
    first: Any,
    second: Any,
    shape: Dims,
    window: tuple[Dims, Dims, Dims],
    **epilogue: Any,
) -> Any:
    """The result by cuDNN, in the given layout or else in channels-last.

    Raises:
        NoPlan: neither works.
    """
    if not flags.cudnn or first.dtype.name not in _TYPES:
        raise NoPlan
    stride, padding, dilation = window
    bias, residual = epilogue.get("bias"), epilogue.get("residual")
    last = _is_last(first) or _is_last(second)
    for attempt in (last, True) if not last else (True,):
        a, b, r = first, second, residual
        if attempt:
            a, b = channels_last(a), channels_last(b)
            r = channels_last(r) if r is not None else None
        else:
            a, b = _dense(a), _dense(b)
            r = _dense(r) if r is not None else None
        out = _new(shape, first.dtype, attempt)
        problem = Problem(
            kind, first.dtype.name, _layout(a), _layout(b), _layout(out), stride, padding, dilation,
            bias is not None, None if r is None else _layout(r), epilogue.get("activation") or "",
            flags.cudnn_tf32, flags.deterministic,
        )  # fmt: skip
        try:
            cudnn_graph.run(problem, [a, b, out, *(x for x in (bias, r) if x is not None)])
        except NoPlan:
            continue
        return out if attempt == last else require().ascontiguousarray(out)
    raise NoPlan


def convolution(
    x: Any,
    w: Any,
    stride: Dims,
    padding: Pairs,
    dilation: Dims,
    groups: int,
    bias: Any = None,
    residual: Any = None,
    activation: str | None = None,
) -> Any:
    """activation(conv(x, w) + bias + residual); the epilogue is one kernel with the convolution where cuDNN fuses it.

    bias (O,), residual of the result's shape; activation as in ``cudnn_graph.Problem``.
    """
    if x.ndim == 3:
        x, w = _flat(x, w)
        residual = None if residual is None else residual[:, :, None, :]
        stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
        return convolution(x, w, stride, padding, dilation, groups, bias, residual, activation)[
            :, :, 0, :
        ]
    space = tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, (lo, hi), d, k, s in zip(x.shape[2:], padding, dilation, w.shape[2:], stride)
    )
    shape = (x.shape[0], w.shape[0], *space)
    if 0 in shape or 0 in w.shape:
        return _finish(require().zeros(shape, x.dtype), bias, residual, activation)
    padded, rest = _padded(x, padding)
    window = (tuple(stride), rest, tuple(dilation))
    if bias is not None or residual is not None or activation:
        try:
            return _solve(
                "fprop",
                padded,
                w,
                shape,
                window,
                bias=bias,
                residual=residual,
                activation=activation,
            )
        except NoPlan:
            pass
    try:
        y = _solve("fprop", padded, w, shape, window)
    except NoPlan:
        whole = _pad(padded, [(r, r) for r in rest]) if any(rest) else padded
        y = im2col.convolution(whole, w, space, tuple(stride), tuple(dilation), groups)
    return _finish(y, bias, residual, activation)


def _finish(y: Any, bias: Any, residual: Any, activation: str | None) -> Any:
    """The epilogue as separate passes."""
    if bias is not None:
        y = y + bias.reshape(1, -1, *(1,) * (y.ndim - 2))
    if residual is not None:
        y = y + residual
    if activation:
        y = _activate(y, activation)
    return y


def _activate(y: Any, name: str) -> Any:
    xp = require()
    kept = y.dtype
    y = y.astype(xp.float32) if y.dtype.itemsize < 4 else y
    if name == "relu":
        y = xp.maximum(y, 0)
    elif name == "tanh":
        y = xp.tanh(y)
    elif name == "gelu_tanh":
        y = 0.5 * y * (1 + xp.tanh(0.7978845608028654 * (y + 0.044715 * y * y * y)))
    elif name == "gelu":
        from cupyx.scipy.special import erf

        y = 0.5 * y * (1 + erf(y * 0.7071067811865476))
    else:
        gate = 1 / (1 + xp.exp(-y))
        y = gate if name == "sigmoid" else y * gate
    return y.astype(kept, copy=False)


def input_grad(
    g: Any, w: Any, x_shape: Dims, stride: Dims, padding: Pairs, dilation: Dims, groups: int
) -> Any:
    """The gradient for x (N, C, *space) from that of the result."""
    if g.ndim == 3:
        g, w = _flat(g, w)
        shape = (*x_shape[:2], 1, x_shape[2])
        return input_grad(g, w, shape, (1, *stride), ((0, 0), *padding), (1, *dilation), groups)[
            :, :, 0, :
        ]
    xp = require()
    if g.size == 0 or w.size == 0 or 0 in x_shape:
        return xp.zeros(x_shape, g.dtype)
    rest = tuple(max(0, min(pair)) for pair in padding)
    extra = [(lo - r, hi - r) for (lo, hi), r in zip(padding, rest)]
    grown = (*x_shape[:2], *(n + lo + hi for n, (lo, hi) in zip(x_shape[2:], extra)))
    try:
        out = _solve("dgrad", g, w, grown, (tuple(stride), rest, tuple(dilation)))
    except NoPlan:
        whole = (*grown[:2], *(n + 2 * r for n, r in zip(grown[2:], rest)))
        out = im2col.input_grad(g, w, whole, tuple(stride), tuple(dilation), groups)
        out = _pad(out, [(-r, -r) for r in rest]) if any(rest) else out
    if any(pair != (0, 0) for pair in extra):
        out = _pad(out, [(-lo, -hi) for lo, hi in extra])
    return out


def weight_grad(
    g: Any, x: Any, w_shape: Dims, stride: Dims, padding: Pairs, dilation: Dims, groups: int
) -> Any:
    """The gradient for w (O, C / groups, *kernel) from that of the result."""
    if g.ndim == 3:
        g, x = _flat(g, x)
        shape = (*w_shape[:2], 1, w_shape[2])
        return weight_grad(g, x, shape, (1, *stride), ((0, 0), *padding), (1, *dilation), groups)[
            :, :, 0, :
        ]
    if g.size == 0 or x.size == 0 or 0 in w_shape:
        return require().zeros(w_shape, g.dtype)
    padded, rest = _padded(x, padding)
    try:
        return _solve("wgrad", padded, g, w_shape, (tuple(stride), rest, tuple(dilation)))
    except NoPlan:
        whole = _pad(padded, [(r, r) for r in rest]) if any(rest) else padded
        return im2col.weight_grad(g, whole, w_shape, tuple(stride), tuple(dilation), groups)
