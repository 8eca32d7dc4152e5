"""Grids, products and arrangements of tensors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.functional._convert import wrap_dim
from cupola.functional._register import operator
from cupola.functional.indexing import index_put, scatter_reduce
from cupola.functional.joining import cat, stack
from cupola.functional.masks import nonzero
from cupola.functional.rearrange import diag_embed, meshgrid
from cupola.functional.selection import where
from cupola.ops import movement as mv
from cupola.tensor import Tensor, apply, wrap
from cupola.tensor.history import tied


@operator(method=False)
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices one after the other along the diagonal, zeros elsewhere (torch.block_diag)."""
    for k, x in enumerate(tensors):
        if x.ndim > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{k} has {x.ndim} dimensions"
            )
    blocks = [x.reshape(1, -1) if x.ndim < 2 else x for x in tensors]
    if not blocks:
        from cupola.functional.creation import empty

        made: Tensor = empty(1, 0)
        return made
    found = blocks[0].dtype
    for x in blocks[1:]:
        found = dtypes.promote_types(found, x.dtype)
    width = sum(x._n.shape[1] for x in blocks)
    rows, at = [], 0
    for x in blocks:
        n = x._n.shape[1]
        pairs = ((0, 0), (at, width - at - n))
        rows.append(apply(mv.pad, x.to(found), pairs=pairs, value=0))
        at += n
    joined: Tensor = cat(rows, 0)
    return joined


@operator(method=False)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All tuples of elements of vectors, as rows (torch.cartesian_prod)."""
    for x in tensors:
        if x.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    joined: Tensor = stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)
    return joined


@operator
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of ``r`` elements of a vector, as rows (torch.combinations)."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    from cupola.tensor.create import of_array

    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    found = np.array(list(choose(range(input._n.shape[0]), r)), np.int64).reshape(-1, r)
    return input[of_array(found, input.device)]


@operator
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with the flattened input on a diagonal (torch.diagflat)."""
    made: Tensor = diag_embed(input.reshape(-1), offset)
    return made


@operator(method=False)
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Coordinates of flat positions in a shape (torch.unravel_index)."""
    if indices.dtype.category != 1:
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(not isinstance(n, int) for n in sizes):
        raise ValueError("expected 'shape' to be an int or a sequence of ints")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(sizes)}")
    out: list[Tensor] = []
    rest = indices
    for n in reversed(sizes):
        out.append(rest.remainder(n))
        rest = rest.floor_divide(n)
    return tuple(reversed(out))


@operator(inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Writes (or adds) elements at flat positions (torch.put)."""
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{input.dtype} and source.dtype = {source.dtype}"
        )
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got {index.dtype}")
    if index.numel() != source.numel():
        raise RuntimeError(
            f"put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.numel()}, index.numel() = {index.numel()}"
        )
    if input.numel() == 0 and index.numel():
        raise IndexError("put_(): tried to put elements into an empty tensor")
    if not index.numel():
        return wrap(tied(input.clone().node, source.node))
    flat = input.reshape(-1)
    new = index_put(flat, (index.reshape(-1),), source.reshape(-1), accumulate)
    return new.reshape(input._n.shape)


@operator(inplace=True, out=True)
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Folds rows of ``source`` into rows at ``index``: prod, mean, amax or amin
    (torch.index_reduce).
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
            f"{reduce}."
        )
    x = input.reshape(1) if input.ndim == 0 else input
    s = source.reshape(1) if source.ndim == 0 else source
    d = wrap_dim(dim, x.ndim)
    line = index.reshape((-1,) + (1,) * (s.ndim - d - 1)).expand(s._n.shape)
    out = scatter_reduce(x, d, line, s, reduce, include_self=include_self)
    return out.reshape(input._n.shape)


@operator
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Exactly ``size`` positions of elements that are not 0; ``fill_value`` where there are fewer
    (torch.nonzero_static).
    """
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be a non-negative integer")
    found = nonzero(input)[:size]
    missing = size - found._n.shape[0]
    if not missing:
        return found
    joined: Tensor = cat([found, found.new_full((missing, found._n.shape[1]), fill_value)], 0)
    return joined


@operator(inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Sets rows at ``index`` along ``dim`` to one value (torch.index_fill)."""
    v = value if isinstance(value, Tensor) else input.new_full((), value)
    if v.ndim:
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{v.ndim} dimension(s)."
        )
    if input.ndim == 0:
        return index_fill(input.reshape(1), dim, index, v).reshape(())
    d, shape = wrap_dim(dim, input.ndim), [1] * input.ndim
    shape[d] = input._n.shape[d]
    yes = input.new_ones((), dtype=dtypes.bool)
    hit = index_put(input.new_zeros((shape[d],), dtype=dtypes.bool), (index.reshape(-1),), yes)
    return where(hit.reshape(shape), v.to(input.dtype), input)


@operator(public=False)
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """The sum over the dimensions that broadcasting from ``size`` would repeat."""
    target = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    n = self._n.shape
    lead = len(n) - len(target)
    if lead < 0 or any(b not in (1, a) for a, b in zip(n[lead:], target, strict=True)):
        raise RuntimeError(f"size {list(target)} is not expandable to size {list(n)}.")
    dims = tuple(i for i, a in enumerate(n) if i < lead or (target[i - lead] == 1 and a != 1))
    out = self.sum(dims, True) if dims or not self.ndim else self
    return out.reshape(target) if lead else out
