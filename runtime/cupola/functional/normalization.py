"""Normalization over batches, layers, groups, instances and channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cupola.dtypes import bfloat16, float16
from cupola.functional._register import deliver, operator, settled, write_into
from cupola.functional.pooling import avg_pool1d
from cupola.functional.strides import row_major
from cupola.tensor import Tensor, no_grad
from cupola.tensor.composite import Composite, as_one


def _verify_batch_size(size: Sequence[int]) -> None:
    if math.prod(size) // max(size[1], 1) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {size}"
        )


def _check_channels(input: Tensor, *values: Tensor | None) -> None:
    count, names = input.shape[1], ("running_mean", "running_var", "weight", "bias")
    for name, value in zip(names, values, strict=True):
        if value is not None and value.numel() != count:
            raise RuntimeError(f"{name} should contain {count} elements not {value.numel()}")


def _moved(running: Tensor, value: Tensor, staying: Any, coming: Any) -> Tensor:
    """A running statistic, moved towards ``value`` by shares that add up to 1."""
    value = value if value.dtype is running.dtype else value.to(running.dtype)
    return running * staying + value * coming


def _update(running: Tensor, value: Tensor, momentum: float) -> None:
    """Move a running statistic towards ``value``."""
    write_into(running, _moved(running, value, 1 - momentum, momentum))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of (N, C, *) over the batch and space (Ioffe and Szegedy, 2015).

    In training with the input's statistics, updating the running ones; else with the running ones.
    """
    if not training:
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    if 0 in input._n.shape:
        return _of_nothing(input, running_mean, running_var, weight, bias)
    operands = (weight, bias, running_mean, running_var)
    given = tuple([x is not None for x in operands])
    tensors = (input, *[x for x in operands if x is not None])
    kind = None if running_mean is None else running_mean.dtype
    shares = (1 - momentum, momentum)
    result, *moved = _BY_BATCH(tensors, shares, kind, eps=eps, given=given)
    running = [x for x in (running_mean, running_var) if x is not None]
    for old, new in zip(running, moved, strict=True):
        write_into(old, new)
    return result


def _of_nothing(input: Tensor, *operands: Tensor | None) -> Tensor:
    """``batch_norm`` in training of an empty input, which has no mean: no NaN comes of it."""
    if input.dim() < 2:
        return input.clone()  # there is no channel to normalise
    _verify_batch_size(input.size())
    _check_channels(input, *operands)
    _, _, weight, bias = operands
    shape = (1, -1) + (1,) * (input.dim() - 2)
    result = input.clone()
    result = result if weight is None else result * weight.reshape(shape)
    return (result if bias is None else result + bias.reshape(shape)).to(input.dtype)


def _restored(given: tuple[bool, ...], values: Sequence[Tensor]) -> list[Tensor | None]:
    """The operands among which those that are not given are None again."""
    rest = iter(values)
    return [next(rest) if known else None for known in given]


@as_one("native_batch_norm", casts=False)
def _by_running(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """``batch_norm`` in evaluation mode; of half types computed in float32 and rounded once."""
    if input.dim() < 2:
        return input.clone()  # only empty tensors come here: there is no channel to normalise
    if running_mean is None or running_var is None:
        raise RuntimeError("running_mean and running_var must be defined in evaluation mode")
    _check_channels(input, running_mean, running_var, weight, bias)
    shape = (1, input.shape[1]) + (1,) * (input.dim() - 2)
    mean, spread, weight, bias = (
        x.float() if x is not None and x.dtype.itemsize < 4 else x
        for x in (running_mean, running_var, weight, bias)
    )
    scale = (spread + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = mean * scale
    shift = -shift if bias is None else bias - shift
    result = input * scale.reshape(shape) + shift.reshape(shape)
    return row_major(result if result.dtype == input.dtype else result.to(input.dtype), keeps=True)


def _by_batch(
    input: Tensor, *values: Any, eps: float, given: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    """``batch_norm`` in training: the result, and the new running statistics that are given."""
    *tensors, staying, coming = values
    weight, bias, running_mean, running_var = _restored(given, tensors)
    _verify_batch_size(input.size())
    _check_channels(input, running_mean, running_var, weight, bias)
    channels = input.shape[1]
    shape = (1, channels) + (1,) * (input.dim() - 2)
    dims = (0, *range(2, input.dim()))
    count = input.numel() // max(channels, 1)
    wide = _wide(input)
    # One pass over the input gives both moments, without cancellation: they are taken about a point
    # near the mean. The result does not depend on that point, so no gradient flows through it.
    near = _thinned(wide).mean(dims, keepdim=True).detach()
    shifted = wide - near
    offset = shifted.mean(dims, keepdim=True)
    var = (shifted * shifted).mean(dims, keepdim=True) - offset * offset
    moved = []
    with no_grad():
        if running_mean is not None:
            mean = (near + offset).detach().reshape(-1)
            moved.append(_moved(running_mean, mean, staying, coming))
        if running_var is not None:
            unbiased = var.detach().clamp(min=0).reshape(-1) * (count / (count - 1))
            moved.append(_moved(running_var, unbiased, staying, coming))
    centered = shifted - offset
    scale = (var + eps).rsqrt()
    if input.dtype in (float16, bfloat16) and _all_narrow(input, weight, bias, running_mean):
        if input.dtype is bfloat16:  # the squares' sum is rounded, and so is its quotient
            total = settled((var * count).to(bfloat16))
            scale = (settled(total / count).float() + eps).rsqrt()
        mean, scale = ((v.reshape(-1).to(input.dtype)) for v in (near + offset, scale))
        result = _narrow_batch_norm(input, mean.float(), scale.float(), weight, bias)
        return (result, *moved)
    if weight is not None:
        scale = scale * weight.reshape(shape)
    result = centered * scale
    if bias is not None:
        result = result + bias.reshape(shape)
    result = result if result.dtype == input.dtype else result.to(input.dtype)
    return (row_major(result, keeps=True), *moved)


_BY_BATCH = Composite("native_batch_norm", _by_batch, 1, casts=False, rereads=True)


def _all_narrow(input: Tensor, *parameters: Tensor | None) -> bool:
    """Whether PyTorch keeps the statistics in the input's half type: on the CPU, where no
    parameter is wider.
    """
    kind = input.dtype
    return input.device.type == "cpu" and all(p is None or p.dtype is kind for p in parameters)


def _narrow_batch_norm(
    input: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Normalised half types by float32 statistics (C,), rounded once as in PyTorch's CPU kernel."""
    shape = (1, -1) + (1,) * (input.dim() - 2)
    if weight is not None:
        scale = scale * weight
    shift = -(mean * scale) if bias is None else bias - mean * scale
    return (input * scale.reshape(shape) + shift.reshape(shape)).to(input.dtype)


# Elements of a channel that one pass more over them costs nothing.
_FEW = 4096


def _thinned(input: Tensor) -> Tensor:
    """About one in sixteen elements of each channel of (N, C, *), spread evenly over the space.

    All where there are few: one kernel then does everything.
    """
    if input.numel() < _FEW * input.shape[1]:
        return input
    step = {1: 16, 2: 4, 3: 3}.get(input.dim() - 2, 1)
    for d in range(2, input.dim()):
        if input.shape[d] >= 2 * step:
            input = input[(slice(None),) * d + (slice(None, None, step),)]
    return input


def _wide(input: Tensor) -> Tensor:
    """Half types are accumulated in float32.

    Raises:
        NotImplementedError: integers.
    """
    if input.dtype.category < 2:
        raise NotImplementedError(f"normalization is not implemented for {input.dtype}")
    return input.float() if input.dtype.itemsize < 4 else input


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample of (N, C, *) over space (Ulyanov et al., 2017)."""
    if use_input_stats:
        if math.prod(input.shape[2:]) == 1:
            raise ValueError(
                f"Expected more than 1 spatial element when training, got input size {input.size()}"
            )
    elif running_mean is None or running_var is None:
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    channels = input.shape[1]
    shape = (channels,) + (1,) * (input.dim() - 2)
    dims = tuple(range(2, input.dim()))
    if input.dtype in (float16, bfloat16) and _all_narrow(input, weight, bias, running_mean):
        return _narrow_instance_norm(input, running_mean, running_var, weight, bias, momentum, eps)
    wide = _wide(input)
    mean = wide.mean(dims, keepdim=True)
    centered = wide - mean
    var = (centered * centered).mean(dims, keepdim=True)
    if running_mean is not None and input.numel():
        count = math.prod(input.shape[2:])
        with no_grad():
            _update(running_mean, mean.detach().mean(0).reshape(-1), momentum)
            if running_var is not None:
                unbiased = var.detach().mean(0).reshape(-1) * (count / (count - 1))
                _update(running_var, unbiased, momentum)
    result = centered * (var + eps).rsqrt()
    if weight is not None:
        result = result * weight.reshape(shape)
    if bias is not None:
        result = result + bias.reshape(shape)
    return row_major(result if result.dtype == input.dtype else result.to(input.dtype))


def _narrow_instance_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Each channel of each sample as a channel of one sample, which is how PyTorch's CPU kernel
    comes to round the statistics.
    """
    batch, channels = input.shape[:2]
    running = (running_mean, running_var)
    copies = [None if r is None else r.detach().repeat(batch) for r in running]
    weight, bias = (None if p is None else p.repeat(batch) for p in (weight, bias))
    flat = input.reshape(1, batch * channels, *input.shape[2:])
    result = batch_norm(flat, *copies, weight, bias, True, momentum, eps).reshape(input.shape)
    with no_grad():
        for r, c in zip(running, copies, strict=True):
            if r is not None and c is not None:
                write_into(r, c.reshape(batch, channels).mean(0))
    return result


def _normalized_dims(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, name: str
) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least "
            "one element, but got normalized_shape = []"
        )
    if weight is not None and tuple(weight.shape) != shape:
        raise RuntimeError(
            "Expected weight to be of same shape as normalized_shape, but got weight of shape "
            f"{list(weight.shape)} and normalized_shape = {list(shape)}"
        )
    if input.dim() < len(shape) or tuple(input.shape[-len(shape) :]) != shape:
        expected = ", ".join(["*", *map(str, shape)])
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [{expected}], but "
            f"got input of size{list(input.shape)}"
        )
    return tuple(range(input.dim() - len(shape), input.dim()))


@operator(method=False)
@as_one("native_layer_norm", rereads=True)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Normalise over the last dimensions (Ba et al., 2016); weight and bias normalized_shape."""
    dims = _normalized_dims(input, normalized_shape, weight, "layer_norm")
    if bias is not None and bias.dim() != len(dims):
        raise RuntimeError("Expected bias to be of same shape as normalized_shape")
    wide = _wide(input)
    centered = wide - wide.mean(dims, keepdim=True)
    var = (centered * centered).mean(dims, keepdim=True)
    result = centered * (var + eps).rsqrt()
    if weight is not None:
        result = result * weight
    if bias is not None:
        result = result + bias
    return row_major(result if result.dtype == input.dtype else result.to(input.dtype))


@operator(method=False)
@as_one("fused_rms_norm", rereads=True)
def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Divide by the root mean square over the last dimensions (Zhang and Sennrich, 2019)."""
    dims = _normalized_dims(input, normalized_shape, weight, "rms_norm")
    wide = _wide(input)
    if eps is None:
        eps = float(np.finfo(np.float64 if wide.dtype.itemsize == 8 else np.float32).eps)
    result = wide * ((wide * wide).mean(dims, keepdim=True) + eps).rsqrt()
    if weight is not None:
        result = result * weight
    return result if result.dtype == input.dtype else result.to(input.dtype)


@operator(method=False)
@as_one("native_group_norm", rereads=True)
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Normalise groups of channels of each sample of (N, C, *) (Wu and He, 2018)."""
    if input.dim() < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.dim()}"
        )
    batch, channels = input.shape[:2]
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(input.shape)} and num_groups={num_groups}"
        )
    _verify_batch_size([batch * channels // num_groups, num_groups, *input.shape[2:]])
    _check_channels(input, None, None, weight, bias)
    # As (N, groups, channels of a group, space) to the end: a group is two loops, however many
    # dimensions space has.
    members, space = channels // num_groups, math.prod(input.shape[2:])
    grouped = _wide(input).reshape(batch, num_groups, members, space)
    centered = grouped - grouped.mean((2, 3), keepdim=True)
    var = (centered * centered).mean((2, 3), keepdim=True)
    result = centered * (var + eps).rsqrt()
    if weight is not None:
        result = result * weight.reshape(num_groups, members, 1)
    if bias is not None:
        result = result + bias.reshape(num_groups, members, 1)
    if result.dtype != input.dtype:
        result = result.to(input.dtype)
    return row_major(result.reshape(input.shape), keeps=True)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by a power of the squares summed over neighbouring channels of (N, C, *)."""
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    from cupola.functional.padding import pad

    squares = settled(input * input).reshape(input.shape[0], input.shape[1], -1).transpose(1, 2)
    mean = avg_pool1d(pad(squares, (size // 2, (size - 1) // 2)), size, 1)
    scaled = settled(settled(mean).transpose(1, 2).reshape(input.shape) * alpha)
    return input / settled(settled(scaled + k).pow(beta))


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """Divide by the p-norm along ``dim``, which is taken to be at least ``eps``."""
    result = input / input.norm(p, dim, keepdim=True).clamp(min=eps)
    return result if out is None else deliver(result, out)


@operator(name="batch_norm", method=False)
def _torch_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """``torch.batch_norm``: other order of arguments."""
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@operator(name="instance_norm", method=False)
def _torch_instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """``torch.instance_norm``: other order of arguments."""
    return instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )
