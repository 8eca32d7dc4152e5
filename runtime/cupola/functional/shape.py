"""Views, joining and splitting (torch's "Indexing, Slicing, Joining, Mutating Ops")."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.functional._convert import host, broadcast_shapes, cast_node, expand_node, wrap_dim
from cupola.functional._register import PUBLIC, operator
from cupola.ir import source
from cupola.ops import elementwise as ew
from cupola.ops import movement as mv
from cupola.tensor import Tensor, apply, wrap


def _ints(args: tuple[Any, ...]) -> tuple[int, ...]:
    if len(args) == 1 and not isinstance(args[0], int):
        given = args[0]
        args = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    return tuple(int(a) for a in args)


def _infer_size(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Replaces a -1 by what is left.

    Raises:
        RuntimeError: the sizes do not fit the number of elements.
    """
    holes = [i for i, n in enumerate(shape) if n == -1]
    if len(holes) > 1:
        raise RuntimeError("only one dimension can be inferred")
    bad = next((n for n in shape if n < -1), None)
    if bad is not None:
        raise RuntimeError(f"invalid shape dimension {bad} at index {shape.index(bad)} of shape {list(shape)}")
    known = math.prod(n for n in shape if n != -1)
    if holes:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 "
                "can be any value and is ambiguous"
            )
        if count % known == 0:
            shape = tuple(count // known if n == -1 else n for n in shape)
            known = count
    if known != count:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    return shape


def strides(x: Tensor) -> tuple[int, ...]:
    """Strides that PyTorch would report, in elements."""
    return _phantom(x)[1]


def _phantom(x: Tensor) -> tuple[Any, tuple[int, ...], int]:
    """A NumPy array without data that has the strides of a view: (array, strides, offset)."""
    from cupola.ir.program import strides_of

    root = x._base._n.shape if x._base is not None else x._n.shape
    if x._storage is not None and x._storage.node is not None and x._chain:
        root, chain = x._storage.node.shape, x._chain
    else:
        chain = x._base_chain
    if not chain:
        order = x._n.order
        if order is None:
            return None, strides_of(x._n.shape), 0
        dense = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), x._n.shape, _ordered(x._n.shape, order))
        return dense, dense.strides, 0
    given = base_order(x)
    ghost = np.lib.stride_tricks.as_strided(
        np.empty(1, np.int8), root, strides_of(root) if given is None else _ordered(root, given)
    )
    start = ghost.__array_interface__["data"][0]
    for op, attrs in chain:
        if op is mv.as_strided:
            ghost = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), attrs["shape"], attrs["strides"])
            start = ghost.__array_interface__["data"][0] - attrs["offset"]
        elif op is mv.expand:
            steps = (0 if a != b else s for a, b, s in zip(ghost.shape, attrs["shape"], ghost.strides, strict=True))
            ghost = np.lib.stride_tricks.as_strided(ghost, attrs["shape"], tuple(steps))
        elif op is mv.reshape and _same_but_ones(ghost.shape, attrs["shape"]):
            steps = _restride(ghost.shape, ghost.strides, attrs["shape"])
            ghost = np.lib.stride_tricks.as_strided(ghost, attrs["shape"], steps)
        else:
            assert op.reference is not None
            ghost = op.reference(np, ghost, **attrs)
    return ghost, ghost.strides, ghost.__array_interface__["data"][0] - start


def _same_but_ones(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def _restride(old: tuple[int, ...], steps: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...]:
    """Strides after dimensions of size 1 were dropped or inserted: the others keep theirs."""
    if len(old) == len(new):
        return tuple(steps)
    out: list[int] = []
    i = len(old) - 1
    spare = len(old) - len(new)
    for n in reversed(new):
        while i >= 0 and old[i] == 1 and (n != 1 or spare > 0):
            i, spare = i - 1, spare - 1
        if i >= 0 and old[i] == n:
            out.append(steps[i])
            i -= 1
        else:  # inserted: what the next dimension spans
            k = len(out)
            out.append(out[-1] * new[len(new) - k] if out else 1)
            spare += 1
    return tuple(reversed(out))


def base_order(x: Tensor) -> tuple[int, ...] | None:
    """Memory order of what a view's chain starts from."""
    if x._storage is not None and x._storage.node is not None and x._chain:
        return x._storage.node.order
    return x._base._n.order if x._base is not None else None


def _ordered(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a dense tensor whose dimensions lie in memory in ``order``."""
    out = [0] * len(shape)
    step = 1
    for d in reversed(order):
        out[d] = step
        step *= max(shape[d], 1)
    return tuple(out)


def _viewable(x: Tensor, shape: tuple[int, ...]) -> bool:
    ghost, _, _ = _phantom(x)
    if ghost is None:
        return True
    trial = ghost[...]
    try:
        trial.shape = shape
    except AttributeError:
        return False
    return True


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the tensor's elements lie in memory in row-major order (as PyTorch would report)."""
    from cupola.ir.program import strides_of
    from cupola.tensor.layout import channels_last

    if memory_format is channels_last:
        return self.ndim == 4 and _phantom(self.permute(0, 2, 3, 1))[0] is None
    want = strides_of(self._n.shape)
    have = strides(self)
    return self.numel() == 0 or all(n == 1 or a == b for n, a, b in zip(self._n.shape, want, have, strict=True))


@operator(public=False)
def stride(self: Tensor, dim: int | None = None) -> Any:
    """Strides in elements, as PyTorch would report them."""
    found = strides(self)
    return found if dim is None else found[wrap_dim(dim, self.ndim)]


@operator(public=False)
def storage_offset(self: Tensor) -> int:
    """Offset of the first element in its storage, as PyTorch would report it."""
    return _phantom(self)[2]


Tensor.is_contiguous = is_contiguous  # type: ignore[attr-defined]


def _reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if x._n.shape == shape:
        return x.view_by(mv.reshape, shape=shape)
    if (x._base is None and not x._chain and x._n.order is None) or _viewable(x, shape):
        return x.view_by(mv.reshape, shape=shape)
    return apply(mv.reshape, x, shape=shape)


@operator
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; a view where PyTorch gives a view (torch.reshape)."""
    return _reshaped(input, _infer_size(_ints(shape), input.numel()))


def _view(self: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
    """A view of another shape, or the same bits as another dtype.

    Raises:
        RuntimeError: the view would need a copy.
    """
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dtypes.dtype)):
        return _view_dtype(self, dtype or shape[0])
    target = _infer_size(_ints(shape), self.numel())
    if not _viewable(self, target):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return self.view_by(mv.reshape, shape=target)


def _view_dtype(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    if dtype.itemsize == x.dtype.itemsize:
        return wrap(ew.bitcast(x.node, dtype=dtype))
    from cupola.tensor.create import of_array

    return of_array(host(x).view(dtype.np), x.device)


Tensor.view = _view  # type: ignore[attr-defined]
Tensor.view_as = lambda self, other: _view(self, other._n.shape)  # type: ignore[attr-defined]
Tensor.reshape_as = lambda self, other: reshape(self, other._n.shape)  # type: ignore[attr-defined]


@operator
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Joins dimensions start_dim … end_dim (torch.flatten)."""
    n = input._n.shape
    a, b = wrap_dim(start_dim, len(n)), wrap_dim(end_dim, len(n))
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not n:
        return input.reshape(1)
    if a == b:
        return input
    return _reshaped(input, (*n[:a], math.prod(n[a : b + 1]), *n[b + 1 :]))


@operator
def ravel(input: Tensor) -> Tensor:
    """One dimension (torch.ravel)."""
    return input.reshape(-1)


@operator
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Splits one dimension into several (torch.unflatten)."""
    n = input._n.shape
    d = wrap_dim(dim, len(n))
    return _reshaped(input, (*n[:d], *_infer_size(_ints((sizes,)), n[d]), *n[d + 1 :]))


@operator
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Drops dimensions of size 1: all, or those given (torch.squeeze)."""
    n = input._n.shape
    if dim is None:
        shape = tuple(s for s in n if s != 1)
    else:
        dims = {wrap_dim(d, len(n)) for d in ((dim,) if isinstance(dim, int) else dim)}
        shape = tuple(s for i, s in enumerate(n) if not (i in dims and s == 1))
    return input.view_by(mv.reshape, shape=shape)


@operator
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Inserts a dimension of size 1 (torch.unsqueeze)."""
    n = input._n.shape
    d = wrap_dim(dim, len(n) + 1)
    return input.view_by(mv.reshape, shape=(*n[:d], 1, *n[d:]))


def _in_place_view(name: str, function: Any) -> None:
    def method(self: Tensor, *args: Any, **kw: Any) -> Tensor:
        out = function(self, *args, **kw)
        self.__dict__.update(_n=out._n, _storage=None, _chain=(), _base=None, _base_chain=(), _ver=self._version + 1)
        return self

    method.__name__ = name
    method.__doc__ = f"In-place form of ``{name[:-1]}``."
    setattr(Tensor, name, method)


_in_place_view("squeeze_", squeeze)
_in_place_view("unsqueeze_", unsqueeze)


@operator
def permute(input: Tensor, *dims: Any) -> Tensor:
    """Reorders dimensions (torch.permute)."""
    order = tuple(wrap_dim(d, input.ndim) for d in _ints(dims))
    if sorted(order) != list(range(input.ndim)):
        if len(order) != input.ndim:
            raise RuntimeError(
                f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
                f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(order)}"
            )
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return input.view_by(mv.permute, dims=order)


@operator(aliases=("swapaxes", "swapdims"))
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swaps two dimensions (torch.transpose)."""
    n = input.ndim
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    if n == 0:
        return input.view_by(mv.reshape, shape=())
    order = list(range(n))
    order[a], order[b] = order[b], order[a]
    return input.view_by(mv.permute, dims=tuple(order))


_in_place_view("transpose_", transpose)


@operator
def t(input: Tensor) -> Tensor:
    """Transpose of a matrix (torch.t)."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return input if input.ndim < 2 else transpose(input, 0, 1)


_in_place_view("t_", t)
Tensor.T = property(lambda self: self.permute(*range(self.ndim - 1, -1, -1)))  # type: ignore[attr-defined]
Tensor.mT = property(lambda self: self.transpose(-2, -1))  # type: ignore[attr-defined]
Tensor.H = property(lambda self: self.transpose(-2, -1).conj() if self.ndim == 2 else self.conj())  # type: ignore[attr-defined]
Tensor.mH = property(lambda self: self.transpose(-2, -1).conj())  # type: ignore[attr-defined]
Tensor.adjoint = lambda self: self.transpose(-2, -1).conj()  # type: ignore[attr-defined]
PUBLIC["adjoint"] = Tensor.adjoint  # type: ignore[attr-defined]


@operator(aliases=("moveaxis",))
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Moves dimensions to new places (torch.movedim)."""
    n = input.ndim
    a = [wrap_dim(d, n) for d in ((source,) if isinstance(source, int) else source)]
    b = [wrap_dim(d, n) for d in ((destination,) if isinstance(destination, int) else destination)]
    order = [-1] * n
    for x, y in zip(a, b, strict=True):
        order[y] = x
    rest = iter(d for d in range(n) if d not in a)
    return permute(input, tuple(next(rest) if d == -1 else d for d in order))


@operator(public=False)
def expand(self: Tensor, *size: Any, implicit: bool = False) -> Tensor:
    """Repeats dimensions of size 1 without a copy; -1 keeps a size."""
    target = list(_ints(size))
    n = self._n.shape
    lead = len(target) - len(n)
    if lead < 0:
        raise RuntimeError(
            f"expand(torch.{type(self).__name__}{{{list(n)}}}, size={target}): the number of sizes provided ({len(target)}) "
            f"must be greater or equal to the number of dimensions in the tensor ({len(n)})"
        )
    for i, s in enumerate(n):
        if target[lead + i] == -1:
            target[lead + i] = s
        elif s != 1 and s != target[lead + i]:
            raise RuntimeError(
                f"The expanded size of the tensor ({target[lead + i]}) must match the existing size ({s}) at non-singleton "
                f"dimension {lead + i}.  Target sizes: {target}.  Tensor sizes: {list(n)}"
            )
    view = self.view_by(mv.reshape, shape=(1,) * lead + n) if lead else self
    return view.view_by(mv.expand, shape=tuple(target))


PUBLIC["broadcast_to"] = Tensor.broadcast_to = expand  # type: ignore[attr-defined]
Tensor.expand_as = lambda self, other: expand(self, other._n.shape)  # type: ignore[attr-defined]


@operator(method=False)
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Views of the common shape (torch.broadcast_tensors)."""
    xs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape = broadcast_shapes(*(x._n.shape for x in xs))
    return tuple(expand(x, shape) for x in xs)


@operator(name="broadcast_shapes", method=False)
def public_broadcast_shapes(*shapes: Any) -> Any:
    """The common shape of several (torch.broadcast_shapes)."""
    from cupola.tensor import Size

    return Size(broadcast_shapes(*((s,) if isinstance(s, int) else tuple(s) for s in shapes)))


@operator(public=False)
def repeat(self: Tensor, *sizes: Any) -> Tensor:
    """Copies the tensor along each dimension."""
    times = _ints(sizes)
    lead = len(times) - self.ndim
    if lead < 0:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * lead + self._n.shape
    node = self.node
    pairs = tuple(v for n in shape for v in (1, n))
    wide = tuple(v for n, k in zip(shape, times, strict=True) for v in (k, n))
    node = mv.expand(mv.reshape(node, shape=pairs), shape=wide)
    return wrap(mv.reshape(node, shape=tuple(n * k for n, k in zip(shape, times, strict=True))))


@operator
def tile(input: Tensor, *dims: Any) -> Tensor:
    """Like repeat; missing leading counts are 1 (torch.tile)."""
    times = _ints(dims)
    return input.repeat((1,) * (input.ndim - len(times)) + times)


@operator
def repeat_interleave(input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Repeats elements next to each other (torch.repeat_interleave)."""
    if repeats is None:
        counts = host(input)
        from cupola.tensor.create import of_array

        return of_array(np.repeat(np.arange(len(counts)), counts), input.device)
    if dim is None:
        input, dim = input.flatten(), 0
    d = wrap_dim(dim, input.ndim)
    n = input._n.shape
    if isinstance(repeats, int) or repeats.numel() == 1:
        k = int(repeats)
        wide = input.unsqueeze(d + 1).expand(*n[: d + 1], k, *n[d + 1 :])
        return wide.reshape(*n[:d], n[d] * k, *n[d + 1 :])
    from cupola.tensor.create import of_array

    where = of_array(np.repeat(np.arange(n[d]), host(repeats)), input.device)
    return input.index_select(d, where)


# --- joining and splitting ------------------------------------------------------------------------------------------


@operator(method=False, out=True, aliases=("concat", "concatenate"))
def cat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Joins tensors along one dimension (torch.cat).

    Raises:
        RuntimeError: no tensors, or sizes differ outside ``dim``.
    """
    xs = list(tensors)
    if not xs:
        raise RuntimeError("torch.cat(): expected a non-empty list of Tensors")
    for k, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(x).__name__}")
    found = xs[0].dtype
    for x in xs[1:]:
        found = dtypes.promote_types(found, x.dtype)
    kept = [x for x in xs if x._n.shape != (0,)] or xs[:1]
    first = kept[0]
    if first.ndim == 0:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    d = wrap_dim(dim if axis is None else axis, first.ndim)
    for k, x in enumerate(kept):
        _cat_check(first, x, d, k)
    nodes = [cast_node(x.node, found) for x in kept]
    return wrap(nodes[0] if len(nodes) == 1 and nodes[0] is not kept[0].node else mv.cat(*nodes, dim=d))


def _cat_check(first: Tensor, x: Tensor, d: int, k: int) -> None:
    if x.ndim != first.ndim:
        raise RuntimeError(f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}")
    for i, (a, b) in enumerate(zip(first._n.shape, x._n.shape, strict=True)):
        if i != d and a != b:
            raise RuntimeError(
                f"Sizes of tensors must match except in dimension {d}. Expected size {a} but got size {b} for tensor "
                f"number {k} in the list."
            )


@operator(method=False, out=True)
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Joins tensors along a new dimension (torch.stack)."""
    xs = list(tensors)
    if not xs:
        raise RuntimeError("stack expects a non-empty TensorList")
    for k, x in enumerate(xs):
        if x._n.shape != xs[0]._n.shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(xs[0].shape)} at entry 0 and "
                f"{list(x.shape)} at entry {k}"
            )
    d = wrap_dim(dim, xs[0].ndim + 1)
    return cat([unsqueeze(x, d) for x in xs], d)


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


for _n in (1, 2, 3):
    PUBLIC[f"atleast_{_n}d"] = lambda *xs, n=_n: _atleast(xs[0] if len(xs) == 1 else xs, n)


@operator(method=False, out=True)
def hstack(tensors: Any) -> Tensor:
    """Joins side by side (torch.hstack)."""
    xs = [_atleast(x, 1) for x in tensors]
    return cat(xs, 0 if xs[0].ndim == 1 else 1)


@operator(method=False, out=True, aliases=("row_stack",))
def vstack(tensors: Any) -> Tensor:
    """Joins below each other (torch.vstack)."""
    return cat([_atleast(x, 2) for x in tensors], 0)


@operator(method=False, out=True)
def dstack(tensors: Any) -> Tensor:
    """Joins along the third dimension (torch.dstack)."""
    return cat([_atleast(x, 3) for x in tensors], 2)


@operator(method=False, out=True)
def column_stack(tensors: Any) -> Tensor:
    """Joins vectors as columns (torch.column_stack)."""
    return hstack([x.reshape(-1, 1) if x.ndim <= 1 else x for x in tensors])


def sliced(x: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """The view x[start:stop:step] along one dimension; bounds are in range."""
    n = x._n.shape
    starts = tuple(start if i == dim else 0 for i in range(len(n)))
    stops = tuple(stop if i == dim else s for i, s in enumerate(n))
    return x.view_by(mv.slice, starts=starts, stops=stops, steps=tuple(step if i == dim else 1 for i in range(len(n))))


@operator
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """A view of ``length`` elements along ``dim`` (torch.narrow)."""
    d = wrap_dim(dim, input.ndim)
    start = int(start)
    n = input._n.shape[d]
    start = start + n if start < 0 else start
    if length < 0 or start < 0 or start + length > n:
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
        raise IndexError(f"select(): index {k} out of range for tensor of size {list(input.shape)} at dimension {d}")
    k = k + n if k < 0 else k
    view = sliced(input, d, k, k + 1)
    return view.view_by(mv.reshape, shape=input._n.shape[:d] + input._n.shape[d + 1 :])


@operator
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of given sizes along one dimension (torch.split)."""
    d = wrap_dim(dim, tensor.ndim)
    n = tensor._n.shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 0 or (size == 0 and n != 0):
            raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        parts = [min_of(size, n - a) for a in range(0, n, size)] if n else [0]
    else:
        parts = [int(p) for p in split_size_or_sections]
        if sum_of(parts) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), but "
                f"got split_sizes={parts}"
            )
    out = []
    at = 0
    for p in parts:
        out.append(sliced(tensor, d, at, at + p))
        at += p
    return tuple(out)


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
    return tuple(sliced(input, d, a, b if b > a else a) for a, b in zip(edges[:-1], edges[1:], strict=True))


@operator
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of every position along ``dim`` (torch.unbind)."""
    d = wrap_dim(dim, input.ndim)
    return tuple(select(input, d, k) for k in range(input._n.shape[d]))


def _iterate(self: Tensor) -> Any:
    if self.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(unbind(self, 0))


Tensor.__iter__ = _iterate  # type: ignore[attr-defined]

# --- copies and rearrangements --------------------------------------------------------------------------------------


@operator
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy through which gradients flow (torch.clone)."""
    return apply(mv.copy, input)


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if PyTorch would call it contiguous, else a copy that is."""
    return self if is_contiguous(self) else apply(mv.copy, self)


Tensor.contiguous = contiguous  # type: ignore[attr-defined]


@operator
def flip(input: Tensor, *dims: Any) -> Tensor:
    """Reverses the order along dimensions (torch.flip)."""
    return apply(mv.flip, input, dims=tuple(sorted(wrap_dim(d, input.ndim) for d in _ints(dims))))


PUBLIC["fliplr"] = Tensor.fliplr = lambda input: flip(input, 1)  # type: ignore[attr-defined]
PUBLIC["flipud"] = Tensor.flipud = lambda input: flip(input, 0)  # type: ignore[attr-defined]


@operator
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Shifts elements along dimensions, wrapping around (torch.roll)."""
    if dims is None or dims == ():
        return roll(input.flatten(), shifts, 0).reshape(input._n.shape)
    steps = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    out = input
    for s, d in zip(steps, axes, strict=True):
        d = wrap_dim(d, input.ndim)
        n = input._n.shape[d]
        k = s % n if n else 0
        if k:
            out = cat([sliced(out, d, n - k, n), sliced(out, d, 0, n - k)], d)
    return out if out is not input else clone(input)


@operator
def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Rotates by 90 degrees in a plane (torch.rot90)."""
    a, b = dims
    k %= 4
    if k == 0:
        return clone(input)
    if k == 2:
        return flip(input, a, b)
    return flip(transpose(input, a, b), a if k == 1 else b)


@operator
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view with given strides over the tensor's storage (torch.as_strided)."""
    ghost, _, offset = _phantom(input)
    root = input if input._base is None else input._base
    return root.view_by(
        mv.as_strided, shape=_ints((size,)), strides=_ints((stride,)),
        offset=offset if storage_offset is None else storage_offset,
    )  # fmt: skip


@operator(public=False)
def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Sliding windows along one dimension, appended as a last dimension."""
    d = wrap_dim(dimension, self.ndim)
    moved = self.movedim(d, -1)
    out = apply(mv.window, moved, size=(size,), stride=(step,), dilation=(1,))
    return out.movedim(-2, d)


@operator
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinate grids (torch.meshgrid)."""
    xs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    xs = [x.reshape(1) if x.ndim == 0 else x for x in xs]
    if indexing == "xy" and len(xs) >= 2:
        xs = [xs[1], xs[0], *xs[2:]]
    shape = tuple(x._n.shape[0] for x in xs)
    grids = []
    for k, x in enumerate(xs):
        grids.append(x.reshape(tuple(-1 if i == k else 1 for i in range(len(xs)))).expand(shape))
    if indexing == "xy" and len(xs) >= 2:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def _band(x: Tensor, diagonal: int, keep: Any) -> Tensor:
    node = x.node
    n = node.ndim
    if n < 2:
        raise RuntimeError("tril/triu: input tensor must have at least 2 dimensions")
    zero = source.const(0, node.shape, dtypes.int64, node.device)
    row, column = mv.iota(zero, dim=n - 2), mv.iota(zero, dim=n - 1)
    inside = keep(column, row + diagonal if diagonal else row)
    return wrap(ew.where(inside, node, source.const(0, node.shape, node.dtype, node.device)))


@operator(inplace=True, out=True)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Lower triangle, zeros above (torch.tril)."""
    return _band(input, diagonal, ew.le)


@operator(inplace=True, out=True)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Upper triangle, zeros below (torch.triu)."""
    return _band(input, diagonal, ew.ge)


def _triangle_indices(keep: Any) -> Any:
    def function(row: int, col: int, offset: int = 0, *, dtype: Any = dtypes.int64, device: Any = None, layout: Any = None) -> Tensor:
        from cupola.tensor.create import of_array

        return of_array(np.stack(keep(row, offset, col)).astype(dtype.np), device)

    return function


PUBLIC["tril_indices"] = _triangle_indices(np.tril_indices)
PUBLIC["triu_indices"] = _triangle_indices(np.triu_indices)


@operator
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of a diagonal, as the last dimension (torch.diagonal)."""
    n = input.ndim
    a, b = wrap_dim(dim1, n), wrap_dim(dim2, n)
    size = input._n.shape
    step = strides(input)
    ghost, _, start = _phantom(input)
    length = min_of(size[a], size[b] - offset) if offset >= 0 else min_of(size[a] + offset, size[b])
    length = length if length > 0 else 0
    start += (offset * step[b] if offset >= 0 else -offset * step[a]) if length else 0
    shape = tuple(s for i, s in enumerate(size) if i not in (a, b)) + (length,)
    strides_ = tuple(s for i, s in enumerate(step) if i not in (a, b)) + (step[a] + step[b],)
    root = input if input._base is None else input._base
    return root.view_by(mv.as_strided, shape=shape, strides=strides_, offset=start)


@operator
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix of a diagonal (torch.diag)."""
    from cupola.functional import shape as own

    return diag_embed(input, diagonal) if input.ndim == 1 else own.diagonal(input, diagonal).clone()


@operator
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension on a diagonal (torch.diag_embed)."""
    n = input._n.shape[-1] + (offset if offset >= 0 else -offset)
    wide = source.const(0, (n, n), dtypes.int64, input.device)
    on = ew.eq(mv.iota(wide, dim=1), mv.iota(wide, dim=0) + offset) if offset else ew.eq(
        mv.iota(wide, dim=1), mv.iota(wide, dim=0)
    )
    padded = mv.pad(
        input.node, pairs=((0, 0),) * (input.ndim - 1) + ((offset, 0) if offset >= 0 else (0, -offset),), value=0
    )
    shape = (*input._n.shape[:-1], n, n)
    across = offset >= 0  # the padded vector runs along columns, else along rows
    lead = input._n.shape[:-1]
    spread = mv.reshape(padded, shape=(*lead, 1, n) if across else (*lead, n, 1))
    rows = mv.expand(spread, shape=shape)
    made = wrap(ew.where(expand_node(on, shape), rows, source.const(0, shape, input.dtype, input.device)))
    total = made.ndim
    return made.movedim((-2, -1), (wrap_dim(dim1, total), wrap_dim(dim2, total)))


@operator
def view_as_real(input: Tensor) -> Tensor:
    """Real and imaginary parts as a last dimension of size 2 (torch.view_as_real)."""
    return stack([apply(ew.real, input), apply(ew.imag, input)], -1)


@operator
def view_as_complex(input: Tensor) -> Tensor:
    """Complex numbers from a last dimension of size 2 (torch.view_as_complex)."""
    return apply(ew.complex, select(input, -1, 0), select(input, -1, 1))


Tensor.real = property(lambda self: apply(ew.real, self) if self.dtype.is_complex else self)  # type: ignore[attr-defined]
Tensor.imag = property(lambda self: apply(ew.imag, self))  # type: ignore[attr-defined]
PUBLIC["real"] = lambda input: input.real
PUBLIC["imag"] = lambda input: input.imag
PUBLIC["numel"] = lambda input: input.numel()
