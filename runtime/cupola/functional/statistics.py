"""Covariance, modes and medians, limits on norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.functional._convert import host, wrap_dim
from cupola.functional._register import operator
from cupola.functional.indexing import gather
from cupola.functional.reduction import named, vector_norm
from cupola.functional.selection import where
from cupola.functional.sorting import shared_evenly, sort
from cupola.tensor import Tensor


def _weights(w: Tensor | None, n: int, name: str) -> None:
    if w is None:
        return
    if w.ndim > 1:
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions")
    if name == "fweights" and w.dtype.category != 1:
        raise RuntimeError("cov(): expected fweights to have integral dtype")
    if name == "aweights" and w.dtype.category != 2:
        raise RuntimeError("cov(): expected aweights to have floating point dtype")
    if w.numel() != n:
        raise RuntimeError(f"cov(): expected {name} to have as many elements as observations: {n}")


@operator
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """Covariance of variables (rows) over observations (columns) (torch.cov).

    Raises:
        RuntimeError: more than two dimensions, a bool input, weights that do not fit.
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    if input.dtype is dtypes.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    n = x._n.shape[1]
    _weights(fweights, n, "fweights")
    _weights(aweights, n, "aweights")
    for weights, called in ((fweights, "fweights"), (aweights, "aweights")):
        if weights is not None and bool((weights < 0).any()):
            raise RuntimeError(f"cov(): {called} cannot be negative")
    w = fweights.reshape(-1) if fweights is not None else None
    if aweights is not None:
        a = aweights.reshape(-1)
        w = a if w is None else w.mul(a)
    total: Any = n if w is None else w.sum()
    if x.dtype.category < 2:
        x = x.to(dtypes.get_default_dtype())
    mean = (x if w is None else x.mul(w)).sum(1, True).div(total)
    if w is None:
        scale: Any = max(n - correction, 0)
    elif correction and aweights is not None:
        used = w.mul(aweights.reshape(-1)).sum()
        scale = total.sub(used.mul(correction).div(total)).clamp(min=0)
    else:
        scale = total.sub(correction).clamp(min=0)
    d = x.sub(mean)
    product = (d if w is None else d.mul(w.to(d.dtype))).matmul(d.t().conj())
    out = product.div(scale)
    return out.squeeze() if input.ndim < 2 or x._n.shape[0] == 1 else out


@operator
def corrcoef(input: Tensor) -> Tensor:
    """Correlation coefficients of variables (rows) (torch.corrcoef)."""
    if input.ndim > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    c = cov(input)
    if c.ndim == 0:
        return c.div(c)
    d = c.diag()
    s = (d.real if d.dtype.is_complex else d).sqrt()
    out = c.div(s.reshape(-1, 1)).div(s.reshape(1, -1))
    return out if out.dtype.is_complex else out.clamp(-1, 1)


@operator(out=True)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along a dimension, the smallest of equals, and the position at which
    it ends in the sorted row (torch.mode).
    """
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        return named("mode", input.clone(), input.new_zeros((), dtype=dtypes.int64))
    if input._n.shape[d] == 0:
        raise IndexError(f"mode(): Expected reduction dim {d} to have non-zero size.")
    rows, order = (np.moveaxis(host(x), d, -1) for x in sort(input.detach(), d))
    found = np.empty(rows.shape[:-1], np.int64)
    for at in np.ndindex(*rows.shape[:-1]):
        _, counts = np.unique(rows[at], return_counts=True)
        ends = np.cumsum(counts)
        found[at] = order[at][ends[int(np.argmax(counts))] - 1]
    from cupola.tensor.create import of_array

    index = of_array(np.expand_dims(found, d), input.device)
    values_ = gather(input, d, index)
    if not keepdim:
        values_, index = values_.squeeze(d), index.squeeze(d)
    return named("mode", values_, index)


@operator
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of what is not NaN (torch.nanmedian)."""
    if input.ndim == 0:
        zero = input.new_zeros((), dtype=dtypes.int64)
        return input.clone() if dim is None else named("nanmedian", input.clone(), zero)
    whole = input.reshape(-1) if dim is None else input
    d = 0 if dim is None else wrap_dim(dim, input.ndim)
    n = whole._n.shape[d]
    if n == 0:
        if dim is None:
            return input.new_full((), math.nan)
        raise IndexError(f"nanmedian(): Expected reduction dim {d} to have non-zero size.")
    values, places = sort(whole, d, stable=True)
    count = whole.isnan().logical_not().sum(d, True)
    at = count.sub(1).clamp(min=0).floor_divide(2)
    value, index = gather(values, d, at), gather(places, d, at)
    if dim is None:
        return shared_evenly(whole, value.reshape(()))
    if not keepdim:
        value, index = value.squeeze(d), index.squeeze(d)
    return named("nanmedian", value, index)


def _ranked(
    input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, name: str
) -> Tensor:
    """Values at fractional ranks of the sorted elements, NaN skipped by ``nanquantile`` only."""
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    many = isinstance(q, Tensor) and q.ndim > 0
    points = q if isinstance(q, Tensor) else input.new_full((), q)
    if points.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if points.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if bool(points.lt(0).logical_or(points.gt(1)).any()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    x = input.reshape(-1) if dim is None or input.ndim == 0 else input
    d = 0 if x is not input or dim is None else wrap_dim(dim, input.ndim)
    values = sort(x.movedim(d, -1), -1, stable=True)[0]
    last = values._n.shape[-1] - 1
    missing = values.isnan()
    if name == "nanquantile":
        count = missing.logical_not().sum(-1, True)
        rank = points.reshape(-1).mul(count.sub(1).clamp(min=0).to(x.dtype))
    else:
        rank = points.reshape(-1).mul(last).expand(*values._n.shape[:-1], points.numel())
        rank = where(missing.any(-1, True), float(last), rank)
    if interpolation in ("lower", "higher", "nearest"):
        turn = {"lower": Tensor.floor, "higher": Tensor.ceil, "nearest": Tensor.round}
        rank = turn[interpolation](rank)
    below = rank.to(dtypes.int64)
    out = gather(values, -1, below)
    if interpolation in ("linear", "midpoint"):
        weight = rank.sub(below) if interpolation == "linear" else rank.new_full((), 0.5)
        above = gather(values, -1, rank.ceil().to(dtypes.int64))
        out = out.lerp(above, weight.expand(out._n.shape))
    if keepdim:
        wide = out.unsqueeze(d) if dim is not None and input.ndim else out
        shape = list(input._n.shape) if dim is not None else [1] * input.ndim
        if dim is not None and input.ndim:
            shape[d] = 1
        out = wide.movedim(-1, 0).reshape((-1, *shape))
    else:
        out = out.movedim(-1, 0)
    return out if many else out.squeeze(0)


@operator(out=True)
def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Quantiles by interpolation between ranks; NaN where an element is NaN (torch.quantile)."""
    return _ranked(input, q, dim, keepdim, interpolation, "quantile")


@operator(out=True)
def nanquantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Quantiles of what is not NaN (torch.nanquantile)."""
    return _ranked(input, q, dim, keepdim, interpolation, "nanquantile")


@operator(inplace=True, out=True)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Scales slices along a dimension so that no p-norm exceeds ``maxnorm`` (torch.renorm)."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions"
        )
    d = wrap_dim(dim, input.ndim)
    others = tuple(i for i in range(input.ndim) if i != d)
    size = vector_norm(input, p, others, True)
    factor = where(size.gt(maxnorm), size.add(1e-7).reciprocal().mul(maxnorm), 1.0)
    return input.mul(factor.to(size.dtype))
