"""Reductions over segments of unequal length (torch.segment_reduce)."""

from __future__ import annotations

import math
from typing import Any

from cupola.functional._convert import own, wrap_dim
from cupola.functional._register import operator
from cupola.functional.creation import arange
from cupola.functional.joining import cat
from cupola.tensor import Tensor

_KINDS = {"max": "amax", "min": "amin", "mean": "sum", "sum": "sum", "prod": "prod"}
_STARTS = {"max": -math.inf, "min": math.inf, "mean": 0.0, "sum": 0.0, "prod": 1.0}


def _bounds(data: Tensor, lengths: Any, offsets: Any, axis: int, unsafe: bool) -> Tensor:
    """Where the segments begin, and where the last one ends: (..., S + 1).

    Raises:
        RuntimeError: neither lengths nor offsets, or lengths that do not fit the data.
    """
    if offsets is not None:
        return offsets
    if lengths is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if lengths.ndim != axis + 1:
        raise RuntimeError(
            f"segment_reduce(): Expected lengths to have {axis + 1} dimensions, got {lengths.ndim}"
        )
    if not unsafe:
        if bool((lengths < 0).any()):
            raise RuntimeError("lengths contains negative value!")
        if bool((lengths.sum(-1) != data.shape[axis]).any()):
            raise RuntimeError(
                "segment_reduce(): Expected all rows of lengths along axis to sum to "
                "data.size(lengths.dim()-1) when !unsafe."
            )
    ends = lengths.cumsum(-1)
    return cat([ends.new_zeros((*ends.shape[:-1], 1)), ends], -1)


@operator(method=False)
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """max, mean, min, sum or prod of each segment along ``axis``: (..., N, *) and lengths (..., S)
    or offsets (..., S + 1) give (..., S, *) (torch.segment_reduce).

    Raises:
        RuntimeError: an unknown reduction, or lengths that do not fit.
    """
    if reduce not in _KINDS:
        raise RuntimeError(f"segment_reduce(): unsupported reduction {reduce!r}")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    axis = wrap_dim(axis, data.ndim)
    bounds = _bounds(data, lengths, offsets, axis, unsafe)
    count, size = bounds.shape[-1] - 1, data.shape[axis]
    place = arange(size, device=data.device).reshape(size, 1)
    segment = (bounds[..., None, 1:] <= place).sum(-1)  # (..., N); past the last: count
    rest = data.shape[axis + 1 :]
    index = segment.reshape(*segment.shape, *(1,) * len(rest)).expand(data.shape)
    start = _STARTS[reduce] if initial is None else initial
    shape = (*data.shape[:axis], count + 1, *rest)
    base = data.new_full(shape, start)
    whole = base.scatter_reduce(axis, index, data, _KINDS[reduce])
    out = own(whole.narrow(axis, 0, count), whole)
    if reduce != "mean":
        return out
    each = bounds.diff().to(data.dtype)
    each = each.reshape(*each.shape, *(1,) * len(rest))
    empty = math.nan if initial is None else initial
    return (out / each).masked_fill(each == 0, empty)
