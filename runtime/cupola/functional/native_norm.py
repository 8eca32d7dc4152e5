"""Normalizations that also return what they measured, and grid sampling with modes by number: the
forms that torch offers beside torch.nn.functional.
"""

from __future__ import annotations

from collections.abc import Sequence

from cupola.dtypes import dtype as DType
from cupola.functional._register import operator
from cupola.functional.normalization import batch_norm, group_norm, layer_norm
from cupola.functional.vision import grid_sample
from cupola.tensor import Tensor


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x


def _kind(x: Tensor, *parameters: Tensor | None) -> DType:
    """The dtype of the statistics: float32 for half types, but on the CPU their own where no
    parameter is wider.
    """
    wider = any(p is not None and p.dtype is not x.dtype for p in parameters)
    return _wide(x).dtype if wider or x.device.type != "cpu" else x.dtype


def _measured(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation, reduced dimensions kept."""
    x = _wide(x)
    mean = x.mean(dims, keepdim=True)
    return mean, (((x - mean) ** 2).mean(dims, keepdim=True) + eps).rsqrt()


@operator(method=False)
def native_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """layer_norm, with the mean and the reciprocal deviation of each row, without a gradient
    (torch.native_layer_norm).
    """
    out = layer_norm(input, normalized_shape, weight, bias, eps)
    dims = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    mean, deviation = _measured(input.detach(), dims, eps)
    kind = _kind(input, weight, bias)
    return out, mean.to(kind), deviation.to(kind)


@operator(method=False)
def native_group_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    N: int,
    C: int,
    HxW: int,
    group: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """group_norm of N times C times HxW values, with the mean and the reciprocal deviation of each
    group (torch.native_group_norm).

    Raises:
        RuntimeError: the sizes are not the input's.
    """
    if input.numel() != N * C * HxW:
        raise RuntimeError(
            f"Expected an input of {N} * {C} * {HxW} elements, but got {list(input.shape)}"
        )
    out = group_norm(input.reshape(N, C, HxW), group, weight, bias, eps).reshape(input.shape)
    mean, deviation = _measured(input.reshape(N, group, C // group * HxW), (2,), eps)
    kind = _kind(input, weight, bias)
    return out, mean.squeeze(2).to(kind), deviation.squeeze(2).to(kind)


@operator(method=False, out=True, exact=True)
def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """batch_norm, with the mean and the reciprocal deviation of each channel, without a gradient
    and empty when not training (torch.native_batch_norm).
    """
    kind = _kind(input, weight, bias, running_mean)
    if not training:
        out = batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return out, input.new_empty(0, dtype=kind), input.new_empty(0, dtype=kind)
    mean, deviation = _measured(input.detach(), (0, *range(2, input.ndim)), eps)
    out = batch_norm(input, running_mean, running_var, weight, bias, True, momentum, eps)
    return out, mean.flatten().to(kind), deviation.flatten().to(kind)


_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


@operator(method=False)
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """grid_sample, modes by number (torch.grid_sampler)."""
    return grid_sample(
        input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners
    )


@operator(method=False)
def grid_sampler_2d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """grid_sampler of (N, C, H, W) (torch.grid_sampler_2d)."""
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)


@operator(method=False)
def grid_sampler_3d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """grid_sampler of (N, C, D, H, W) (torch.grid_sampler_3d)."""
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)
