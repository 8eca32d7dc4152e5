"""Which of equal elements ``topk`` and ``kthvalue`` choose on the CPU, and in what order.

PyTorch takes the first k there by ``std::partial_sort`` where 64 k elements are at most the row,
else by ``std::nth_element`` and ``std::sort`` of those in front of the k-th; ``kthvalue`` is a
quickselect of its own. As for ``introsort``, what equal elements do follows from the algorithms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola import dtypes
from cupola.ir.op import Primitive
from cupola.ops.introsort import (
    back,
    heap,
    introsorted,
    large,
    partition,
    ranked,
    rows_of,
    sift,
    unheap,
)


def _partially_sorted(ranks: Any, k: int) -> Any:
    """The places of the k least of one row, by a heap of the least so far."""
    a = [(key, place) for place, key in enumerate(ranks[:k].tolist())]
    heap(a, k)
    for place in (np.flatnonzero(ranks[k:] < a[0][0]) + k).tolist():
        key = int(ranks[place])
        if key < a[0][0]:
            sift(a, 0, k, (key, place))
    unheap(a, k)
    return [place for _, place in a]


def _heap_selected(keys: Any, places: Any, first: int, nth: int, last: int) -> None:
    a = list(zip(keys[first:last].tolist(), places[first:last].tolist(), strict=True))
    size = nth + 1 - first
    heap(a, size)
    for i in range(size, len(a)):
        if a[i][0] < a[0][0]:
            value, a[i] = a[i], a[0]
            sift(a, 0, size, value)
    a[0], a[nth - first] = a[nth - first], a[0]
    keys[first:last], places[first:last] = zip(*a, strict=True)


def _selected(ranks: Any, k: int, in_order: bool) -> Any:
    """The places of the k least of each row (R, N), the k-th last."""
    rows, n = ranks.shape
    keys, places = ranks.ravel().copy(), np.tile(np.arange(n), rows)
    first = np.arange(rows) * n
    last, nth = first + n, first + k - 1
    for _ in range(2 * (n.bit_length() - 1)):
        which = np.flatnonzero(last - first > 3)
        if not len(which):
            break
        cut = partition(keys, places, first[which], last[which])
        lower = cut <= nth[which]
        first[which[lower]], last[which[~lower]] = cut[lower], cut[~lower]
    for f, m, t in zip(first.tolist(), nth.tolist(), last.tolist(), strict=True):
        if t - f > 3:
            _heap_selected(keys, places, f, m, t)
        else:
            order = np.argsort(keys[f:t], kind="stable")
            keys[f:t], places[f:t] = keys[f:t][order], places[f:t][order]
    keys, places = keys.reshape(rows, n)[:, :k], places.reshape(rows, n)[:, :k].copy()
    if in_order and k > 2:
        front = keys[:, :-1]
        order = introsorted(ranked(front, np.argsort(front, axis=-1, kind="stable")))
        places[:, :-1] = np.take_along_axis(places[:, :-1], order, -1)
    return places


def _top_reference(
    xp: Any, x: Any, order: Any, dim: int, k: int, descending: bool, in_order: bool
) -> Any:
    n = x.shape[dim]
    stable = xp.take(order, xp.arange(k), axis=dim)
    if xp is not np or not k or large(x):
        return stable
    ranks, sorted_ = rows_of(x, order, dim)
    few = k * 64 <= n
    # Distinct elements have one order only; without order nothing is known of theirs either.
    end = min(k, n - 1)
    tied = np.take_along_axis(ranks, sorted_[:, end : end + 1], -1)[:, 0] < end
    tied |= not (in_order or few)
    out = sorted_[:, :k].copy()
    if tied.any() and few:
        out[tied] = [_partially_sorted(r, k) for r in ranks[tied]]
    elif tied.any():
        out[tied] = _selected(ranks[tied], k, in_order)
    return back(out, x, dim)


def _quickselect(a: list[int], k: int) -> int:
    """The place of the k-th (from 0) of one row of keys, pivots the medians of three."""
    places = list(range(len(a)))

    def swap(i: int, j: int) -> None:
        a[i], a[j] = a[j], a[i]
        places[i], places[j] = places[j], places[i]

    low, high = 0, len(a) - 1
    while high > low + 1:
        swap(low + (high - low) // 2, low + 1)
        for i, j in ((low + 1, high), (low, high), (low + 1, low)):
            if a[i] > a[j]:
                swap(i, j)
        i, j, pivot = low + 1, high, a[low]
        while True:
            i += 1
            while pivot > a[i]:
                i += 1
            j -= 1
            while a[j] > pivot:
                j -= 1
            if j < i:
                break
            swap(i, j)
        swap(low, j)
        if j <= k:
            low = i
        if j >= k:
            high = j - 1
    if high == low + 1 and a[low] > a[high]:
        swap(low, high)
    return places[k]


def _kth_reference(xp: Any, x: Any, order: Any, dim: int, k: int) -> Any:
    stable = xp.take(order, xp.arange(k, k + 1), axis=dim)
    if xp is not np or not x.size or large(x):
        return stable
    ranks, sorted_ = rows_of(x, order, dim)
    out = sorted_[:, k : k + 1].copy()
    kth = np.take_along_axis(ranks, out, -1)
    for row in np.flatnonzero((ranks == kth).sum(-1) > 1).tolist():
        out[row] = _quickselect(ranks[row].tolist(), k)
    return back(out, x, dim)


def _resized(shape: tuple[int, ...], dim: int, size: int) -> tuple[int, ...]:
    return (*shape[:dim], size, *shape[dim + 1 :])


# The positions of the first k along a dimension, of ``x`` and the positions that sort it stably;
# equal elements as PyTorch chooses them on the CPU, on a GPU in the stable order.
top = Primitive(
    "top",
    "library",
    lambda x, order, dim, k, descending, in_order: (_resized(x.shape, dim, k), dtypes.int64),
    _top_reference,
).register()

# The position of the k-th (from 0), alike.
kth = Primitive(
    "kth",
    "library",
    lambda x, order, dim, k: (_resized(x.shape, dim, 1), dtypes.int64),
    _kth_reference,
).register()
