"""Convolutions of one group as products of matrices, channels innermost.

A row of columns holds what one position of the result reads: copied out of the padded input in runs
of a kernel row's channels. For float64, which oneDNN has no convolutions of, and where oneDNN is
missing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from cupola.backends.cpu.heavy import Memory, Pads

LIMIT = 1 << 26  # bytes of columns: they are made for a part of the batch at a time


def suits(x: np.ndarray, groups: int) -> bool:
    """Whether this is the way for an input: BLAS multiplies its type, and it has one group."""
    return groups == 1 and x.dtype.kind in "fc" and x.dtype.itemsize >= 4 and x.size > 0


def taps(
    kernel: Sequence[int], size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each kernel position with the slice of the padded input that it meets."""
    for position in itertools.product(*map(range, kernel)):
        yield (
            position,
            tuple(
                slice(p * d, p * d + (o - 1) * s + 1, s)
                for p, d, o, s in zip(position, dilation, size, stride, strict=True)
            ),
        )


def room(
    spatial: Sequence[int],
    padding: Pads,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """Sizes of the padded input, so large that every window ends in it."""
    return [
        max(n + low + high, (o - 1) * s + d * (k - 1) + 1)
        for n, (low, high), o, k, s, d in zip(
            spatial, padding, size, kernel, stride, dilation, strict=True
        )
    ]


def _last(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, *range(2, x.ndim), 1)


def _padded(x: np.ndarray, padding: Pads) -> np.ndarray:
    """(N, C, *S) as (N, *S + padding, C), C-contiguous."""
    x = _last(x)
    if not any(low or high for low, high in padding):
        return np.ascontiguousarray(x)
    sizes = [n + low + high for n, (low, high) in zip(x.shape[1:-1], padding, strict=True)]
    out = Memory.empty((x.shape[0], *sizes, x.shape[-1]), x.dtype)
    out[...] = 0
    out[(slice(None), *(slice(low, n - high) for n, (low, high) in zip(sizes, padding)))] = x
    return out


def _columns(
    x: np.ndarray,
    kernel: Sequence[int],
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Iterator[tuple[slice, np.ndarray]]:
    """Parts of the batch of a padded input with their columns, (rows * positions, K * C)."""
    n, c = x.shape[0], x.shape[-1]
    width = math.prod(kernel) * c
    if width == c and x.shape[1:-1] == tuple(size):  # each position reads itself
        yield slice(0, n), x.reshape(-1, c)
        return
    steps = x.strides[1:-1]
    strides = (
        x.strides[0],
        *(a * s for a, s in zip(steps, stride, strict=True)),
        *(a * d for a, d in zip(steps, dilation, strict=True)),
        x.strides[-1],
    )
    part = max(1, LIMIT // max(1, math.prod(size) * width * x.itemsize))
    for start in range(0, n, part):
        rows = min(part, n - start)
        shape = (rows, *size, *kernel, c)
        out = Memory.empty(shape, x.dtype)
        out[...] = np.ndarray(shape, x.dtype, x, start * x.strides[0], strides)
        yield slice(start, start + rows), out.reshape(-1, width)


def forward(
    x: np.ndarray,
    weight: np.ndarray,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> np.ndarray:
    """x (N, C, *S), weight (O, C, *K) -> (N, *size, O), C-contiguous."""
    matrix = _last(weight).reshape(weight.shape[0], -1).T
    out = Memory.empty((x.shape[0], *size, weight.shape[0]), x.dtype)
    for part, columns in _columns(_padded(x, padding), weight.shape[2:], size, stride, dilation):
        np.matmul(columns, matrix, out=out[part].reshape(-1, weight.shape[0]))
    return out


def input_grad(
    g: np.ndarray,
    weight: np.ndarray,
    spatial: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> np.ndarray:
    """g (N, O, *P), weight (O, C, *K) -> the input's gradient (N, *spatial, C)."""
    kernel, size = weight.shape[2:], g.shape[2:]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    around = [
        (r - low, s + r - p - (r - low))
        for r, s, p, (low, _) in zip(reach, spatial, size, padding, strict=True)
    ]
    if max(stride) == 1 and min(map(min, around)) >= 0:  # a convolution with the kernel turned
        turned = np.flip(weight, tuple(range(2, weight.ndim))).swapaxes(0, 1)
        return forward(g, turned, spatial, stride, around, dilation)
    o, c = weight.shape[:2]
    sizes = room(spatial, padding, size, kernel, stride, dilation)
    out = Memory.empty((g.shape[0], *sizes, c), g.dtype)
    out[...] = 0
    rows = np.ascontiguousarray(_last(g)).reshape(-1, o)
    for position, window in taps(kernel, size, stride, dilation):
        tap = rows @ weight[(slice(None), slice(None), *position)]
        out[(slice(None), *window)] += tap.reshape(g.shape[0], *size, c)
    crop = tuple(slice(low, low + s) for s, (low, _) in zip(spatial, padding, strict=True))
    return out[(slice(None), *crop)]


def weight_grad(
    g: np.ndarray,
    x: np.ndarray,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> np.ndarray:
    """g (N, O, *P), x (N, C, *S) -> the weight's gradient (O, C, *K)."""
    o, c, *kernel = shape
    size = g.shape[2:]
    sizes = room(x.shape[2:], padding, size, kernel, stride, dilation)
    around = [(low, n - s - low) for n, s, (low, _) in zip(sizes, x.shape[2:], padding)]
    rows = np.ascontiguousarray(_last(g))
    total: np.ndarray | None = None
    for part, columns in _columns(_padded(x, around), kernel, size, stride, dilation):
        one = columns.T @ rows[part].reshape(-1, o)
        total = one if total is None else total + one
    assert total is not None
    dims = len(kernel)
    return total.reshape(*kernel, c, o).transpose(dims + 1, dims, *range(dims))
