"""Joining tensors and cutting them into views."""

from __future__ import annotations

import functools
from typing import Any

from cupola import dtypes
from cupola.functional._convert import cast_node, wrap_dim
from cupola.functional._register import PUBLIC, operator
from cupola.functional._sizes import integer
from cupola.ir.node import Node
from cupola.ops import movement as mv
from cupola.tensor import Tensor, wrap


@operator(method=False, out=True, apart=True, aliases=("concat", "concatenate"), refusal=TypeError)
def cat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Joins tensors along one dimension (torch.cat).

    Raises:
        RuntimeError: no tensors, or sizes differ outside ``dim``.
    """
    if isinstance(tensors, Tensor):
        raise TypeError("cat(): argument 'tensors' (position 1) must be tuple of Tensors")
    xs = list(tensors)
    if not xs:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for k, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"expected Tensor as element {k} in argument 0, but got {type(x).__name__}"
            )
    nodes = [x._n if x._storage is None else x.node for x in xs]
    return wrap(_cat(nodes, dim if axis is None else axis))


def _cat(nodes: list[Node], dim: int) -> Node:
    """Nodes joined in their common dtype."""
    kinds = tuple([(n.shape, n.dtype) for n in nodes])
    found, d, kept, hollow = _form(kinds, integer(dim))
    if len(kept) < len(nodes):
        # Empty vectors join anything; they stay in the graph so that they get their empty gradient.
        empty = [n for k, n in enumerate(nodes) if k not in kept and n.requires_grad]
        nodes = [nodes[k] for k in kept]
        nodes += [mv.reshape(n, shape=hollow) for n in empty]
    joined = [n if n.dtype is found else cast_node(n, found) for n in nodes]
    if len(nodes) == 1 and joined[0] is not nodes[0]:
        return joined[0]
    return mv.cat(*joined, dim=d)


@functools.lru_cache(maxsize=4096)
def _form(
    kinds: tuple[tuple[tuple[int, ...], dtypes.dtype], ...], dim: int
) -> tuple[dtypes.dtype, int, tuple[int, ...], tuple[int, ...]]:
    """Of operands of these shapes and dtypes: the common dtype, the dimension, which of them are
    joined and the shape of those that are not.
    """
    found = kinds[0][1]
    for _, dtype in kinds[1:]:
        found = dtypes.promote_types(found, dtype)
    kept = tuple(k for k, (shape, _) in enumerate(kinds) if shape != (0,)) or (0,)
    first = kinds[kept[0]][0]
    if not first:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    d = wrap_dim(dim, len(first))
    for place, k in enumerate(kept):
        _cat_check(first, kinds[k][0], d, place)
    return found, d, kept, tuple(0 if i == d else n for i, n in enumerate(first))


def _cat_check(first: tuple[int, ...], shape: tuple[int, ...], d: int, k: int) -> None:
    if len(shape) != len(first):
        raise RuntimeError(
            f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}"
        )
    for i, (a, b) in enumerate(zip(first, shape, strict=True)):
        if i != d and a != b:
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {d}. Expected size {a} but got "
                f"size {b} for tensor "
                f"number {k} in the list."
            )


@operator(method=False, out=True, refusal=TypeError)
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Joins tensors along a new dimension (torch.stack)."""
    xs = list(tensors)
    if not xs:
        raise RuntimeError("stack expects a non-empty TensorList")
    for k, x in enumerate(xs):
        if x._n.shape != xs[0]._n.shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(xs[0].shape)} at "
                "entry 0 and "
                f"{list(x.shape)} at entry {k}"
            )
    n = xs[0]._n.shape
    d = wrap_dim(dim, len(n) + 1)
    shape = (*n[:d], 1, *n[d:])
    return wrap(_cat([mv.reshape(x.node, shape=shape) for x in xs], d))


def _atleast(x: Any, n: int) -> Any:
    if isinstance(x, (list, tuple)):
        return tuple(_atleast(v, n) for v in x)
    if x.ndim >= n:
        return x
    if n == 3 and x.ndim == 2:
        return x.unsqueeze(-1)
    if n == 3 and x.ndim == 1:
        return x.unsqueeze(0).unsqueeze(-1)
    return x.reshape((1,) * (n - x.ndim) + tuple(x._n.shape))


@operator(method=False)
def atleast_1d(*tensors: Any) -> Any:
    """Views with at least one dimension (torch.atleast_1d)."""
    return _atleast(tensors[0] if len(tensors) == 1 else tensors, 1)


@operator(method=False)
def atleast_2d(*tensors: Any) -> Any:
    """Views with at least two dimensions (torch.atleast_2d)."""
    return _atleast(tensors[0] if len(tensors) == 1 else tensors, 2)


@operator(method=False)
def atleast_3d(*tensors: Any) -> Any:
    """Views with at least three dimensions (torch.atleast_3d)."""
    return _atleast(tensors[0] if len(tensors) == 1 else tensors, 3)


@operator(method=False, out=True, refusal=TypeError)
def hstack(tensors: Any) -> Tensor:
    """Joins side by side (torch.hstack)."""
    xs = [_atleast(x, 1) for x in tensors]
    if not xs:
        raise RuntimeError("hstack expects a non-empty TensorList")
    return cat(xs, 0 if xs[0].ndim == 1 else 1)


@operator(method=False, out=True, aliases=("row_stack",), refusal=TypeError)
def vstack(tensors: Any) -> Tensor:
    """Joins below each other (torch.vstack)."""
    if not tensors:
        raise RuntimeError("vstack expects a non-empty TensorList")
    return cat([_atleast(x, 2) for x in tensors], 0)


@operator(method=False, out=True, refusal=TypeError)
def dstack(tensors: Any) -> Tensor:
    """Joins along the third dimension (torch.dstack)."""
    if not tensors:
        raise RuntimeError("dstack expects a non-empty TensorList")
    return cat([_atleast(x, 3) for x in tensors], 2)


@operator(method=False, out=True, refusal=TypeError)
def column_stack(tensors: Any) -> Tensor:
    """Joins vectors as columns (torch.column_stack)."""
    return hstack([x.reshape(-1, 1) if x.ndim <= 1 else x for x in tensors])


def sliced(x: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """The view x[start:stop:step] along one dimension; bounds are in range."""
    n = x._n.shape
    starts = tuple(start if i == dim else 0 for i in range(len(n)))
    stops = tuple(stop if i == dim else s for i, s in enumerate(n))
    return x.view_by(
        mv.slice,
        starts=starts,
        stops=stops,
        steps=tuple(step if i == dim else 1 for i in range(len(n))),
    )


@operator
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """A view of ``length`` elements along ``dim`` (torch.narrow)."""
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    length = integer(length)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    d = wrap_dim(dim, input.ndim)
    if isinstance(start, Tensor) and (start.ndim or start.dtype.category != 1):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    start = int(start)
    n = input._n.shape[d]
    if not -n <= start <= n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n}], but got {start})"
        )
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return sliced(input, d, start, start + length)


@operator
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """A view without ``dim``, at one position of it (torch.select)."""
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.ndim)
    n = input._n.shape[d]
    k = int(index)
    if not -n <= k < n:
        raise IndexError(
            f"select(): index {k} out of range for tensor of size {list(input.shape)} at "
            f"dimension {d}"
        )
    k = k + n if k < 0 else k
    view = sliced(input, d, k, k + 1)
    return view.view_by(mv.reshape, shape=input._n.shape[:d] + input._n.shape[d + 1 :])


@operator
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of given sizes along one dimension (torch.split)."""
    if tensor.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, tensor.ndim)
    n = tensor._n.shape[d]
    given = split_size_or_sections
    if isinstance(given, int) or getattr(given, "ndim", None) == 0:
        size = integer(given)
        if size < 0 or (size == 0 and n != 0):
            raise RuntimeError(
                f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
            )
        parts = [min_of(size, n - a) for a in range(0, n, size)] if n else [0]
    else:
        parts = [integer(p) for p in given]
        if sum_of(parts) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's "
                f"size at dimension {d}), but "
                f"got split_sizes={parts}"
            )
    out = []
    at = 0
    for p in parts:
        out.append(sliced(tensor, d, at, at + p))
        at += p
    return _many(out)


def _many(views: list[Tensor]) -> tuple[Tensor, ...]:
    """Views made by one operator, which PyTorch does not let be written on the tape."""
    for v in views:
        v._origin = v._origin or "many"
    return tuple(views)


def min_of(a: int, b: int) -> int:
    """The smaller of two integers."""
    return a if a < b else b


def sum_of(xs: list[int]) -> int:
    """The sum of integers."""
    total = 0
    for x in xs:
        total += x
    return total


PUBLIC["split_with_sizes"] = Tensor.split_with_sizes = split  # type: ignore[attr-defined]


@operator
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size (torch.chunk)."""
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    chunks = integer(chunks)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._n.shape[wrap_dim(dim, input.ndim)]
    if n == 0:
        return split(input, [0] * chunks, dim)
    return split(input, -(-n // chunks), dim)


@operator
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views at given positions, or of nearly equal size (torch.tensor_split)."""
    d = wrap_dim(dim, input.ndim)
    n = input._n.shape[d]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        sizes = [n // k + (1 if i < n % k else 0) for i in range(k)]
        return split(input, sizes, d)
    edges = [0, *(i + n if i < 0 else min_of(i, n) for i in indices_or_sections), n]
    return tuple(
        sliced(input, d, a, b if b > a else a) for a, b in zip(edges[:-1], edges[1:], strict=True)
    )


@operator
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of every position along ``dim`` (torch.unbind)."""
    d = wrap_dim(dim, input.ndim)
    return _many([select(input, d, k) for k in range(input._n.shape[d])])


def _iterate(self: Tensor) -> Any:
    if self.dim() == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


Tensor.__iter__ = _iterate  # type: ignore[attr-defined]
