"""Histograms of values, of one and of several dimensions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cupola import dtypes
from cupola.functional._convert import host
from cupola.functional._register import operator
from cupola.functional._results import printed
from cupola.functional.creation import linspace
from cupola.tensor import Tensor
from cupola.tensor.create import of_array


@printed("histogram")
class _Histogram(NamedTuple):
    hist: Tensor
    bin_edges: Any


def _edges(bins: Any, low: float, high: float, dtype: Any) -> Any:
    """The given edges, or ``bins`` of equal width."""
    if isinstance(bins, Tensor):
        return host(bins)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return host(linspace(low, high, bins + 1, dtype=dtype))


def _extent(column: Any) -> tuple[float, float]:
    return (float(column.min()), float(column.max())) if column.size else (0.0, 1.0)


def _after(edges: Any, values: Any) -> Any:
    """The bisection of C++'s upper_bound: defined for edges that do not rise, too."""
    first = np.zeros(values.shape, np.int64)
    count = np.full(values.shape, edges.size, np.int64)
    while (count > 0).any():
        step = count // 2
        middle = np.minimum(first + step, edges.size - 1)
        right = ~(values < edges[middle]) & (count > 0)
        first = np.where(right, middle + 1, first)
        count = np.where(right, count - step - 1, np.where(count > 0, step, 0))
    return first


def _counts(columns: Any, edges: list[Any], weights: Any, density: bool) -> Any:
    """Summed weights of the rows of (N, D) in each cell, row by row in the values' precision."""
    out = np.zeros([e.size - 1 for e in edges], columns.dtype)
    inside = np.ones(len(columns), bool)
    cells = []
    for k, e in enumerate(edges):
        x = columns[:, k]
        inside &= (x >= e[0]) & (x <= e[-1])
        place = np.where(x == e[-1], e.size - 2, _after(e, x) - 1)
        cells.append(np.clip(place, 0, e.size - 2))
    amount = np.ones(len(columns), columns.dtype) if weights is None else weights
    np.add.at(out, tuple(c[inside] for c in cells), amount[inside])
    if density:
        out = out / out.sum()
        for k, e in enumerate(edges):
            shape = [1] * out.ndim
            shape[k] = -1
            out = out / np.diff(e).reshape(shape)
    return out.astype(columns.dtype)


@operator(out=True)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Counts of each non-negative integer (torch.bincount)."""
    counts = np.bincount(
        host(input), None if weights is None else host(weights).astype(np.float64), minlength
    )
    out = of_array(counts, input.device)
    return (
        out
        if weights is None
        else out.to(weights.dtype if weights.dtype.category >= 2 else dtypes.float64)
    )


@operator(out=True, exact=True)
def histogram(
    input: Tensor,
    bins: Any = 100,
    *,
    range: Any = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> _Histogram:
    """Counts over bins of equal or given width, and the bins' edges (torch.histogram).

    Raises:
        RuntimeError: no bins, or weights of another shape.
    """
    if isinstance(bins, int) and bins <= 0:
        raise RuntimeError(f"torch.histogramdd(): bins must be > 0, got {bins}")
    if weight is not None and weight._n.shape != input._n.shape:
        raise RuntimeError("torch.histogram(): if weight tensor is provided it should fit input")
    flat = host(input).reshape(-1, 1)
    low, high = _extent(flat) if range is None else range
    edges = _edges(bins, low, high, input.dtype)
    weights = None if weight is None else host(weight).reshape(-1)
    counts = _counts(flat, [edges.astype(flat.dtype)], weights, density)
    return _Histogram(of_array(counts, input.device), of_array(edges, input.device))


@operator
def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Any = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> _Histogram:
    """Counts over a grid of bins in several dimensions (torch.histogramdd).

    Raises:
        RuntimeError: other numbers of bins than columns.
    """
    array = host(input)
    n = array.shape[-1]
    array = array.reshape(int(np.prod(array.shape[:-1])), n)
    each = [bins] * n if isinstance(bins, int) else list(bins)
    if len(each) != n:
        raise RuntimeError(f"torch.histogramdd(): expected {n} sequences of bins, got {len(each)}")
    limits = list(zip(range[::2], range[1::2], strict=True)) if range is not None else None
    edges = []
    for k, b in enumerate(each):
        given = limits[k] if limits else _extent(array[:, k])
        edges.append(_edges(b, *given, input.dtype).astype(array.dtype))
    weights = None if weight is None else host(weight).reshape(-1)
    made = of_array(_counts(array, edges, weights, density), input.device)
    return _Histogram(made, tuple(of_array(e, input.device) for e in edges))
