"""Convolution and its two adjoints, over 1 to 3 spatial dimensions; closed under differentiation.

``x`` (N, C, *space), ``w`` (O, C / groups, *kernel); ``padding`` holds a (low, high) pair a
dimension.
"""

from __future__ import annotations

import itertools
from typing import Any

from cupola.dtypes import dtype as DType
from cupola.ir.node import Node
from cupola.ir.op import Primitive

Shape = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def output_size(
    space: Shape, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape
) -> Shape:
    """Spatial size of a convolution's result."""
    return tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, k, s, (lo, hi), d in zip(space, kernel, stride, padding, dilation, strict=True)
    )


def _infer(
    x: Node, w: Node, stride: Shape, padding: Pairs, dilation: Shape, groups: int
) -> tuple[Shape, DType]:
    if x.shape[1] != w.shape[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(w.shape)}, expected "
            f"input{list(x.shape)} to have "
            f"{w.shape[1] * groups} channels, but got {x.shape[1]} channels instead"
        )
    if x.dtype is not w.dtype:
        raise RuntimeError(f"Input type ({x.dtype}) and weight type ({w.dtype}) should be the same")
    space = output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    if any(n <= 0 for n in space):
        padded = " x ".join(
            str(n + lo + hi) for n, (lo, hi) in zip(x.shape[2:], padding, strict=True)
        )
        kernel = " x ".join(
            str(d * (k - 1) + 1) for k, d in zip(w.shape[2:], dilation, strict=True)
        )
        raise RuntimeError(
            f"Calculated padded input size per channel: ({padded}). Kernel size: ({kernel}). "
            "Kernel size can't be greater than actual input size"
        )
    return (x.shape[0], w.shape[0], *space), x.dtype


def _taps(w_shape: Shape, out: Shape, stride: Shape, dilation: Shape) -> Any:
    for tap in itertools.product(*(range(k) for k in w_shape[2:])):
        box = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
        )
        yield tap, box


def _padded(xp: Any, x: Any, padding: Pairs) -> Any:
    return xp.pad(x, ((0, 0), (0, 0), *padding)) if any(p != (0, 0) for p in padding) else x


def _float(xp: Any, x: Any) -> Any:
    return x.astype(xp.float32) if x.dtype.itemsize < 4 else x


def _forward(
    xp: Any, x: Any, w: Any, stride: Shape, padding: Pairs, dilation: Shape, groups: int
) -> Any:
    kept, x, w = x.dtype, _float(xp, x), _float(xp, w)
    n, o = x.shape[0], w.shape[0]
    space = output_size(x.shape[2:], w.shape[2:], stride, padding, dilation)
    xg = _padded(xp, x, padding)
    xg = xg.reshape(n, groups, -1, *xg.shape[2:])
    wg = w.reshape(groups, o // groups, *w.shape[1:])
    out = xp.zeros((n, groups, o // groups, *space), x.dtype)
    for tap, box in _taps(w.shape, space, stride, dilation):
        out += xp.einsum("ngc...,goc->ngo...", xg[(..., *box)], wg[(..., *tap)])
    return out.reshape(n, o, *space).astype(kept)


def _input_grad(
    xp: Any,
    g: Any,
    w: Any,
    x_shape: Shape,
    stride: Shape,
    padding: Pairs,
    dilation: Shape,
    groups: int,
) -> Any:
    kept, g, w = g.dtype, _float(xp, g), _float(xp, w)
    n, o = g.shape[:2]
    padded = tuple(m + lo + hi for m, (lo, hi) in zip(x_shape[2:], padding, strict=True))
    out = xp.zeros((n, groups, x_shape[1] // groups, *padded), g.dtype)
    gg = g.reshape(n, groups, o // groups, *g.shape[2:])
    wg = w.reshape(groups, o // groups, *w.shape[1:])
    for tap, box in _taps(w.shape, g.shape[2:], stride, dilation):
        out[(..., *box)] += xp.einsum("ngo...,goc->ngc...", gg, wg[(..., *tap)])
    crop = tuple(slice(lo, lo + m) for m, (lo, _) in zip(x_shape[2:], padding, strict=True))
    return out.reshape(n, -1, *padded)[(..., *crop)].astype(kept)


def _weight_grad(
    xp: Any,
    g: Any,
    x: Any,
    w_shape: Shape,
    stride: Shape,
    padding: Pairs,
    dilation: Shape,
    groups: int,
) -> Any:
    kept, g, x = g.dtype, _float(xp, g), _float(xp, x)
    n, o = g.shape[:2]
    xg = _padded(xp, x, padding)
    xg = xg.reshape(n, groups, -1, *xg.shape[2:])
    gg = g.reshape(n, groups, o // groups, *g.shape[2:])
    out = xp.zeros((groups, o // groups, *w_shape[1:]), g.dtype)
    axes = "xyz"[: len(w_shape) - 2]
    for tap, box in _taps(w_shape, g.shape[2:], stride, dilation):
        out[(..., *tap)] = xp.einsum(f"ngo{axes},ngc{axes}->goc", gg, xg[(..., *box)])
    return out.reshape(w_shape).astype(kept)


convolution = Primitive(
    "convolution",
    "library",
    _infer,
    _forward,
    (
        lambda g, y, x, w, **a: convolution_input_grad(g, w, x_shape=x.shape, **a),
        lambda g, y, x, w, **a: convolution_weight_grad(g, x, w_shape=w.shape, **a),
    ),
    heavy=True,
).register()


def _without(a: dict[str, Any], name: str) -> dict[str, Any]:
    return {k: v for k, v in a.items() if k != name}


convolution_input_grad = Primitive(
    "convolution_input_grad",
    "library",
    lambda g, w, x_shape, **a: (x_shape, g.dtype),
    _input_grad,
    (
        lambda g, y, go, w, **a: convolution(g, w, **_without(a, "x_shape")),
        lambda g, y, go, w, **a: convolution_weight_grad(
            go, g, w_shape=w.shape, **_without(a, "x_shape")
        ),
    ),
    heavy=True,
).register()
convolution_weight_grad = Primitive(
    "convolution_weight_grad",
    "library",
    lambda g, x, w_shape, **a: (w_shape, g.dtype),
    _weight_grad,
    (
        lambda g, y, go, x, **a: convolution(x, g, **_without(a, "w_shape")),
        lambda g, y, go, x, **a: convolution_input_grad(
            go, g, x_shape=x.shape, **_without(a, "w_shape")
        ),
    ),
    heavy=True,
).register()
