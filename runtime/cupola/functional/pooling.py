"""Max, average and power-average pooling over sliding windows."""

from __future__ import annotations

import math
from typing import Any

from cupola.dtypes import uint8
from cupola.functional._plane import extreme_of, plane_index, take_from_plane
from cupola.functional._register import operator, with_out
from cupola.functional._sizes import ntuple
from cupola.functional.creation import arange
from cupola.ops import movement, pool
from cupola.ops import reduce as reductions
from cupola.tensor import Tensor, apply, is_grad_enabled, tensor


def _check_dims(input: Tensor, n: int, name: str) -> None:
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D input, but got input of size "
            f"{list(input.shape)}"
        )
    if any(size == 0 for size in input.shape[-n - 1 :]):
        raise RuntimeError(
            f"{name}: Expected non-zero size for non-batch dimensions, but got input of size "
            f"{list(input.shape)}"
        )


def output_size(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    """Number of windows along one dimension."""
    span = size + 2 * pad - dilation * (kernel - 1) - 1
    out = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (out - 1) * stride >= size + pad:
        out -= 1  # the last window must start inside the input or its left padding
    return out


def _geometry(
    input: Tensor, n: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[tuple[int, ...], ...]:
    """Kernel, stride, padding, dilation and output size, one number a spatial dimension."""
    kernel = ntuple(kernel, n, "kernel_size")
    stride = kernel if stride is None or stride in ((), []) else ntuple(stride, n, "stride")
    padding, dilation = ntuple(padding, n, "padding"), ntuple(dilation, n, "dilation")
    if min(kernel) <= 0:
        raise RuntimeError("kernel size should be greater than zero, but got " + str(kernel))
    if min(stride) <= 0:
        raise RuntimeError("stride should be greater than zero, but got " + str(stride))
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero, but got " + str(dilation))
    for pad, k, d in zip(padding, kernel, dilation, strict=True):
        if pad < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {pad}")
        if pad > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                "pad should be at most half of effective kernel size, but got "
                f"pad={pad}, kernel_size={k} and dilation={d}"
            )
    out = tuple(
        output_size(size, k, s, p, d, ceil)
        for size, k, s, p, d in zip(
            input.shape[-n:], kernel, stride, padding, dilation, strict=True
        )
    )
    if min(out) < 1:
        raise RuntimeError(
            f"Given input size: {tuple(input.shape[-n - 1 :])}. Calculated output size: "
            f"{(input.shape[-n - 1], *out)}. Output size is too small"
        )
    return kernel, stride, padding, dilation, out


def _windows(input: Tensor, n: int, geometry: tuple[tuple[int, ...], ...], fill: float) -> Tensor:
    """Sliding windows of the padded input: (*, spatial) -> (*, out, kernel)."""
    kernel, stride, padding, dilation, out = geometry
    pairs = tuple(
        (p, max((o - 1) * s + d * (k - 1) + 1 - size - p, 0))
        for size, k, s, p, d, o in zip(input.shape[-n:], *geometry, strict=True)
    )
    if any(lo or hi for lo, hi in pairs):
        lead = ((0, 0),) * (input.dim() - n)
        input = apply(movement.pad, input, pairs=lead + pairs, value=fill)
    return apply(movement.window, input, size=kernel, stride=stride, dilation=dilation)


def _max_pool(
    n: int,
    input: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    _check_dims(input, n, f"max_pool{n}d")
    geometry = _geometry(input, n, kernel, stride, padding, dilation, ceil_mode)
    windows = _windows(input, n, geometry, extreme_of(input.dtype, lowest=True))
    shape = (*input.shape[:-n], *geometry[4])
    dims = tuple(range(input.dim(), input.dim() + n))
    needs_grad = input.requires_grad and is_grad_enabled()
    if not (return_indices or needs_grad):
        return apply(reductions.amax, windows, dims=dims).reshape(shape)
    # The gradient belongs to the first maximum alone, so the place of the maximum is needed.
    place = apply(reductions.argmax, windows, dims=dims).reshape(shape).detach()
    kernel, stride, padding, dilation, out = geometry
    if not return_indices and set(dilation) == {1}:
        if math.prod(kernel) <= 256:
            place = place.to(uint8)
        axes = tuple(range(input.dim() - n, input.dim()))
        return apply(
            pool.pool_take, input, place, size=kernel, stride=stride, low=padding, axes=axes
        )
    starts = [
        arange(-p, o * s - p, s, device=input.device)
        for o, s, p in zip(out, stride, padding, strict=True)
    ]
    index = plane_index(place, kernel, dilation, starts, input.shape[-n:])
    result = take_from_plane(input, index, n)
    return (result, index) if return_indices else result


@operator(method=False)
def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window of (N, C, L) or (C, L); with indices on demand."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@operator(method=False)
def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window of (N, C, H, W) or (C, H, W); with indices on demand."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@operator(method=False)
def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window of (N, C, D, H, W) or unbatched; with indices on demand."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _with_indices(n: int) -> Any:
    def pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = True,
    ) -> tuple[Tensor, Tensor]:
        return _max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    pool.__name__ = pool.__qualname__ = f"max_pool{n}d_with_indices"
    pool.__doc__ = f"``max_pool{n}d`` that also returns the indices of the maxima."
    return pool


max_pool1d_with_indices = _with_indices(1)
max_pool2d_with_indices = _with_indices(2)
max_pool3d_with_indices = _with_indices(3)


def _divisor(
    input: Tensor, geometry: tuple[tuple[int, ...], ...], count_include_pad: bool
) -> float | Tensor:
    """How many elements each window averages over."""
    kernel, stride, padding, _, out = geometry
    n = len(kernel)
    counts = []
    for size, k, s, p, o in zip(input.shape[-n:], kernel, stride, padding, out, strict=True):
        row = []
        for i in range(o):
            start = i * s - p
            end = min(start + k, size + p)
            row.append(end - start if count_include_pad else min(end, size) - max(start, 0))
        counts.append(row)
    if all(len(set(row)) == 1 for row in counts):
        return float(math.prod(row[0] for row in counts))
    total: Any = 1
    for i, row in enumerate(counts):
        shape = (-1,) + (1,) * (n - 1 - i)
        total = tensor(row, dtype=input.dtype, device=input.device).reshape(shape) * total
    return total


def _avg_pool(
    n: int,
    input: Tensor,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    _check_dims(input, n, f"avg_pool{n}d")
    geometry = _geometry(input, n, kernel, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    windows = _windows(input, n, geometry, 0)
    total = windows.sum(tuple(range(input.dim(), input.dim() + n)))
    divisor = _divisor(input, geometry, count_include_pad)
    divisor = divisor if divisor_override is None else divisor_override
    if input.dtype.category == 1:  # integers stay integers
        return total.div(divisor, rounding_mode="trunc").to(input.dtype)
    return total / divisor


@operator(method=False)
def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window of (N, C, L) or (C, L)."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@with_out
def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window of (N, C, H, W) or (C, H, W)."""
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@with_out
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window of (N, C, D, H, W) or unbatched."""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _lp_pool(
    n: int, input: Tensor, norm_type: float, kernel: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    size = math.prod(ntuple(kernel, n, "kernel_size"))
    mean = _avg_pool(n, input.pow(norm_type), kernel, stride, 0, ceil_mode, True, None)
    clipped = mean.sign() * mean.abs().relu()
    return (clipped * size).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Power average of each window of (N, C, L): ``(sum x^p)^(1/p)``."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Power average of each window of (N, C, H, W)."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Power average of each window of (N, C, D, H, W)."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)
