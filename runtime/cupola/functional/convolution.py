"""Convolutions and transposed convolutions in one, two and three dimensions, and linear maps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cupola.functional._register import operator, settled, with_out
from cupola.functional._sizes import add_batch, ntuple
from cupola.ops import conv as ops
from cupola.ops import elementwise, movement
from cupola.tensor import Tensor, apply
from cupola.tensor.composite import as_one


@partial(with_out, exact=True)
@as_one("addmm", heavy=True)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``; input (*, in), weight (out, in) or (in,), bias (out,)."""
    if weight.dim() == 2 and input.dim() and input.shape[-1] != weight.shape[1]:
        rows = input.numel() // input.shape[-1] if input.shape[-1] else 0
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and "
            f"{weight.shape[1]}x{weight.shape[0]})"
        )
    if bias is not None and weight.dim() == 2 and bias.dim() == 1 and input.dim() > 2:
        # One tall product, to which the library adds the bias; reshaped in between it could not.
        flat = linear(input.reshape(-1, input.shape[-1]), weight, bias)
        return flat.reshape(*input.shape[:-1], weight.shape[0])
    result = input.matmul(weight.t() if weight.dim() == 2 else weight)
    if bias is None:
        return result
    return (settled(result) if input.dim() == 1 else result) + bias


@operator(method=False)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x1' A_k x2 + b_k``; input1 (*, m), input2 (*, n), weight (out, m, n) -> (*, out)."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: got "
            f"{list(input1.shape)} and {list(input2.shape)}"
        )
    out_features, left, right = weight.shape
    if input1.shape[-1] != left or input2.shape[-1] != right:
        raise RuntimeError(
            f"bilinear(): input sizes {input1.shape[-1]} and {input2.shape[-1]} do not match "
            f"weight sizes {left} and {right}"
        )
    # (*, m) @ (m, out * n), then contract n with the second input.
    table = weight.permute(1, 0, 2).reshape(left, out_features * right)
    partial = input1.matmul(table).reshape((*input1.shape[:-1], out_features, right))
    result = settled((settled(partial) * input2.unsqueeze(-2)).sum(-1))
    return result if bias is None else result + bias


def _padding(padding: Any, n: int, kernel: Any, dilation: tuple, stride: tuple) -> tuple:
    """Pairs of padding before and after each spatial dimension."""
    if not isinstance(padding, str):
        values = ntuple(padding, n, "padding")
        if min(values) < 0:
            raise RuntimeError("negative padding is not supported")
        return tuple((p, p) for p in values)
    if padding == "valid":
        return ((0, 0),) * n
    if padding != "same":
        raise RuntimeError("Invalid padding string: '" + padding + "'")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return tuple((t // 2, t - t // 2) for t in totals)


def _check(input: Tensor, weight: Tensor, bias: Tensor | None, channels: int, n: int) -> None:
    if weight.dim() != n + 2:
        raise RuntimeError(
            f"weight should have {n + 2} dimensions, but got weight of size {list(weight.shape)}"
        )
    if input.dtype != weight.dtype:
        raise RuntimeError(
            f"Input type ({input.dtype}) and weight type ({weight.dtype}) should be the same"
        )
    if bias is not None:
        if bias.dtype != input.dtype:
            raise RuntimeError(
                f"Input type ({input.dtype}) and bias type ({bias.dtype}) should be the same"
            )
        if bias.dim() != 1 or bias.shape[0] != channels:
            raise RuntimeError(
                f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional "
                f"with {channels} elements, but got bias of size {list(bias.shape)} instead"
            )


@as_one("convolution", heavy=True)
def _convolve(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    input, batched = add_batch(input, n, f"conv{n}d")
    _check(input, weight, bias, weight.shape[0], n)
    stride, dilation = ntuple(stride, n, "stride"), ntuple(dilation, n, "dilation")
    pairs = _padding(padding, n, weight.shape[2:], dilation, stride)
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if weight.shape[0] % groups or weight.shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0 and "
            f"divisible by it, but got weight of size {list(weight.shape)} instead"
        )
    if input.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input"
            f"{list(input.shape)} to have {weight.shape[1] * groups} channels, but got "
            f"{input.shape[1]} channels instead"
        )
    for size, (lo, hi), k, d in zip(
        input.shape[2:], pairs, weight.shape[2:], dilation, strict=True
    ):
        if size + lo + hi < d * (k - 1) + 1:
            raise RuntimeError(
                f"Calculated padded input size per channel: {size + lo + hi}. Kernel size: "
                f"{d * (k - 1) + 1}. Kernel size can't be greater than actual input size"
            )
    attrs = {"stride": stride, "padding": pairs, "dilation": dilation, "groups": groups}

    def plain(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        y = apply(ops.convolution, x, w, **attrs)
        return y if b is None else y + b.reshape((-1,) + (1,) * n)

    if input.dtype.is_complex:
        result = _complex(input, weight, bias, plain)
    else:
        result = plain(input, weight, bias)
    return result if batched else result.squeeze(0)


def _complex(
    input: Tensor, weight: Tensor, bias: Tensor | None, plain: Callable[..., Tensor]
) -> Tensor:
    """Three convolutions of real numbers for one of complex ones (Gauss), as in PyTorch."""
    b_real, b_sum = (None, None) if bias is None else (bias.real, bias.real + bias.imag)
    first = plain(input.real, weight.real, b_real)
    second = plain(input.imag, weight.imag, None)
    both = plain(input.real + input.imag, weight.real + weight.imag, b_sum)
    return apply(elementwise.complex, first - second, both - first - second)


@operator(method=False)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation; input (N, C, L) or (C, L), weight (O, C / groups, K)."""
    return _convolve(1, input, weight, bias, stride, padding, dilation, groups)


@operator(method=False)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation; input (N, C, H, W) or (C, H, W), weight (O, C / groups, KH, KW)."""
    return _convolve(2, input, weight, bias, stride, padding, dilation, groups)


@operator(method=False)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation; input (N, C, D, H, W) or unbatched, weight (O, C / groups, *K)."""
    return _convolve(3, input, weight, bias, stride, padding, dilation, groups)


def _convolve_transpose(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    input, batched = add_batch(input, n, f"conv_transpose{n}d")
    stride, dilation = ntuple(stride, n, "stride"), ntuple(dilation, n, "dilation")
    padding = ntuple(padding, n, "padding")
    output_padding = ntuple(output_padding, n, "output_padding")
    channels = weight.shape[1] * groups
    _check(input, weight, bias, channels, n)
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if input.shape[1] != weight.shape[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input"
            f"{list(input.shape)} to have {weight.shape[0]} channels, but got {input.shape[1]} "
            "channels instead"
        )
    if input.dtype.is_complex:

        def plain(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
            return _convolve_transpose(
                n, x, w, b, stride, padding, output_padding, groups, dilation
            )

        result = _complex(input, weight, bias, plain)
        return result if batched else result.squeeze(0)
    sizes, pairs, extra = [], [], []
    for size, s, p, o, d, k in zip(
        input.shape[2:], stride, padding, output_padding, dilation, weight.shape[2:], strict=True
    ):
        if o >= s and o >= d:
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding: {o}, stride: {s}, dilation: {d}"
            )
        if o < s:
            beyond, high = 0, p
        else:
            # The convolution of the output must have no more windows than the input has elements.
            beyond, high = max(o - p, 0), max(p - o, 0)
        sizes.append((size - 1) * s - 2 * p + d * (k - 1) + o + 1 - beyond)
        pairs.append((p, high))
        extra.append((0, beyond))
    # A transposed convolution is the input gradient of the convolution with the same weight.
    result = apply(
        ops.convolution_input_grad,
        input,
        weight,
        x_shape=(input.shape[0], channels, *sizes),
        stride=stride,
        padding=tuple(pairs),
        dilation=dilation,
        groups=groups,
    )
    if any(beyond for _, beyond in extra):
        result = apply(movement.pad, result, pairs=((0, 0), (0, 0), *extra), value=0)
    if bias is not None:
        result = result + bias.reshape((-1,) + (1,) * n)
    return result if batched else result.squeeze(0)


@operator(method=False)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution; input (N, C, L), weight (C, O / groups, K)."""
    return _convolve_transpose(
        1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@operator(method=False)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution; input (N, C, H, W), weight (C, O / groups, KH, KW)."""
    return _convolve_transpose(
        2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@operator(method=False)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution; input (N, C, D, H, W), weight (C, O / groups, *K)."""
    return _convolve_transpose(
        3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@operator(method=False)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """One-dimensional convolution; input (time, batch, C), weight (K, C, O)."""
    result = _convolve(1, input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, int(pad), 1, 1)
    return result.permute(2, 0, 1)
