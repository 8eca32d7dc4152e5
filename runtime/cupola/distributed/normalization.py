"""Batch normalization over the batches of all ranks, from differentiable collectives."""

from __future__ import annotations

from typing import Any

from cupola.distributed import collectives, world
from cupola.dtypes import float32, float64
from cupola.functional.joining import cat
from cupola.functional.normalization import _update
from cupola.tensor import Tensor, no_grad


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
    group: Any = None,
) -> Tensor:
    """Normalise each channel of (N, C, *) over every rank's batch and space.

    The ranks' means and squared deviations are combined in float64 (Chan, Golub and LeVeque, 1979),
    so that the result is that of one process on the whole batch. A rank whose samples carry no
    weight contributes nothing.
    """
    dims, channels = (0, *range(2, input.dim())), input.shape[1]
    shape = (channels,) + (1,) * (input.dim() - 2)
    wide = input if input.dtype.itemsize >= 4 else input.to(float32)
    count = float(input.numel() // channels) * (world.world().weight > 0)
    own = wide.mean(dims, keepdim=True)
    spread = ((wide - own) ** 2).sum(dims).to(float64)
    mean = own.reshape(-1).to(float64)
    sent = cat([mean * count, (spread + mean * mean * count) * (count > 0), _number(count, mean)])
    total = collectives.all_reduce(sent, "add", group, "auto")
    n = total[-1]
    mean = total[:channels] / n
    var = total[channels:-1] / n - mean * mean
    if running_mean is not None:
        with no_grad():
            _update(running_mean, mean.detach(), momentum)
            if running_var is not None:
                _update(running_var, var.detach() * (n / (n - 1).clamp(min=1)), momentum)
    scale = (var + eps).rsqrt().to(wide.dtype).reshape(shape)
    if weight is not None:
        scale = scale * weight.reshape(shape)
    result = (wide - mean.to(wide.dtype).reshape(shape)) * scale
    if bias is not None:
        result = result + bias.reshape(shape)
    return result if result.dtype == input.dtype else result.to(input.dtype)


def _number(value: float, like: Tensor) -> Tensor:
    """A tensor of one element beside ``like``."""
    return like.detach()[:1] * 0 + value
