"""Convolution and its adjoints: cuDNN where it has an engine, unfolding and cuBLAS elsewhere.

``x`` (N, C, *space), ``w`` (O, C / groups, *kernel), 1 to 3 spatial dimensions; ``padding`` is a
(low, high) pair a dimension, each of either sign. Arrays are taken with the strides that they have;
a result is channels-last where an operand is, else C-contiguous. float32 follows
``flags.cudnn_tf32``.
"""

from __future__ import annotations

import warnings
from typing import Any

from cupola.backends.cuda import cudnn_graph, im2col
from cupola.backends.cuda.cudnn_graph import ALIGNED, Layout, NoPlan, Problem
from cupola.backends.cuda.device import capturing, current, require
from cupola.backends.cuda.epilogue import finish
from cupola.backends.cuda.flags import flags

Dims = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

# In float64 cuDNN's engines leave the result unwritten (9.19): those problems unfold.
_TYPES = ("float16", "bfloat16", "float32")


def _packed(shape: Dims, last: bool) -> Dims:
    """Strides, in elements, of a dense array with channels fastest, or C-contiguous."""
    order = (0, *range(2, len(shape)), 1) if last else tuple(range(len(shape)))
    strides, span = [1] * len(shape), 1
    for d in reversed(order):
        strides[d] = span
        span *= max(shape[d], 1)
    return tuple(strides)


def _has(x: Any, strides: Dims) -> bool:
    size = x.dtype.itemsize
    return all(n == 1 or have == want * size for n, have, want in zip(x.shape, x.strides, strides))


def _is_last(x: Any) -> bool:
    """Whether ``x`` is dense with channels fastest (and not also C-contiguous)."""
    return not x.flags.c_contiguous and _has(x, _packed(x.shape, True))


def channels_last(x: Any) -> Any:
    """A copy (or ``x`` itself) in which channels vary fastest."""
    xp = require()
    return xp.moveaxis(xp.ascontiguousarray(xp.moveaxis(x, 1, -1)), -1, 1)


def _as(x: Any, last: bool) -> Any:
    return channels_last(x) if last else require().ascontiguousarray(x)


def _aligned(x: Any) -> Any:
    """``x``, or a copy in the same order where it begins in the middle of an array."""
    return x if x.data.ptr % ALIGNED == 0 else x.copy(order="K")


def _new(shape: Dims, dtype: Any, last: bool) -> Any:
    xp = require()
    if not last:
        return xp.empty(shape, dtype)
    return xp.moveaxis(xp.empty((shape[0], *shape[2:], shape[1]), dtype), -1, 1)


def _common(padding: Pairs) -> tuple[Dims, Pairs]:
    """The symmetric part of a padding, and what remains of it."""
    rest = tuple(max(0, min(pair)) for pair in padding)
    return rest, tuple((lo - r, hi - r) for (lo, hi), r in zip(padding, rest))


def _pad(x: Any, pairs: Any) -> Any:
    """Pads with zeros, and crops where a number is negative."""
    if all(pair == (0, 0) for pair in pairs):
        return x
    crop = [slice(max(0, -lo), n - max(0, -hi)) for n, (lo, hi) in zip(x.shape[2:], pairs)]
    x = x[(slice(None), slice(None), *crop)]
    grow = [(max(0, lo), max(0, hi)) for lo, hi in pairs]
    if all(pair == (0, 0) for pair in grow):
        return require().ascontiguousarray(x)
    shape = tuple(n + lo + hi for n, (lo, hi) in zip(x.shape[2:], grow))
    out = _new((*x.shape[:2], *shape), x.dtype, _is_last(x))
    out[...] = 0
    inside = [slice(lo, lo + n) for n, (lo, _) in zip(x.shape[2:], grow)]
    out[(slice(None), slice(None), *inside)] = x
    return out


class _Solved:
    """How a problem is put to cuDNN: its plan, and which operands are copied first."""

    __slots__ = ("copies", "plan", "seen_last", "solved_last")

    def __init__(
        self, plan: Any, solved_last: bool, seen_last: bool, copies: tuple[bool, ...]
    ) -> None:
        self.plan = plan
        self.solved_last = solved_last
        self.seen_last = seen_last
        self.copies = copies


_solved: dict[Any, _Solved | None] = {}


def _solve(
    kind: str,
    operands: tuple[Any, Any],
    shape: Dims,
    window: tuple[Dims, Dims, Dims],
    bias: Any = None,
    residual: Any = None,
    activation: str = "",
    channels_last: bool = False,
) -> Any:
    """The result by cuDNN, in the operands' memory format, or by way of channels-last.

    ``channels_last`` asks for that format where the operands' strides fit both.

    Raises:
        NoPlan: neither works, or cuDNN cannot run what it has planned.
    """
    a, b = operands
    if not flags.cudnn or a.dtype.name not in _TYPES:
        raise NoPlan
    arrays = (a, b) if residual is None else (a, b, residual)
    key = (
        kind, shape, window, a.dtype.num, *(x.shape for x in arrays), *(x.strides for x in arrays),
        bias is None, activation, channels_last, flags.cudnn_tf32, flags.deterministic, current(),
    )  # fmt: skip
    try:
        solved = _solved[key]
    except KeyError:
        if len(_solved) >= 4096:
            _solved.clear()
        solved = _solved[key] = _find(
            kind, arrays, shape, window, bias is not None, activation, channels_last
        )
    if solved is None:
        raise NoPlan
    last = solved.solved_last
    arrays = tuple(_as(x, last) if c else _aligned(x) for x, c in zip(arrays, solved.copies))
    bias = None if bias is None else _aligned(bias)
    out = _new(shape, a.dtype, last)
    addresses = [x.data.ptr for x in (arrays[0], arrays[1], out)]
    if bias is not None:
        addresses.append(bias.data.ptr)
    if residual is not None:
        addresses.append(arrays[2].data.ptr)
    try:
        solved.plan(addresses)
    except RuntimeError as error:
        if capturing():
            raise
        _solved[key] = None
        warnings.warn(
            f"cuDNN has planned a convolution ({kind}, {a.dtype} {a.shape} and {b.shape}) that it "
            f"cannot run ({error}); it is computed by unfolding, more slowly. Less memory in use "
            "on the GPU may help.",
            stacklevel=2,
        )
        raise NoPlan from error
    return out if last == solved.seen_last else require().ascontiguousarray(out)


def _find(
    kind: str,
    arrays: tuple[Any, ...],
    shape: Dims,
    window: tuple[Dims, Dims, Dims],
    bias: bool,
    activation: str,
    channels_last: bool,
) -> _Solved | None:
    seen = channels_last or any(_is_last(x) for x in arrays)
    for last in (seen,) if seen else (False, True):
        layouts = [Layout(x.shape, _packed(x.shape, last)) for x in arrays]
        residual = layouts[2] if len(arrays) > 2 else None
        problem = Problem(
            kind, arrays[0].dtype.name, layouts[0], layouts[1], Layout(shape, _packed(shape, last)),
            *window, bias, residual, activation, flags.cudnn_tf32, flags.deterministic,
        )  # fmt: skip
        plan = cudnn_graph.plan(problem)
        if plan is not None:
            copies = tuple(not _has(x, layout.strides) for x, layout in zip(arrays, layouts))
            return _Solved(plan, last, seen, copies)
    return None


def _raised(*arrays: Any) -> list[Any]:
    """One-dimensional operands with a height of 1."""
    return [None if a is None else a[:, :, None, :] for a in arrays]


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
    channels_last: bool = False,
) -> Any:
    """activation(conv(x, w) + bias + residual), fused with the convolution where cuDNN can.

    bias (O,), residual of the result's shape; activation as in ``cudnn_graph.Problem``;
    ``channels_last`` as in ``_solve``, here and below.
    """
    if x.ndim == 3:
        x, w, residual = _raised(x, w, residual)
        stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
        y = convolution(x, w, stride, padding, dilation, groups, bias, residual, activation)
        return y[:, :, 0, :]
    space = tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, (lo, hi), d, k, s in zip(x.shape[2:], padding, dilation, w.shape[2:], stride)
    )
    shape = (x.shape[0], w.shape[0], *space)
    activation = activation or ""
    if 0 in shape or 0 in w.shape:
        return finish(require().zeros(shape, x.dtype), bias, residual, activation, 1)
    rest, extra = _common(padding)
    x = _pad(x, extra)
    window = (tuple(stride), rest, tuple(dilation))
    if bias is not None or residual is not None or activation:
        try:
            return _solve("fprop", (x, w), shape, window, bias, residual, activation, channels_last)
        except NoPlan:
            pass
    try:
        y = _solve("fprop", (x, w), shape, window, channels_last=channels_last)
    except NoPlan:
        whole = _pad(x, [(r, r) for r in rest])
        y = im2col.convolution(whole, w, space, window[0], window[2], groups)
    return finish(y, bias, residual, activation, 1)


def input_grad(
    g: Any,
    w: Any,
    x_shape: Dims,
    stride: Dims,
    padding: Pairs,
    dilation: Dims,
    groups: int,
    channels_last: bool = False,
) -> Any:
    """The gradient for x (N, C, *space) from that of the result."""
    if g.ndim == 3:
        g, w = _raised(g, w)
        shape = (*x_shape[:2], 1, x_shape[2])
        window = ((1, *stride), ((0, 0), *padding), (1, *dilation))
        return input_grad(g, w, shape, *window, groups)[:, :, 0, :]
    if g.size == 0 or w.size == 0 or 0 in x_shape:
        return require().zeros(x_shape, g.dtype)
    rest, extra = _common(padding)
    grown = (*x_shape[:2], *(n + lo + hi for n, (lo, hi) in zip(x_shape[2:], extra)))
    try:
        window = (tuple(stride), rest, tuple(dilation))
        out = _solve("dgrad", (g, w), grown, window, channels_last=channels_last)
    except NoPlan:
        whole = (*grown[:2], *(n + 2 * r for n, r in zip(grown[2:], rest)))
        out = im2col.input_grad(g, w, whole, tuple(stride), tuple(dilation), groups)
        out = _pad(out, [(-r, -r) for r in rest])
    return _pad(out, [(-lo, -hi) for lo, hi in extra])


def weight_grad(
    g: Any,
    x: Any,
    w_shape: Dims,
    stride: Dims,
    padding: Pairs,
    dilation: Dims,
    groups: int,
    channels_last: bool = False,
) -> Any:
    """The gradient for w (O, C / groups, *kernel) from that of the result."""
    if g.ndim == 3:
        g, x = _raised(g, x)
        shape = (*w_shape[:2], 1, w_shape[2])
        window = ((1, *stride), ((0, 0), *padding), (1, *dilation))
        return weight_grad(g, x, shape, *window, groups)[:, :, 0, :]
    if g.size == 0 or x.size == 0 or 0 in w_shape:
        return require().zeros(w_shape, g.dtype)
    rest, extra = _common(padding)
    x = _pad(x, extra)
    try:
        window = (tuple(stride), rest, tuple(dilation))
        return _solve("wgrad", (x, g), w_shape, window, channels_last=channels_last)
    except NoPlan:
        whole = _pad(x, [(r, r) for r in rest])
        return im2col.weight_grad(g, whole, w_shape, tuple(stride), tuple(dilation), groups)
