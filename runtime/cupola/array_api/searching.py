"""Searching, sorting and set functions."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupola
from cupola import dtypes
from cupola.array_api.arithmetic import pair
from cupola.array_api.array_object import standard
from cupola.array_api.data_types import promote
from cupola.array_api.statistical import Axis, reduced
from cupola.tensor import Tensor


@standard
def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Positions of the greatest elements, the first of several; without an axis, in the
    flattened array.
    """
    return _argument(cupola.argmax, x, axis, keepdims)


@standard
def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
    """Positions of the least elements, the first of several; without an axis, in the flattened
    array.
    """
    return _argument(cupola.argmin, x, axis, keepdims)


def _argument(f: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
    if axis is not None:
        return f(x, axis, keepdim=keepdims)
    found = f(x.reshape(-1), 0)
    return found.reshape((1,) * x.ndim) if keepdims else found


@standard
def count_nonzero(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Numbers of elements that are not 0."""
    return reduced(lambda a, axes: cupola.sum(a != 0, axes), x, axis, keepdims)


@standard
def nonzero(x: Any, /) -> Any:
    """Positions of the elements that are not 0, one array a dimension.

    Raises:
        ValueError: the array has no dimensions.
    """
    if x.ndim == 0:
        raise ValueError("nonzero: the array has no dimensions; use reshape(x, (1,))")
    return tuple(cupola.nonzero(x, as_tuple=True))


@standard
def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """Where x2's elements would be inserted into x1, sorted, or sorted by ``sorter``."""
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side is {side!r}, not 'left' or 'right'")
    a, b = pair(x1, x2)
    if sorter is not None:
        a = cupola.index_select(a, 0, sorter.to(dtypes.int64))
    return cupola.searchsorted(a, b, right=side == "right")


@standard
def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    """Elements of x1 where the condition holds, else of x2."""
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        raise TypeError("where: one of x1 and x2 must be an array")
    return cupola.where(condition, *pair(x1, x2))


@standard
def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Positions that sort the array along an axis; equal elements keep their order."""
    return cupola.sort(x, dim=axis, descending=descending, stable=True)[1]


@standard
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The array sorted along an axis."""
    return cupola.sort(x, dim=axis, descending=descending, stable=True)[0]


class UniqueAllResult(NamedTuple):
    """What ``unique_all`` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCountsResult(NamedTuple):
    """What ``unique_counts`` returns."""

    values: Any
    counts: Any


class UniqueInverseResult(NamedTuple):
    """What ``unique_inverse`` returns."""

    values: Any
    inverse_indices: Any


def _order(flat: Any) -> Any:
    """Positions that bring equal elements together, the first of them first."""
    if not flat.dtype.is_complex:
        return cupola.sort(flat, stable=True)[1]
    order = cupola.sort(cupola.imag(flat), stable=True)[1]
    return order[cupola.sort(cupola.real(flat)[order], stable=True)[1]]


def _unique(x: Any) -> UniqueAllResult:
    flat = x.reshape(-1)
    n = flat.shape[0]
    order = _order(flat)
    ranked = flat[order]
    # NaN is unequal to itself, so that each one is a value of its own.
    fresh = cupola.ones(n, dtype=dtypes.bool, device=x.device)
    if n > 1:
        fresh = cupola.cat([fresh[:1], ranked[1:] != ranked[:-1]])
    starts = cupola.nonzero(fresh, as_tuple=True)[0]
    ends = cupola.cat([starts[1:], starts.new_full((1 if n else 0,), n)])
    inverse = cupola.empty(n, dtype=dtypes.int64, device=x.device)
    inverse = inverse.scatter(0, order, cupola.cumsum(fresh, 0) - 1)
    return UniqueAllResult(ranked[starts], order[starts], inverse.reshape(x.shape), ends - starts)


@standard
def unique_all(x: Any, /) -> UniqueAllResult:
    """Distinct elements, where each stands first, which one each element is, and how often each
    occurs.
    """
    return _unique(x)


@standard
def unique_counts(x: Any, /) -> UniqueCountsResult:
    """Distinct elements and how often each occurs."""
    found = _unique(x)
    return UniqueCountsResult(found.values, found.counts)


@standard
def unique_inverse(x: Any, /) -> UniqueInverseResult:
    """Distinct elements and which one each element is."""
    found = _unique(x)
    return UniqueInverseResult(found.values, found.inverse_indices)


@standard
def unique_values(x: Any, /) -> Any:
    """Distinct elements."""
    return _unique(x).values


@standard
def all(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether all elements hold."""
    return reduced(lambda a, axes: cupola.all(a != 0, axes), x, axis, keepdims)


@standard
def any(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether any element holds."""
    return reduced(lambda a, axes: cupola.any(a != 0, axes), x, axis, keepdims)


@standard
def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along an axis, taken n times."""
    parts = [p for p in (prepend, x, append) if p is not None]
    found = x.dtype
    for p in parts:
        found = promote(found, p.dtype)
    joined = cupola.cat([p.to(found) for p in parts], axis) if len(parts) > 1 else x
    for _ in range(n):
        count = joined.shape[axis]
        upper = joined.narrow(axis, 1, count - 1) if count else joined
        lower = joined.narrow(axis, 0, count - 1) if count else joined
        joined = upper != lower if found is dtypes.bool else upper - lower
    return joined.clone() if joined is x else joined
