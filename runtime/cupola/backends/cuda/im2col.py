"""Convolution by unfolding windows into a matrix: for what cuDNN does not take.

``x`` (N, C, *space), ``w`` (O, C / groups, *kernel); padding has been applied already; any number
of dimensions.
"""

from __future__ import annotations

import itertools
from math import prod
from typing import Any

from cupola.backends.cuda.device import require
from cupola.backends.cuda.gemm import matmul

Dims = tuple[int, ...]


def _windows(x: Any, kernel: Dims, out: Dims, stride: Dims, dilation: Dims) -> Any:
    """A view (N, C, *out, *kernel) of ``x``."""
    n, c, *space = x.strides
    steps = [s * t for s, t in zip(space, stride)]
    taps = [s * d for s, d in zip(space, dilation)]
    return require().lib.stride_tricks.as_strided(
        x, (*x.shape[:2], *out, *kernel), (n, c, *steps, *taps)
    )


def _columns(x: Any, w_shape: Dims, out: Dims, stride: Dims, dilation: Dims, groups: int) -> Any:
    """(groups, N * prod(out), C / groups * prod(kernel)), a copy."""
    n, c = x.shape[:2]
    view = _windows(x, w_shape[2:], out, stride, dilation)
    d = len(out)
    view = view.reshape(n, groups, c // groups, *view.shape[2:])
    order = (1, 0, *range(3, 3 + d), 2, *range(3 + d, 3 + 2 * d))
    return view.transpose(order).reshape(groups, n * prod(out), -1)


def _rows(g: Any, groups: int) -> Any:
    """A gradient (N, O, *out) as (groups, N * prod(out), O / groups)."""
    n, o = g.shape[:2]
    xp = require()
    return xp.moveaxis(g.reshape(n, groups, o // groups, -1), (1, 0, 3), (0, 1, 2)).reshape(
        groups, -1, o // groups
    )


def convolution(x: Any, w: Any, out: Dims, stride: Dims, dilation: Dims, groups: int) -> Any:
    """(N, O, *out), C-contiguous."""
    n, o = x.shape[0], w.shape[0]
    columns = _columns(x, w.shape, out, stride, dilation, groups)
    weights = w.reshape(groups, o // groups, -1).transpose(0, 2, 1)
    y = matmul(columns, weights).reshape(groups, n, prod(out), o // groups)
    return require().ascontiguousarray(y.transpose(1, 0, 3, 2)).reshape(n, o, *out)


def input_grad(g: Any, w: Any, shape: Dims, stride: Dims, dilation: Dims, groups: int) -> Any:
    """The gradient of the padded input, of shape ``shape``."""
    xp = require()
    n, o = g.shape[:2]
    out, kernel = g.shape[2:], w.shape[2:]
    weights = w.reshape(groups, o // groups, -1)
    columns = matmul(_rows(g, groups), weights)
    columns = columns.reshape(groups, n, *out, shape[1] // groups, prod(kernel))
    wide = xp.float32 if g.dtype.itemsize < 4 else g.dtype
    result = xp.zeros((n, groups, shape[1] // groups, *shape[2:]), wide)
    d = len(out)
    order = (1, 0, 2 + d, *range(2, 2 + d))
    for t, tap in enumerate(itertools.product(*map(range, kernel))):
        box = tuple(
            slice(k * e, k * e + (m - 1) * s + 1, s)
            for k, e, m, s in zip(tap, dilation, out, stride)
        )
        result[(..., *box)] += columns[..., t].transpose(order)
    return result.reshape(shape).astype(g.dtype, copy=False)


def weight_grad(g: Any, x: Any, shape: Dims, stride: Dims, dilation: Dims, groups: int) -> Any:
    """The gradient of the weight, of shape ``shape``; ``x`` is padded."""
    columns = _columns(x, shape, g.shape[2:], stride, dilation, groups)
    return matmul(_rows(g, groups).transpose(0, 2, 1), columns).reshape(shape)
