"""Sorting, selecting by rank, prefix operations, distinct values."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.functional._convert import cast_node, host, own, to_float, wrap_dim
from cupola.functional._register import operator, settled
from cupola.functional._sizes import integer
from cupola.functional.joining import sliced
from cupola.functional.reduction import named
from cupola.ops import index as ix
from cupola.ops import introselect as select
from cupola.ops import scan
from cupola.ops import sort as sorting
from cupola.ops.introsort import unstable
from cupola.tensor import Tensor, apply, wrap
from cupola.tensor.history import carried


def _order(x: Tensor, dim: int, descending: bool, stable: bool = True) -> Tensor:
    at = sorting.argsort(x.node, dim=dim, descending=descending)
    if not stable and x.device.type == "cpu":
        at = unstable(x.node, at, dim=dim, descending=descending)
    return wrap(at)


@operator(name="sort", out=True)
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Sorted values and their positions (torch.sort). Where a stable order is not asked for, equal
    elements lie on the CPU as PyTorch's ``std::sort`` leaves them, of up to 65,536 elements.
    """
    if input.ndim == 0:
        return named("sort", input.clone(), input.new_zeros((), dtype=dtypes.int64))
    d = wrap_dim(dim, input.ndim)
    at = _order(input, d, descending, stable)
    return named("sort", wrap(ix.gather(input.node, at.node, dim=d)), at)


@operator
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Positions that sort the tensor (torch.argsort)."""
    return sort(input, dim, descending, stable)[1]


@operator(out=True)
def msort(input: Tensor) -> Tensor:
    """Sorted along the first dimension (torch.msort)."""
    return sort(input, 0)[0]


@operator(out=True)
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest or smallest elements and their positions (torch.topk), in order; without
    ``sorted`` on the CPU as PyTorch's selection leaves them.

    Raises:
        RuntimeError: k exceeds the size of the dimension.
    """
    d = wrap_dim(dim, input.ndim)
    n, k = input._n.shape[d] if input.ndim else 1, integer(k)
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    if input.ndim == 0:
        return named("topk", input.clone(), input.new_zeros((), dtype=dtypes.int64))
    at = _order(input, d, largest)
    if input.device.type == "cpu":
        at = wrap(select.top(input.node, at.node, dim=d, k=k, descending=largest, in_order=sorted))
    else:
        at = sliced(at, d, 0, k)
    return named("topk", wrap(ix.gather(input.node, at.node, dim=d)), wrap(at.node))


@operator(out=True, apart=True)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element and its position (torch.kthvalue)."""
    d = wrap_dim(dim, input.ndim)
    n = input._n.shape[d] if input.ndim else 1
    if not n:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    return named("kthvalue", *_kth(input, k, d, keepdim, input.device.type != "cpu"))


def _kth(input: Tensor, k: int, d: int, keepdim: bool, stable: bool) -> tuple[Tensor, Tensor]:
    """The k-th smallest elements along a dimension and their positions: the first of equal
    elements, or the one that PyTorch's selection chooses.
    """
    if input.ndim == 0:
        return input.clone(), input.new_zeros((), dtype=dtypes.int64)
    at = _order(input, d, False)
    if stable:
        at = sliced(at, d, k - 1, k)
    else:
        at = wrap(select.kth(input.node, at.node, dim=d, k=k - 1))
    values = wrap(ix.gather(input.node, at.node, dim=d))
    found = (values, at) if keepdim else (values.squeeze(d), at.squeeze(d))
    return own(found[0], values), own(found[1], at)


@operator
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median; along a dimension also its position (torch.median)."""
    if dim is None:
        flat = input.reshape(-1)
        if not flat.numel():
            return input.new_full((), float("nan"))
        return shared_evenly(flat, _kth(flat, (flat.numel() + 1) // 2, 0, False, True)[0])
    d = wrap_dim(dim, input.ndim)
    n = input._n.shape[d] if input.ndim else 1
    if not n:
        raise IndexError(f"median(): Expected reduction dim {d} to have non-zero size.")
    return named("median", *_kth(input, (n + 1) // 2, d, keepdim, True))


def shared_evenly(flat: Tensor, value: Tensor) -> Tensor:
    """``value``, an element; its gradient is shared evenly among all that are equal to it."""
    if not flat.requires_grad:
        return value
    value = value.detach()
    equal = flat.eq(value).logical_or(flat.isnan().logical_and(value.isnan()))
    mean = flat.where(equal, 0.0).sum().div(equal.sum())
    return wrap(carried(mean.node, value.node))


def _scanned(name: str, primitive: Any, doc: str) -> Any:
    def function(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
        node = input.node
        target = dtype or (dtypes.int64 if node.dtype.category < 2 else node.dtype)
        node = cast_node(node, target)
        return wrap(node) if not node.shape else wrap(primitive(node, dim=wrap_dim(dim, node.ndim)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} along one dimension (torch.{name})."
    operator(function, inplace=True, out=True, adopt=True)
    return function


cumsum = _scanned("cumsum", scan.cumsum, "Cumulative sum")
cumprod = _scanned("cumprod", scan.cumprod, "Cumulative product")


def _running(name: str, primitive: Any) -> Any:
    def function(input: Tensor, dim: int) -> Any:
        d = wrap_dim(dim, input.ndim)
        if input.ndim == 0:
            return named(name, input.clone(), input.new_zeros((), dtype=dtypes.int64))
        at = apply(primitive, input, dim=d)
        return named(name, wrap(ix.gather(input.node, at.node, dim=d)), at)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Running {name[3:]}imum along one dimension with its positions (torch.{name})."
    )
    operator(function, out=True)
    return function


cummax = _running("cummax", scan.cummax_index)
cummin = _running("cummin", scan.cummin_index)


@operator(out=True)
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Cumulative log-sum-exp (torch.logcumsumexp)."""
    d = wrap_dim(dim, input.ndim)
    if not input.numel() or not input.ndim:
        return input.clone() if input.dtype.category >= 2 else input.float()
    if not input.dtype.is_complex:
        return wrap(scan.logcumsumexp(to_float(input), dim=d))
    from cupola.functional.joining import cat

    rows = [sliced(input, d, k, k + 1) for k in range(input._n.shape[d])]
    for k in range(1, len(rows)):
        rows[k] = _log_add_complex(rows[k], rows[k - 1])
    return cat(rows, d)


def _log_add_complex(x: Tensor, y: Tensor) -> Tensor:
    """log(exp(x) + exp(y)) with PyTorch's branch: that of the summand with the larger real part."""
    ahead = x.real.ge(y.real)
    high, low = x.where(ahead, y), y.where(ahead, x)
    still = high.real.isinf()
    gap = low.sub(high).masked_fill(still, 0)
    return high.where(still.logical_and(high.real.lt(0)), high.add(gap.exp().log1p()))


@operator(out=True)
def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """n-th differences along one dimension (torch.diff)."""
    from cupola.functional.joining import cat

    d = wrap_dim(dim, input.ndim)
    if n == 0:
        return input.clone()
    parts = [p for p in (prepend, input, append) if p is not None]
    x = cat(parts, d) if len(parts) > 1 else input
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    for _ in range(n):
        size = x._n.shape[d]
        a, b = sliced(x, d, min(1, size), size), sliced(x, d, 0, max(size - 1, 0))
        x = a.logical_xor(b) if x.dtype is dtypes.bool else settled(a.sub(b))
    return x


@operator(method=False, out=True, exact=True)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Tensor:
    """Positions at which values would be inserted (torch.searchsorted)."""
    edges = sorted_sequence if sorter is None else sorted_sequence.gather(-1, sorter)
    values = input if isinstance(input, Tensor) else edges.new_full((), input)
    found = wrap(sorting.searchsorted(edges.node, values.node, right=right or side == "right"))
    return found.to(dtypes.int32) if out_int32 else found


@operator(method=False, out=True, exact=True)
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """Numbers of the buckets that values fall into (torch.bucketize).

    Raises:
        RuntimeError: the boundaries are not one-dimensional.
    """
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@operator
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Distinct values in order; optionally where each input went and how many there were
    (torch.unique).
    """
    from cupola.tensor.create import of_array

    array = host(input)
    found = np.unique(array, return_inverse=True, return_counts=True, axis=dim)
    out = [of_array(np.ascontiguousarray(found[0]), input.device)]
    if return_inverse:
        inverse = found[1].reshape(array.shape if dim is None else -1)
        out.append(of_array(inverse.astype(np.int64), input.device))
    if return_counts:
        out.append(of_array(found[2].astype(np.int64), input.device))
    return out[0] if len(out) == 1 else tuple(out)


@operator
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Values with consecutive repetitions removed (torch.unique_consecutive)."""
    from cupola.tensor.create import of_array

    array = host(input)
    rows = array.reshape(-1) if dim is None else np.moveaxis(array, dim, 0)
    fresh = np.ones(len(rows), bool)
    if len(rows):
        other = tuple(range(1, rows.ndim))
        fresh[1:] = (rows[1:] != rows[:-1]).any(other)
    kept = rows[fresh]
    values = kept if dim is None else np.moveaxis(kept, 0, dim)
    out = [of_array(np.ascontiguousarray(values), input.device)]
    if return_inverse:
        inverse = np.cumsum(fresh) - 1
        out.append(
            of_array(
                inverse.reshape(array.shape if dim is None else -1).astype(np.int64), input.device
            )
        )
    if return_counts:
        edges = np.append(np.flatnonzero(fresh), len(rows))
        out.append(of_array(np.diff(edges).astype(np.int64), input.device))
    return out[0] if len(out) == 1 else tuple(out)


@operator(out=True)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Histogram over equal bins (torch.histc)."""
    from cupola.tensor.create import of_array

    array = host(input)
    low, high = (
        (float(array.min()), float(array.max())) if min == max == 0 and array.size else (min, max)
    )
    if low == high:
        low, high = low - 1, high + 1
    inside = array[(array >= low) & (array <= high)].reshape(-1)
    # In the input's own precision: what lies on an edge is then counted where PyTorch counts it.
    first, last = array.dtype.type(low), array.dtype.type(high)
    place = ((inside - first) * array.dtype.type(bins) / (last - first)).astype(np.int64)
    counts = np.bincount(np.minimum(place, bins - 1), minlength=bins)
    return of_array(counts.astype(array.dtype), input.device)


@operator(out=True, exact=True)
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among the test elements (torch.isin)."""
    from cupola.tensor import as_tensor
    from cupola.tensor.create import of_array

    a, b = as_tensor(elements), as_tensor(test_elements)
    return of_array(np.isin(host(a), host(b), invert=invert), a.device)
