"""Reductions and normalizations that leave out elements by a mask (torch.masked): the elements
where it is False. Masks broadcast to the input and count as all True when they are not given.
"""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes
from cupola.functional._convert import wrap_dims
from cupola.functional._register import PUBLIC
from cupola.functional.info import iinfo
from cupola.functional.reduction import vector_norm
from cupola.tensor import Tensor

Dims = Any


def _dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    return wrap_dims(dim, ndim)


def _mask_of(input: Tensor, mask: Tensor) -> Tensor:
    """The mask as bools of the input's shape.

    Raises:
        IndexError: the mask has more dimensions than the input.
    """
    if mask.ndim > input.ndim:
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the "
            "input)"
        )
    return mask.to(dtypes.bool).broadcast_to(input.shape)


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """The input with ``value`` where the mask is False."""
    if mask is None:
        return input
    return PUBLIC["where"](_mask_of(input, mask), input, input.new_full((), value))


def _limit(input: Tensor, sign: int, name: str) -> Any:
    """The lowest (sign -1) or highest value of the input's dtype."""
    d = input.dtype
    if d.is_floating_point:
        return sign * math.inf
    if d.is_complex or d is dtypes.bool:
        raise NotImplementedError(f"identity of {name} on {d} input")
    return iinfo(d).max if sign > 0 else iinfo(d).min


def _wide(dtype: Any) -> Any:
    """What integers of fewer than 64 bits are summed in."""
    return dtypes.int64 if dtype.category < 2 and dtype.itemsize < 8 else dtype


def sum(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Sum of the unmasked elements; 0 where there are none (torch.masked.sum)."""
    dtype = _wide(input.dtype) if dtype is None else dtype
    dims = _dims(dim, input.ndim)
    return _filled(input, mask, 0).sum(dims, bool(keepdim), dtype=dtype)


def prod(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Product of the unmasked elements; 1 where there are none (torch.masked.prod)."""
    out = _filled(input, mask, 1).to(_wide(input.dtype) if dtype is None else dtype)
    for d in reversed(_dims(dim, input.ndim)):
        out = out.prod(d, bool(keepdim))
    return out


def cumsum(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running sums of the unmasked elements (torch.masked.cumsum)."""
    dtype = input.dtype if dtype is None else dtype
    (d,) = _dims((dim,), input.ndim) or (0,)
    return _filled(input, mask, 0).cumsum(d, dtype=dtype).to(dtype)


def cumprod(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Running products of the unmasked elements (torch.masked.cumprod)."""
    dtype = input.dtype if dtype is None else dtype
    (d,) = _dims((dim,), input.ndim) or (0,)
    return _filled(input, mask, 1).cumprod(d, dtype=dtype).to(dtype)


def amax(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Largest of the unmasked elements (torch.masked.amax)."""
    x = input if mask is None else _filled(input, mask, _limit(input, -1, "amax"))
    return x.amax(_dims(dim, input.ndim), bool(keepdim)).to(dtype or input.dtype)


def amin(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Smallest of the unmasked elements (torch.masked.amin)."""
    x = input if mask is None else _filled(input, mask, _limit(input, 1, "amin"))
    return x.amin(_dims(dim, input.ndim), bool(keepdim)).to(dtype or input.dtype)


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the largest unmasked element lies (torch.masked.argmax)."""
    x = input if mask is None else _filled(input, mask, _limit(input, -1, "argmax"))
    return x.argmax(dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Where the smallest unmasked element lies (torch.masked.argmin)."""
    x = input if mask is None else _filled(input, mask, _limit(input, 1, "argmin"))
    return x.argmin(dim, bool(keepdim)).to(dtype or input.dtype)


def _count(input: Tensor, dims: tuple[int, ...], keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements are unmasked."""
    ones = input.new_ones(input.shape, dtype=dtypes.int64)
    return sum(ones, dims, keepdim=keepdim, mask=mask)


def mean(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean of the unmasked elements; NaN where there are none (torch.masked.mean).

    Raises:
        ValueError: the result would be neither floating point nor complex.
    """
    source = "Input" if dtype is None else "Optional"
    dtype = input.dtype if dtype is None else dtype
    if dtype.category < 2:
        raise ValueError(
            f"mean(): Could not infer output dtype. {source} dtype must be either a floating "
            f"point or complex dtype. Got: {dtype}"
        )
    dims = _dims(dim, input.ndim)
    total = sum(input, dims, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, dims, bool(keepdim), mask)


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Median of the unmasked elements; NaN where there are none (torch.masked.median).

    Raises:
        ValueError: an integer input with nothing unmasked somewhere.
    """
    dtype = input.dtype if dtype is None else dtype
    x = input if input.dtype.is_floating_point else input.to(dtypes.float32)
    (d,) = _dims((dim,), input.ndim) or (0,)
    out = _filled(x, mask, math.nan).nanmedian(d, keepdim)[0]
    if input.dtype.is_floating_point:
        return out
    if bool(out.isnan().any()):
        raise ValueError(
            "masked median expects no fully masked out rows if dtype is not floating point"
        )
    return out.to(dtype)


def logsumexp(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """log(sum(exp)) of the unmasked elements (torch.masked.logsumexp)."""
    low = -math.inf if input.dtype.is_complex else _limit(input, -1, "logsumexp")
    x = _filled(input, mask, low)
    return x.logsumexp(_dims(dim, input.ndim), keepdim).to(dtype or input.dtype)


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: Any = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """log(exp + exp), masked elements counting as minus infinity (torch.masked.logaddexp)."""
    a = _filled(input, input_mask, _limit(input, -1, "logaddexp"))
    b = _filled(other, other_mask, _limit(other, -1, "logaddexp"))
    return a.logaddexp(b).to(dtype or input.dtype)


def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Vector norm of the unmasked elements (torch.masked.norm)."""
    x = _filled(input, mask, math.inf if ord == -math.inf else 0)
    x = x if dtype is None else x.to(dtype)
    return vector_norm(x, 2 if ord is None else ord, _dims(dim, input.ndim), bool(keepdim))


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Variance of the unmasked elements; NaN where there are none (torch.masked.var)."""
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 0.0 if unbiased is False else 1.0
    if dtype is None:
        dtype = input.dtype if input.dtype.category >= 2 else dtypes.float32
    kind = dtype if dtype.category >= 2 else dtypes.float32
    dims = _dims(dim, input.ndim)
    count = _count(input, dims, True, mask)
    x = input - sum(input, dims, keepdim=True, dtype=dtype, mask=mask) / count
    total = sum(x * x.conj(), dims, keepdim=keepdim, dtype=kind, mask=mask)
    count = count if keepdim else count.reshape(total.shape)
    if correction != 0:
        count = (count.to(kind.to_real() if kind.is_complex else kind) - correction).clamp(min=0)
    return (total / count).to(dtype)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Standard deviation of the unmasked elements (torch.masked.std)."""
    return var(
        input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask
    ).sqrt()


def softmax(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Softmax over the unmasked elements, 0 elsewhere (torch.masked.softmax)."""
    x = input if mask is None else _filled(input, mask, _limit(input, -1, "amax"))
    return x.softmax(dim, dtype=dtype or input.dtype)


def log_softmax(
    input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None
) -> Tensor:
    """Logarithm of softmax over the unmasked elements (torch.masked.log_softmax)."""
    x = input if mask is None else _filled(input, mask, _limit(input, -1, "amax"))
    return x.log_softmax(dim, dtype=dtype or input.dtype)


def softmin(input: Tensor, dim: int, *, dtype: Any = None, mask: Tensor | None = None) -> Tensor:
    """Softmin over the unmasked elements, 0 elsewhere (torch.masked.softmin)."""
    x = input if mask is None else _filled(input, mask, _limit(input, 1, "amin"))
    return (-x).softmax(dim, dtype=dtype or input.dtype)


def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: Any = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The input over the norm of its unmasked elements, 0 elsewhere (torch.masked.normalize)."""
    length = norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return _filled(input, mask, 0) / length.maximum(length.new_full((), eps))


__all__ = [
    "amax",
    "amin",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]
