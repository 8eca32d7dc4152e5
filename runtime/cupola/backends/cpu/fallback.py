"""The heavy operators with NumPy alone: im2col and np.matmul. Correct for every case.

The speed is BLAS's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from cupola.backends.cpu import columns
from cupola.backends.cpu.blas import set_blas_threads
from cupola.backends.cpu.heavy import (
    Activation,
    Pads,
    check_activation,
    check_convolution,
    check_convolution_grad,
    is_channels_last,
    new_activations,
)

_COLUMNS_BYTES = 1 << 26  # the im2col matrix is built for a slice of the batch at a time
_EXACT = 1 << 53  # float64 holds every integer up to here


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))  # exp overflowing to infinity gives the right limit, 0


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x, slope=0.01: np.where(x > 0, x, x * slope),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}


@np.errstate(all="ignore")
def activate(x: np.ndarray, activation: Activation) -> None:
    """Apply one of `ACTIVATIONS` to x in place."""
    if activation == "relu":
        np.maximum(x, 0, out=x)
    elif activation is not None:
        name, *parameters = (activation,) if isinstance(activation, str) else activation
        np.copyto(x, _FUNCTIONS[name](x, *parameters), casting="unsafe")


def _wide(array: np.ndarray) -> np.ndarray:
    """Half types as float32: they are stored narrow and accumulated wide."""
    half = array.dtype.itemsize == 2 and array.dtype.kind not in "iub"
    return array.astype(np.float32) if half else array


def _integer_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Exact integer product, wrapped to the dtype.

    By BLAS in float64 where no sum can lose a bit.
    """

    def bound(x: np.ndarray) -> int:
        return max(abs(int(x.max())), abs(int(x.min()))) if x.size else 0

    if a.size and b.size and bound(a) * bound(b) * a.shape[-1] < _EXACT:
        product = np.matmul(a.astype(np.float64), b.astype(np.float64))
        return product.astype(np.int64).astype(a.dtype)
    return np.matmul(a, b)


@np.errstate(all="ignore")
def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _integer_matmul(a, b) if a.dtype.kind in "iu" else np.matmul(a, b)


def _first(x: np.ndarray) -> np.ndarray:
    """(N, *S, C) as (N, C, *S)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def _pad(x: np.ndarray, padding: Pads) -> np.ndarray:
    if not any(low or high for low, high in padding):
        return x
    return np.pad(x, ((0, 0), (0, 0), *padding))


def _store(
    result: np.ndarray, out: np.ndarray | None, dtype: np.dtype, channels_last: bool
) -> np.ndarray:
    if out is None and channels_last and result.dtype == dtype and is_channels_last(result):
        return result
    if out is None:
        out = new_activations(result.shape, dtype, channels_last)
    elif out.shape != result.shape:
        raise ValueError(f"out has shape {out.shape}, the result {result.shape}")
    np.copyto(out, result, casting="unsafe")
    return out


class FallbackOps:
    """`HeavyOps` by NumPy. See the protocol for the operators' contracts."""

    name = "numpy"
    fused_activations: frozenset[str] = frozenset()

    def convolution(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: Sequence[int],
        padding: Pads,
        dilation: Sequence[int],
        groups: int,
        *,
        activation: Activation = None,
        residual: np.ndarray | None = None,
        out: np.ndarray | None = None,
        channels_last: bool | None = None,
        weight_key: Hashable | None = None,
    ) -> np.ndarray:
        check_activation(activation)
        n, o, *size = check_convolution(x.shape, weight.shape, stride, padding, dilation, groups)
        if columns.suits(x, groups) and weight.dtype == x.dtype:
            y = _first(columns.forward(x, weight, size, stride, padding, dilation))
            return self._finish(y, x, bias, activation, residual, out, channels_last)
        padded, w = _pad(_wide(x), padding), _wide(weight)
        result = np.zeros(
            (n, *size, o), padded.dtype
        )  # channels last: what the product below gives
        depth, area = w[0].size, math.prod(size)
        if result.size and depth:
            # (groups, C/groups * kernel, O/groups), against columns (rows, groups, 1, C/groups *
            # kernel)
            matrix = w.reshape(groups, o // groups, depth).swapaxes(1, 2)
            span = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
            axes = tuple(range(2, padded.ndim))
            step = max(1, _COLUMNS_BYTES // max(1, area * groups * depth * padded.itemsize))
            for start in range(0, n, step):
                windows = np.lib.stride_tricks.sliding_window_view(
                    padded[start : start + step], span, axes
                )
                windows = windows[
                    (..., *(slice(None, None, s) for s in stride), *(slice(None) for _ in span))
                ]
                windows = windows[(..., *(slice(None, None, d) for d in dilation))]
                rows = windows.shape[0]
                split = windows.reshape(rows, groups, w.shape[1], *windows.shape[2:])
                spatial = range(3, 3 + len(size))
                order = (1, 0, *spatial, 2, *range(3 + len(size), split.ndim))
                flat = split.transpose(order).reshape(groups, rows * area, depth)
                product = _product(flat, matrix)  # (groups, rows * area, O/groups)
                result[start : start + step] = product.swapaxes(0, 1).reshape(rows, *size, o)
        y = _first(result)
        return self._finish(y, x, bias, activation, residual, out, channels_last)

    @staticmethod
    def _finish(
        y: np.ndarray,
        x: np.ndarray,
        bias: np.ndarray | None,
        activation: Activation,
        residual: np.ndarray | None,
        out: np.ndarray | None,
        channels_last: bool | None,
    ) -> np.ndarray:
        """What follows the product, which lies with the channels last."""
        if bias is not None:
            y += _wide(bias).reshape(-1, *[1] * (y.ndim - 2))
        if residual is not None:
            y += _wide(residual)
        last = is_channels_last(x) if channels_last is None else channels_last
        activate(y, activation)
        return _store(y, out, x.dtype, last)

    def convolution_input_grad(
        self,
        grad_out: np.ndarray,
        weight: np.ndarray,
        x_shape: Sequence[int],
        stride: Sequence[int],
        padding: Pads,
        dilation: Sequence[int],
        groups: int,
        *,
        out: np.ndarray | None = None,
        channels_last: bool | None = None,
        weight_key: Hashable | None = None,
    ) -> np.ndarray:
        check_convolution_grad(
            grad_out.shape, x_shape, weight.shape, stride, padding, dilation, groups
        )
        last = is_channels_last(grad_out) if channels_last is None else channels_last
        n, c, *spatial = x_shape
        if columns.suits(grad_out, groups) and weight.dtype == grad_out.dtype and weight.size:
            y = columns.input_grad(grad_out, weight, spatial, stride, padding, dilation)
            return _store(_first(y), out, grad_out.dtype, last)
        g, w = _wide(grad_out), _wide(weight)
        size, kernel = g.shape[2:], w.shape[2:]
        room = columns.room(spatial, padding, size, kernel, stride, dilation)
        padded = np.zeros((n, c, *room), g.dtype)
        if g.size and w.size and padded.size:
            split = np.ascontiguousarray(g).reshape(n, groups, -1, math.prod(size))
            matrix = w.reshape(groups, w.shape[0] // groups, w.shape[1], *kernel)
            for position, window in columns.taps(kernel, size, stride, dilation):
                window = (slice(None), slice(None), *window)
                tap = matrix[(slice(None), slice(None), slice(None), *position)].swapaxes(1, 2)
                padded[window] += _product(tap, split).reshape(n, c, *size)
        crop = tuple(slice(low, low + s) for s, (low, _) in zip(spatial, padding, strict=True))
        return _store(padded[(slice(None), slice(None), *crop)], out, grad_out.dtype, last)

    def convolution_weight_grad(
        self,
        grad_out: np.ndarray,
        x: np.ndarray,
        weight_shape: Sequence[int],
        stride: Sequence[int],
        padding: Pads,
        dilation: Sequence[int],
        groups: int,
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        check_convolution_grad(
            grad_out.shape, x.shape, weight_shape, stride, padding, dilation, groups
        )
        if columns.suits(grad_out, groups) and x.dtype == grad_out.dtype and x.size:
            y = columns.weight_grad(grad_out, x, weight_shape, stride, padding, dilation)
            return _store(y, out, grad_out.dtype, False)
        g, padded = _wide(grad_out), _pad(_wide(x), padding)
        size, kernel, o = g.shape[2:], tuple(weight_shape[2:]), weight_shape[0]
        room = columns.room(x.shape[2:], padding, size, kernel, stride, dilation)
        padded = _pad(padded, [(0, r - n) for r, n in zip(room, padded.shape[2:], strict=True)])
        grad = np.zeros(weight_shape, g.dtype)
        if g.size and grad.size:
            # (groups, O/groups, N * positions) @ (groups, N * positions, C/groups), a kernel
            # position at a time
            left = np.moveaxis(g, 0, 1).reshape(groups, o // groups, -1)
            for position, window in columns.taps(kernel, size, stride, dilation):
                window = (slice(None), slice(None), *window)
                right = (
                    np.moveaxis(padded[window], 0, 1)
                    .reshape(groups, weight_shape[1], -1)
                    .swapaxes(1, 2)
                )
                grad[(slice(None), slice(None), *position)] = _product(left, right).reshape(o, -1)
        return _store(grad, out, grad_out.dtype, False)

    def matmul(
        self,
        a: np.ndarray,
        b: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        out: np.ndarray | None = None,
        activation: Activation = None,
        weight_key: Hashable | None = None,
    ) -> np.ndarray:
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
            raise ValueError(
                f"matmul needs (..., M, K) and (..., K, N), got {a.shape} and {b.shape}"
            )
        check_activation(activation)
        if a.dtype.kind in "iub" or a.dtype.itemsize == 2:
            result = _product(_wide(a), _wide(b))
        elif bias is None and activation is None:
            with np.errstate(all="ignore"):
                return np.matmul(a, b) if out is None else np.matmul(a, b, out=out)
        else:
            result = _product(a, b)
        if bias is not None:
            result += _wide(bias)
        activate(result, activation)
        if out is None:
            return result.astype(a.dtype, copy=False)
        return _store(result, out, a.dtype, False)

    def forget(self, weight_key: Hashable) -> None:
        pass

    def clear(self) -> None:
        pass

    def set_num_threads(self, count: int) -> None:
        set_blas_threads(count)
