"""Adaptive, fractional and inverse pooling."""

from __future__ import annotations

import math
from typing import Any

from cupola.dtypes import bfloat16, float16
from cupola.functional._plane import extreme_of, plane_index, take_from_plane
from cupola.functional._register import operator, settled
from cupola.functional._sizes import ntuple
from cupola.functional.creation import arange
from cupola.functional.pooling import _check_dims
from cupola.ops import movement
from cupola.ops import reduce as reductions
from cupola.tensor import Tensor, apply, is_grad_enabled, tensor


def _sizes(input: Tensor, n: int, size: Any) -> tuple[int, ...]:
    """The wanted output size; None keeps the input's."""
    if isinstance(size, int) or size is None or getattr(size, "ndim", None) == 0:
        size = (size,) * n
    size = tuple(size)
    if len(size) != n:
        raise RuntimeError(f"adaptive pooling: output_size must have {n} elements, got {size}")
    wanted = tuple(s if o is None else int(o) for o, s in zip(size, input.shape[-n:], strict=True))
    if min(wanted) < 0:
        raise RuntimeError("elements of output_size must be greater than or equal to 0")
    return wanted


def _bounds(size: int, out: int) -> tuple[list[int], list[int]]:
    """First index and length of each adaptive window along one dimension."""
    starts = [i * size // out for i in range(out)]
    return starts, [-(-(i + 1) * size // out) - starts[i] for i in range(out)]


def _spread(input: Tensor, dim: int, out: int, fill: Any) -> tuple[Tensor, list[int], list[int]]:
    """Split ``dim`` into (out, longest window); places beyond a window hold ``fill``."""
    starts, lengths = _bounds(input.shape[dim], out)
    longest = max(lengths, default=0)
    wanted = [min(start + t, input.shape[dim] - 1) for start in starts for t in range(longest)]
    index = tensor(wanted, dtype=None, device=input.device)
    shape = (*input.shape[:dim], out, longest, *input.shape[dim + 1 :])
    spread = input.index_select(dim, index).reshape(shape)
    if len(set(lengths)) > 1:
        outside = [[t >= length for t in range(longest)] for length in lengths]
        mask = tensor(outside, device=input.device)
        spread = spread.masked_fill(
            mask.reshape((out, longest) + (1,) * (input.dim() - dim - 1)), fill
        )
    return spread, starts, lengths


def _adaptive_avg(n: int, input: Tensor, size: Any) -> Tensor:
    if n > 1 and input.dim() < n + 1:
        raise ValueError(
            f"Input dimension should be at least {n + 1}, got {input.dim()}: give a channel "
            "dimension before the pooled ones"
        )
    _check_dims(input, n, f"adaptive_avg_pool{n}d")
    wanted = _sizes(input, n, size)
    spatial = tuple(range(input.dim() - n, input.dim()))
    if all(o == 1 for o in wanted):
        return input.mean(spatial, keepdim=True)
    if 0 in wanted:
        return input.new_empty((*input.shape[:-n], *wanted))
    if input.dtype in (float16, bfloat16) and input.numel():
        on_cpu = input.device.type == "cpu"
        if n == 3 and on_cpu:
            return _stepwise_avg(input, wanted)
        if n == 2 or not on_cpu:
            return _adaptive_avg(n, input.float(), size).to(input.dtype)
    if all(s % o == 0 for s, o in zip(input.shape[-n:], wanted, strict=True)):
        kernel = tuple(s // o for s, o in zip(input.shape[-n:], wanted, strict=True))
        if all(k == 1 for k in kernel):
            return input.clone()
        windows = apply(movement.window, input, size=kernel, stride=kernel, dilation=(1,) * n)
        return windows.mean(tuple(range(input.dim(), input.dim() + n)))
    for dim, out in zip(spatial, wanted, strict=True):
        if input.shape[dim] == out:
            continue
        spread, _, lengths = _spread(input, dim, out, 0)
        counts = tensor(lengths, dtype=input.dtype, device=input.device)
        input = spread.sum(dim + 1) / counts.reshape((-1,) + (1,) * (input.dim() - dim - 1))
    return input


def _stepwise_avg(input: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Volumes of half types: PyTorch's CPU kernel rounds each sum and each of three quotients."""
    lead, counts, windows = input.dim() - 3, [], input
    for i in reversed(range(3)):
        windows, _, lengths = _spread(windows, lead + i, wanted[i], 0)
        shape = (-1,) + (1,) * (2 - i)
        counts.insert(0, tensor(lengths, dtype=input.dtype, device=input.device).reshape(shape))
    order = [*range(lead), *range(lead, lead + 6, 2), *range(lead + 1, lead + 6, 2)]
    flat = windows.permute(order).reshape((*input.shape[:-3], *wanted, -1))
    total = flat[..., 0]
    for k in range(1, flat.shape[-1]):
        total = settled(total + flat[..., k])
    for count in counts:
        total = settled(total / count)
    return total


@operator(method=False)
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over ``output_size`` windows that cover (N, C, L)."""
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows that cover (N, C, H, W); None keeps a size."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows that cover (N, C, D, H, W); None keeps a size."""
    return _adaptive_avg(3, input, output_size)


def _adaptive_max(n: int, input: Tensor, size: Any, return_indices: bool) -> Any:
    if n > 1 and input.dim() < n + 1:
        raise ValueError(
            f"Input dimension should be at least {n + 1}, got {input.dim()}: give a channel "
            "dimension before the pooled ones"
        )
    _check_dims(input, n, f"adaptive_max_pool{n}d")
    wanted = _sizes(input, n, size)
    if 0 in wanted:
        empty = input.new_empty((*input.shape[:-n], *wanted))
        return (empty, empty.long()) if return_indices else empty
    fill = extreme_of(input.dtype, lowest=True)
    lead = input.dim() - n
    windows, starts, kernel = input, [], []
    for i in reversed(range(n)):
        windows, first, lengths = _spread(windows, lead + i, wanted[i], fill)
        starts.insert(0, tensor(first, device=input.device))
        kernel.insert(0, max(lengths))
    order = [*range(lead), *range(lead, lead + 2 * n, 2), *range(lead + 1, lead + 2 * n, 2)]
    windows = windows.permute(order)
    dims = tuple(range(input.dim(), input.dim() + n))
    shape = (*input.shape[:-n], *wanted)
    if not (return_indices or (input.requires_grad and is_grad_enabled())):
        return apply(reductions.amax, windows, dims=dims).reshape(shape)
    place = apply(reductions.argmax, windows.detach(), dims=dims).reshape(shape)
    index = plane_index(place, kernel, (1,) * n, starts, input.shape[-n:])
    result = take_from_plane(input, index, n)
    return (result, index) if return_indices else result


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over ``output_size`` windows that cover (N, C, L); with indices on demand."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows that cover (N, C, H, W); with indices on demand."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows that cover (N, C, D, H, W); with indices on demand."""
    return _adaptive_max(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = True
) -> Any:
    """``adaptive_max_pool1d`` that also returns the indices."""
    return _adaptive_max(1, input, output_size, True)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = True
) -> Any:
    """``adaptive_max_pool2d`` that also returns the indices."""
    return _adaptive_max(2, input, output_size, True)


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = True
) -> Any:
    """``adaptive_max_pool3d`` that also returns the indices."""
    return _adaptive_max(3, input, output_size, True)


# -- max_unpool --------------------------------------------------------------------------------


def _unpool(
    n: int, input: Tensor, indices: Tensor, kernel: Any, stride: Any, padding: Any, size: Any
) -> Tensor:
    kernel = ntuple(kernel, n, "kernel_size")
    stride = kernel if stride is None else ntuple(stride, n, "stride")
    padding = ntuple(padding, n, "padding")
    default = [
        (s - 1) * st + k - 2 * p
        for s, st, k, p in zip(input.shape[-n:], stride, kernel, padding, strict=True)
    ]
    if size is None:
        wanted = default
    else:
        wanted = list(size)[-n:]
        if len(size) not in (n, n + 1, n + 2):
            raise ValueError(
                f"output_size should be a sequence containing {n} or {n + 2} elements, but it "
                f"has a length of '{len(size)}'"
            )
        for i, (w, d, st) in enumerate(zip(wanted, default, stride, strict=True)):
            if not d - st < w < d + st:
                raise ValueError(
                    f"invalid output_size {wanted} (dim {i} must be between {d - st} and {d + st})"
                )
    lead = input.shape[:-n]
    flat = input.reshape((*lead, -1))
    plane = flat.new_zeros((*lead, math.prod(wanted)))
    return plane.scatter(-1, indices.reshape(flat.shape), flat).reshape((*lead, *wanted))


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put pooled values of (N, C, L) back at their indices; zeros elsewhere."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put pooled values of (N, C, H, W) back at their indices; zeros elsewhere."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put pooled values of (N, C, D, H, W) back at their indices; zeros elsewhere."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


# -- fractional max pooling (Graham, 2014) -----------------------------------------------------


def _fractional(
    n: int,
    input: Tensor,
    kernel: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    kernel = ntuple(kernel, n, "kernel_size")
    if output_size is None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, float) else tuple(output_ratio)
        output_size = [int(s * r) for s, r in zip(input.shape[-n:], ratios, strict=True)]
    out = ntuple(output_size, n, "output_size")
    batched = input.dim() == n + 2
    planes = input if batched else input.unsqueeze(0)
    if samples is None:
        samples = planes.detach().new_empty((*planes.shape[:2], n)).uniform_()
    samples = samples[: planes.shape[0]]
    starts = []
    for i, (size, k, o) in enumerate(zip(input.shape[-n:], kernel, out, strict=True)):
        if o + k - 1 > size:
            raise RuntimeError(f"{name}: pool size {k} is too large for input size {size}")
        # In the plane the samples are drawn for the width first, in space for the depth.
        sample = samples[..., i if n == 3 else n - 1 - i].unsqueeze(-1)
        last = planes.new_full((*planes.shape[:2], 1), size - k).long()
        if o == 1:
            starts.append(last)
            continue
        alpha = (size - k) / (o - 1)
        steps = arange(o - 1, dtype=samples.dtype, device=input.device)
        first = ((steps + sample) * alpha).long() - (sample * alpha).long()
        starts.append(_join(first, last))
    index: Any = 0
    for i, (start, k) in enumerate(zip(starts, kernel, strict=True)):
        within = arange(k, device=input.device)
        place = start.unsqueeze(-1) + within  # (N, C, o, k)
        shape = [*place.shape[:2], *(1,) * (2 * n)]
        shape[2 + i], shape[2 + n + i] = place.shape[2], place.shape[3]
        index = place.reshape(shape) * math.prod(input.shape[input.dim() - n + i + 1 :]) + index
    windows = take_from_plane(planes, index, n)
    flat = windows.reshape((*windows.shape[: 2 + n], math.prod(kernel)))
    best = flat.detach().argmax(-1, keepdim=True)
    result = flat.gather(-1, best).squeeze(-1)
    where = index.reshape(flat.shape).gather(-1, best).squeeze(-1)
    if not batched:
        result, where = result.squeeze(0), where.squeeze(0)
    return (result, where) if return_indices else result


def _join(*xs: Tensor) -> Tensor:
    """Join along the last dimension."""
    return apply(movement.cat, *xs, dim=xs[0].dim() - 1)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Max pooling of (N, C, H, W) with pseudo-random window starts."""
    return _fractional(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool2d_with_indices(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """``fractional_max_pool2d`` that also returns the indices of the maxima."""
    return fractional_max_pool2d(*args, **{**kwargs, "return_indices": True})


def fractional_max_pool3d_with_indices(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """``fractional_max_pool3d`` that also returns the indices of the maxima."""
    return fractional_max_pool3d(*args, **{**kwargs, "return_indices": True})


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Max pooling of (N, C, D, H, W) with pseudo-random window starts."""
    return _fractional(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )
