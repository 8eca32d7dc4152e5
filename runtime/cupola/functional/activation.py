"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cupola.dtypes import asked, float64
from cupola.functional._convert import one_dtype, to_float
from cupola.functional._register import operator, rounded_once, settled, with_out, write_into
from cupola.functional._sizes import integer
from cupola.functional.strides import row_major
from cupola.ir.op import pending
from cupola.ir.source import const
from cupola.ops import elementwise
from cupola.tensor import Tensor, apply, wrap
from cupola.tensor.composite import as_one

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _finish(input: Tensor, make: Callable[[], Tensor], inplace: bool) -> Tensor:
    """What ``make`` computes from ``input``, written into it if the caller asked for that.

    The write counts as made before ``make``, whose gradients keep the values that they read.
    """
    since = pending.count
    return write_into(input, make(), since) if inplace else make()


@operator(inplace=True)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(x, 0)``; NaN stays NaN (torch.relu)."""
    if not inplace:
        return _relu(input)
    since = pending.count
    return write_into(input, _relu(input), since)


@as_one("relu")
def _relu(input: Tensor) -> Tensor:
    node = input.node
    if node.dtype.category != 2:
        return input.masked_fill(input <= 0, 0)
    zero = const(0, node.shape, node.dtype, node.device)
    return wrap(elementwise.where(elementwise.le(node, zero), zero, node))


@operator(method=False, inplace=True)
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``x`` where it exceeds ``threshold``, elsewhere ``value`` (torch.threshold)."""
    return _finish(input, lambda: input.masked_fill(input <= threshold, value), inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """``x`` limited to [min_val, max_val]; the gradient is 0 on the borders too."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    low = input.masked_fill(input <= min_val, min_val)
    return _finish(input, lambda: low.masked_fill(input >= max_val, max_val), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``x`` if positive, else ``negative_slope * x``."""
    return _finish(input, lambda: Tensor.where(input, input > 0, input * negative_slope), inplace)


@operator
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """``x`` if positive, else ``weight * x``; ``weight`` holds one value or one a channel."""
    one_dtype("prelu", input, weight)
    if weight.numel() != 1:
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.dim() > 1 else 1
        if weight.numel() != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
    if weight.dim() > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}"
        )
    if input.dim() > 2 and weight.dim() == 1:
        weight = weight.reshape((-1,) + (1,) * (input.dim() - 2))
    if input.dim() == 0:
        weight = weight.reshape(())
    return Tensor.where(input, input > 0, input * weight)


@operator(method=False, inplace=True)
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    generator: Any = None,
) -> Tensor:
    """Leaky ReLU whose slope is uniform in [lower, upper] in training, else its mean."""
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training or lower == upper:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    # PyTorch draws, in double precision, for the elements that are not positive and no others.
    drawn = (input.detach() <= 0).reshape(-1)
    count = int(drawn.sum())
    if count == 0:
        return _finish(input, lambda: input.clone(), inplace)
    slopes = input.detach().new_empty(count, dtype=float64)
    slopes.uniform_(lower, upper, generator=generator)
    place = (drawn.long().cumsum(0) - 1).clamp(min=0)
    slope = slopes.to(input.dtype).index_select(0, place).reshape(input.shape)
    return _finish(input, lambda: Tensor.where(input, input > 0, input * slope), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` if positive, else ``alpha * (exp(x) - 1)``."""
    return _finish(input, lambda: _elu(input, alpha, 1.0, 1.0), inplace)


def _elu(input: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    # The exponential sees no positive number, so that its gradient stays finite.
    negative = input.masked_fill(input > 0, 0)
    if input_scale != 1.0:
        negative = negative * input_scale
    curved = negative.expm1() * (alpha * scale)
    return Tensor.where(input if scale == 1.0 else input * scale, input > 0, curved)


@operator(method=False, inplace=True)
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Self-normalising ELU (Klambauer et al., 2017; torch.selu)."""
    return _finish(input, lambda: _elu(input, _SELU_ALPHA, _SELU_SCALE, 1.0), inplace)


@operator(method=False, inplace=True)
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`` (torch.celu)."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _finish(input, lambda: _elu(input, alpha, 1.0, 1.0 / alpha), inplace)


@with_out
@as_one("gelu", rereads=True)
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """``x * Phi(x)``; ``approximate="tanh"`` uses the tanh formula."""
    if approximate == "none":
        return input * 0.5 * (1.0 + (input * math.sqrt(0.5)).erf())
    if approximate == "tanh":
        inner = (input + input * input * input * 0.044715) * math.sqrt(2.0 / math.pi)
        return input * 0.5 * (1.0 + inner.tanh())
    raise RuntimeError("approximate argument must be either none or tanh.")


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    return _finish(input, lambda: _silu(input), inplace)


@as_one("silu", rereads=True)
def _silu(input: Tensor) -> Tensor:
    return input * input.sigmoid()


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * tanh(softplus(x))``."""
    return _finish(input, lambda: input * softplus(input).tanh(), inplace)


@with_out
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta x)) / beta``, linear where ``beta x`` exceeds ``threshold``."""
    scaled = input * beta if beta != 1.0 else input
    large = scaled > threshold
    curved = scaled.masked_fill(large, 0).exp().log1p()
    return Tensor.where(input, large, curved / beta if beta != 1.0 else curved)


@with_out
def logsigmoid(input: Tensor) -> Tensor:
    """``log(sigmoid(x))`` without overflow."""
    return apply(elementwise.log_sigmoid, wrap(to_float(input)))


def softsign(input: Tensor) -> Tensor:
    """``x / (1 + |x|)``."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """``x - tanh(x)``."""
    return input - input.tanh()


@operator(out=True)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 where ``|x| <= lambd``, else ``x`` (torch.hardshrink)."""
    return input.masked_fill(input.abs() <= lambd, 0)


@with_out
@rounded_once
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``lambd``, and 0 where ``|x| <= lambd``."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    shrunk = input - input.detach().sign() * lambd
    return shrunk.masked_fill(input.abs() <= lambd, 0)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x + 3, 0), 6) / 6``."""
    return _finish(input, lambda: hardtanh(input + 3, 0.0, 6.0) / 6, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * hardsigmoid(x)``."""
    return _finish(input, lambda: input * (hardtanh(input + 3, 0.0, 6.0) / 6), inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """First half of ``dim`` times the sigmoid of the second half."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.shape[dim]
    if size % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}"
        )
    half = size // 2
    return input.narrow(dim, 0, half) * input.narrow(dim, half, half).sigmoid()


def _softmax_dim(name: str, ndim: int) -> int:
    """The dimension that softmax takes when none is given: deprecated but still used."""
    return 0 if ndim in (0, 1, 3) else 1


@operator(out=True)
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """``exp(x) / sum(exp(x))`` along ``dim`` (torch.softmax)."""
    dim, dtype = _softmax_arguments(input, dim, _stacklevel, dtype)
    if dtype is not None:
        input = input.to(dtype)
    if input.dim() == 0 or input.numel() == 0:
        return (input - input).exp()
    return _softmax(input, dim)


@as_one("softmax", rereads=True)
def _softmax(input: Tensor, dim: int) -> Tensor:
    wide = _wide(input)
    powers = (wide - wide.detach().amax(dim, keepdim=True)).exp()
    result = powers / powers.sum(dim, keepdim=True)
    return row_major(result if wide is input else result.to(input.dtype))


def _wide(input: Tensor) -> Tensor:
    """Half types are computed in float32 and rounded once, as in PyTorch's kernels."""
    narrow = input.dtype.is_floating_point and input.dtype.itemsize < 4
    return input.float() if narrow else input


@operator(out=True)
def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """``x - log(sum(exp(x)))`` along ``dim`` (torch.log_softmax)."""
    dim, dtype = _softmax_arguments(input, dim, _stacklevel, dtype)
    if dtype is not None:
        input = input.to(dtype)
    if input.dim() == 0 or input.numel() == 0:
        return input - input
    return _log_softmax(input, dim)


@as_one("log_softmax", rereads=True)
def _log_softmax(input: Tensor, dim: int) -> Tensor:
    wide = _wide(input)
    shifted = wide - wide.detach().amax(dim, keepdim=True)
    total = shifted.exp().sum(dim, keepdim=True)
    if wide is not input and input.device.type == "cpu" and dim in (-1, input.dim() - 1):
        # Along the last dimension PyTorch's CPU kernel keeps the sum and its logarithm narrow.
        total = settled(total.to(input.dtype).log()).float()
        return row_major((shifted - total).to(input.dtype))
    result = shifted - total.log()
    return row_major(result if wide is input else result.to(input.dtype))


def _softmax_arguments(input: Tensor, dim: Any, stacklevel: Any, dtype: Any) -> tuple[int, Any]:
    # torch.softmax(input, dim, dtype) has dtype where nn.functional has _stacklevel.
    if not isinstance(stacklevel, int) and dtype is None:
        dtype = stacklevel
    if dim is None:
        dim = _softmax_dim("softmax", input.dim())
    dim = integer(dim)
    ndim = max(input.dim(), 1)
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], "
            f"but got {dim})"
        )
    return dim, asked(dtype)


@operator(method=False)
def _softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """What comes back through ``softmax`` along ``dim`` that gave ``output``, in ``input_dtype``;
    all of one shape (torch._softmax_backward_data).
    """
    product = _wide(grad_output) * _wide(output)
    result = product - _wide(output) * product.sum(dim, keepdim=True)
    return row_major(result.to(input_dtype))


@operator(method=False)
def _log_softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """What comes back through ``log_softmax`` along ``dim`` that gave ``output``, in
    ``input_dtype``; all of one shape (torch._log_softmax_backward_data).
    """
    wide = _wide(grad_output)
    result = wide - _wide(output).exp() * wide.sum(dim, keepdim=True)
    return row_major(result.to(input_dtype))


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Softmax of ``-x``."""
    return softmax(-input, dim, _stacklevel, dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Sample of the Gumbel-softmax distribution; ``hard`` gives one-hot samples."""
    noise = -logits.detach().new_empty(logits.shape).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, keepdim=True)
    one_hot = soft.detach().new_zeros(soft.shape).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft


def tanh(input: Tensor) -> Tensor:
    """``tanh(x)``."""
    return input.tanh()


def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-x))``."""
    return input.sigmoid()
