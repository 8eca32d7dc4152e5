"""Statistical functions."""

from __future__ import annotations

from typing import Any

import cupola
from cupola import dtypes
from cupola.array_api.array_object import standard
from cupola.dtypes import dtype as DType

Axis = int | tuple[int, ...] | None


def over(x: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """The array and the dimensions to reduce; no dimension is reduced by one that is added.

    Raises:
        IndexError: an axis out of range.
    """
    if axis is None:
        return (x, tuple(range(x.ndim))) if x.ndim else (x.reshape(1), (0,))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise IndexError(f"axis {a} is out of range for an array of {x.ndim} dimensions")
    if not axes:
        return x.unsqueeze(-1), (x.ndim,)
    return x, tuple(a % x.ndim for a in axes)


def shaped(result: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """A reduced array with its reduced dimensions kept as 1, if asked for."""
    if not keepdims:
        return result
    if axis is None:
        return result.reshape((1,) * x.ndim)
    axes = {a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)}
    return result.reshape(tuple(1 if d in axes else n for d, n in enumerate(x.shape)))


def summed_type(x: Any, dtype: DType | None) -> DType:
    """The dtype in which elements are added up: integers in 64 bits."""
    if dtype is not None:
        return dtype
    if x.dtype.category >= 2:
        return x.dtype
    return dtypes.int64 if x.dtype.category == 0 or x.dtype.is_signed else dtypes.uint64


def reduced(f: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    """``f(array, dimensions)``, with dimensions kept if asked for."""
    return shaped(f(*over(x, axis)), x, axis, keepdims)


@standard
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Any:
    """Products of the elements up to each one."""
    return _cumulative(cupola.cumprod, 1, x, axis, dtype, include_initial)


@standard
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Any:
    """Sums of the elements up to each one."""
    return _cumulative(cupola.cumsum, 0, x, axis, dtype, include_initial)


def _cumulative(
    f: Any, first: int, x: Any, axis: int | None, dtype: DType | None, initial: bool
) -> Any:
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"an axis must be given for an array of {x.ndim} dimensions")
        axis = 0
    found = summed_type(x, dtype)
    out = f(x.to(found), axis, dtype=found)
    if initial:
        edge = list(out.shape)
        edge[axis] = 1
        out = cupola.cat([cupola.full(edge, first, dtype=found, device=x.device), out], axis)
    return out


@standard
def max(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Greatest elements; NaN where there is one."""
    return reduced(cupola.amax, x, axis, keepdims)


@standard
def mean(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Arithmetic means."""
    return reduced(cupola.mean, x, axis, keepdims)


@standard
def min(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Least elements; NaN where there is one."""
    return reduced(cupola.amin, x, axis, keepdims)


@standard
def prod(
    x: Any, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False
) -> Any:
    """Products; integers are multiplied in 64 bits."""

    def product(a: Any, axes: tuple[int, ...]) -> Any:
        out = a.to(summed_type(x, dtype))
        for d in sorted(axes, reverse=True):
            out = cupola.prod(out, d, dtype=out.dtype)
        return out

    return reduced(product, x, axis, keepdims)


@standard
def std(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Standard deviations; the sum of squares is divided by n - correction."""
    return cupola.sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


@standard
def sum(x: Any, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Any:
    """Sums; integers are added in 64 bits."""
    found = summed_type(x, dtype)
    return reduced(lambda a, axes: cupola.sum(a.to(found), axes, dtype=found), x, axis, keepdims)


@standard
def var(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Variances; the sum of squares is divided by n - correction."""

    def variance(a: Any, axes: tuple[int, ...]) -> Any:
        count = 1
        for d in axes:
            count *= a.shape[d]
        away = a - cupola.mean(a, axes, keepdim=True)
        # Nothing left to divide by gives NaN or infinity, as NumPy has it.
        left = count - correction
        total = cupola.sum(away * away, axes)
        return total / cupola.full((), left if left > 0 else 0.0, dtype=a.dtype, device=a.device)

    return reduced(variance, x, axis, keepdims)
