"""The order in which equal elements leave an unstable sort on the CPU.

PyTorch sorts there with ``std::sort``, whose order of equal elements follows from the algorithm of
the GNU C++ library: quicksort with the median of three as the pivot down to parts of 16 elements
(heapsort below a depth of twice the logarithm), then one insertion sort (Musser, 1997,
"Introspective sorting and selection algorithms"). Here a pass partitions all parts of all rows at
once, which exchanges the same pairs; the insertion sort is stable. It takes 2 s for a million
elements, so that above 65,536 of them equal ones keep their order instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola import dtypes
from cupola.ir.op import Primitive

_LARGEST = 1 << 16
_SMALL = 16  # parts of so many elements are left to the insertion sort


def ranked(x: Any, order: Any) -> Any:
    """Numbers in the order of the elements of rows, equal ones for equal elements."""
    ordered = np.take_along_axis(x, order, -1)
    # NaN is equal to NaN.
    same = (ordered[:, 1:] == ordered[:, :-1]) | (
        (ordered[:, 1:] != ordered[:, 1:]) & (ordered[:, :-1] != ordered[:, :-1])
    )
    out = np.empty(x.shape, np.int64)
    steps = np.zeros(x.shape, np.int64)
    np.cumsum(~same, axis=-1, out=steps[:, 1:])
    np.put_along_axis(out, order, steps, -1)
    return out


def sift(a: list[Any], hole: int, size: int, value: Any) -> None:
    """Puts a pair (key, place) into a heap with one free place, as ``std::pop_heap`` does."""
    top, child = hole, hole
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        child -= a[child][0] < a[child - 1][0]
        a[hole] = a[child]
        hole = child
    if size % 2 == 0 and child == (size - 2) // 2:
        child = 2 * child + 1
        a[hole] = a[child]
        hole = child
    while hole > top and a[(hole - 1) // 2][0] < value[0]:
        a[hole] = a[(hole - 1) // 2]
        hole = (hole - 1) // 2
    a[hole] = value


def heap(a: list[Any], size: int) -> None:
    """Makes the first elements of a list a heap."""
    for k in range((size - 2) // 2, -1, -1):
        sift(a, k, size, a[k])


def unheap(a: list[Any], size: int) -> None:
    """Sorts a heap."""
    for end in range(size - 1, 0, -1):
        value, a[end] = a[end], a[0]
        sift(a, 0, end, value)


def _heapsort(keys: Any, places: Any, first: int, last: int) -> None:
    """Sorts one part in place."""
    a = list(zip(keys[first:last].tolist(), places[first:last].tolist(), strict=True))
    heap(a, len(a))
    unheap(a, len(a))
    keys[first:last], places[first:last] = zip(*a, strict=True)


def _swap(a: Any, i: Any, j: Any) -> None:
    a[i], a[j] = a[j], a[i]


def _pivots(keys: Any, first: Any, last: Any) -> Any:
    """Where the median of the second, the middle and the last element of each part is."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    x, y, z = keys[a], keys[b], keys[c]
    rising = np.where(y < z, b, np.where(x < z, c, a))
    falling = np.where(x < z, a, np.where(y < z, c, b))
    return np.where(x < y, rising, falling)


def partition(keys: Any, places: Any, first: Any, last: Any) -> Any:
    """Partitions parts in place; where their second halves begin."""
    middle = _pivots(keys, first, last)
    _swap(keys, first, middle)
    _swap(places, first, middle)
    sizes = last - first - 1
    part = np.repeat(np.arange(len(sizes)), sizes)
    at = np.arange(len(part)) + np.repeat(first + 1 - (np.cumsum(sizes) - sizes), sizes)
    values, pivots = keys[at], keys[first][part]
    # The two pointers of a part stop at these, one from the left and one from the right.
    left, right = (np.flatnonzero(stops) for stops in (values >= pivots, values <= pivots))
    lefts, rights = (np.bincount(part[s], minlength=len(sizes)) for s in (left, right))
    begin, end = np.cumsum(lefts) - lefts, np.cumsum(rights)
    turn = np.arange(len(left)) - begin[part[left]]
    other = right[np.maximum(end[part[left]] - 1 - turn, 0)]
    swapped = (turn < rights[part[left]]) & (left < other)
    i, j = at[left[swapped]], at[other[swapped]]
    _swap(keys, i, j)
    _swap(places, i, j)
    count = np.bincount(part[left[swapped]], minlength=len(sizes))
    none = np.int64(len(keys))
    stop = left[np.minimum(begin + count, len(left) - 1)]
    cut = np.where(count < lefts, at[stop], none)  # the next stop, or the last exchanged place
    back = right[np.minimum(end - count, len(right) - 1)]
    return np.minimum(cut, np.where(count > 0, at[back], none))


def introsorted(ranks: Any) -> Any:
    """Positions that sort the rows (R, N) of integers, as ``std::sort`` leaves equal ones."""
    rows, n = ranks.shape
    keys = ranks.ravel().copy()
    places = np.tile(np.arange(n), rows)
    counts = np.zeros(rows * n, np.int64)
    lines = np.repeat(np.arange(rows) * n, n)
    np.add.at(counts, keys + lines, 1)
    first = np.arange(rows) * n
    last = first + n
    for _ in range(2 * (n.bit_length() - 1)):
        # Parts without equal elements have one order only.
        tied = np.concatenate([[0], np.cumsum(counts[keys + lines] > 1)])
        open_ = (last - first > _SMALL) & (tied[last] > tied[first])
        first, last = first[open_], last[open_]
        if not len(first):
            break
        cut = partition(keys, places, first, last)
        first, last = np.concatenate([first, cut]), np.concatenate([cut, last])
    for f, t in zip(first.tolist(), last.tolist(), strict=True):
        if t - f > _SMALL:
            _heapsort(keys, places, f, t)
    order = np.argsort(keys.reshape(rows, n), axis=-1, kind="stable")
    return np.take_along_axis(places.reshape(rows, n), order, -1)


def rows_of(x: Any, order: Any, dim: int) -> tuple[Any, Any]:
    """(ranks, positions) of the rows along a dimension, as two arrays (R, N)."""
    n = x.shape[dim]
    if x.dtype.kind == "V" or (x.dtype.itemsize < 4 and x.dtype.kind not in "biu"):
        x = x.astype(np.float32)
    lines, sorted_ = (np.moveaxis(a, dim, -1).reshape(-1, n) for a in (x, order))
    return ranked(lines, sorted_), sorted_


def back(rows: Any, x: Any, dim: int) -> Any:
    """Rows (R, K) in the place of those of ``x``."""
    lead = np.moveaxis(x, dim, -1).shape[:-1]
    return np.ascontiguousarray(np.moveaxis(rows.reshape(*lead, rows.shape[-1]), -1, dim))


def large(x: Any) -> bool:
    """Whether equal elements keep their order for the sake of speed."""
    return x.size > _LARGEST


def _unstable_reference(xp: Any, x: Any, order: Any, dim: int, descending: bool) -> Any:
    n = x.shape[dim]
    if xp is not np or n <= _SMALL or not x.size or large(x):
        return order
    ranks, sorted_ = rows_of(x, order, dim)
    tied = ranks.max(-1) < n - 1
    out = sorted_.copy()
    if tied.any():
        out[tied] = introsorted(ranks[tied])
    return back(out, x, dim)


# The positions ``order`` that sort ``x`` stably, with equal elements as an unstable sort leaves
# them; on a GPU PyTorch's order is the stable one.
unstable = Primitive(
    "unstable",
    "library",
    lambda x, order, dim, descending: (x.shape, dtypes.int64),
    _unstable_reference,
).register()
