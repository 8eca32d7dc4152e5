"""Views, joining and splitting (torch's "Indexing, Slicing, Joining, Mutating Ops")."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.functional._convert import broadcast_shapes, host, own, wrap_dim
from cupola.functional._register import PUBLIC, operator
from cupola.functional._sizes import ints
from cupola.functional.strides import phantom, row_major, strides, viewable
from cupola.ops import movement as mv
from cupola.tensor import Tensor, apply, no_grad, wrap
from cupola.tensor.reread import BITS


def _ints(args: tuple[Any, ...]) -> tuple[int, ...]:
    if all(type(a) is int for a in args):
        return args
    return ints(args[0] if len(args) == 1 else args)


@functools.lru_cache(maxsize=4096)
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
        raise RuntimeError(
            f"invalid shape dimension {bad} at index {shape.index(bad)} of shape {list(shape)}"
        )
    known = math.prod(n for n in shape if n != -1)
    if holes:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 "
                "can be any value and is ambiguous"
            )
        if count % known == 0:
            shape = tuple(count // known if n == -1 else n for n in shape)
            known = count
    if known != count:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    return shape


def _reshaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if x._n.shape == shape:
        return x.view_by(mv.reshape, shape=shape)
    if (x._base is None and not x._chain and x._n.order is None) or viewable(x, shape):
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
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], (dtypes.dtype, type))):
        return _view_dtype(self, dtypes.asked(dtype or shape[0]))
    target = _infer_size(_ints(shape), self.numel())
    if not viewable(self, target):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return self.view_by(mv.reshape, shape=target)


def _view_dtype(x: Tensor, dtype: dtypes.dtype) -> Tensor:
    """The same bits as another dtype, without a gradient.

    Raises:
        RuntimeError: elements of different size do not fit into the last dimension.
    """
    old, new = x.dtype.itemsize, dtype.itemsize
    if dtype is x.dtype:
        return x.view_by(mv.reshape, shape=x._n.shape)
    if old != new:
        what = f"to view {x.dtype} as {dtype} (different element sizes), but got"
        if not x.ndim:
            raise RuntimeError(f"self.dim() cannot be 0 {what.removesuffix(', but got')}")
        steps = strides(x)
        if steps[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 {what} {steps[-1]}")
        if new > old:
            ratio = new // old
            if x._n.shape[-1] % ratio:
                raise RuntimeError(
                    f"self.size(-1) must be divisible by {ratio} {what} {x._n.shape[-1]}"
                )
            if phantom(x)[2] % ratio:
                raise RuntimeError(
                    f"self.storage_offset() must be divisible by {ratio} {what} {phantom(x)[2]}"
                )
            for d, s in enumerate(steps[:-1]):
                if s % ratio:
                    raise RuntimeError(f"self.stride({d}) must be divisible by {ratio} {what} {s}")
    return x.view_by(BITS, dtype=dtype, ratio=old / new)


Tensor.view = _view
Tensor.view_as = lambda self, other: _view(self, other._n.shape)
Tensor.reshape_as = lambda self, other: reshape(self, other._n.shape)


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
    if not n:
        raise RuntimeError("unflatten: a 0-dimensional tensor has no dimension to split")
    return _reshaped(input, (*n[:d], *_infer_size(_ints((sizes,)), n[d]), *n[d + 1 :]))


@operator
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Drops dimensions of size 1: all, or those given (torch.squeeze)."""
    n = input._n.shape
    if dim is None:
        shape = tuple(s for s in n if s != 1)
    else:
        dims = {wrap_dim(d, len(n)) for d in ints(dim)}
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
        with no_grad():
            seen = function(self.detach(), *args, **kw)
        if not seen._chain[len(self._chain) :]:
            return self.turn(mv.reshape, shape=self._n.shape)
        for op, attrs in seen._chain[len(self._chain) :]:
            self.turn(op, **attrs)
        return self

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
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
                "permute(sparse_coo): number of dimensions in the tensor input does not match "
                "the length of the desired "
                f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to "
                f"len(dims) = {len(order)}"
            )
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return input.view_by(mv.permute, dims=order)


@operator(aliases=("swapaxes", "swapdims"))
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swaps two dimensions (torch.transpose)."""
    n = input.ndim
    if n == 0:
        wrap_dim(dim0, n), wrap_dim(dim1, n)
        return input.view_by(mv.reshape, shape=())
    return input.view_by(mv.permute, dims=_swapped(n, dim0, dim1))


@functools.lru_cache(maxsize=256)
def _swapped(n: int, dim0: int, dim1: int) -> tuple[int, ...]:
    a, b = wrap_dim(dim0, n), wrap_dim(dim1, n)
    order = list(range(n))
    order[a], order[b] = order[b], order[a]
    return tuple(order)


for _name in ("transpose_", "swapaxes_", "swapdims_"):
    _in_place_view(_name, transpose)


@operator
def t(input: Tensor) -> Tensor:
    """Transpose of a matrix (torch.t)."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    if input.ndim < 2:
        return input.view_by(mv.reshape, shape=input._n.shape)
    return transpose(input, 0, 1)


_in_place_view("t_", t)


@operator
def adjoint(input: Tensor) -> Tensor:
    """Transpose of the last two dimensions, conjugated (torch.adjoint)."""
    return transpose(input, -2, -1).conj()


def _reversed(self: Tensor) -> Tensor:
    return permute(self, *range(self.ndim - 1, -1, -1))


def _of_matrices(name: str, transposed: Any) -> property:
    """A transpose of the last two dimensions; a number is its own."""

    def read(self: Tensor) -> Tensor:
        if self.ndim == 1:
            raise RuntimeError(
                f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D "
                "tensor."
            )
        result: Tensor = transposed(self) if self.ndim else self
        return result

    return property(read)


def _conjugate_transpose(self: Tensor) -> Tensor:
    if self.ndim not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self.ndim}-D tensor."
        )
    return adjoint(self) if self.ndim else self.conj()


Tensor.T = property(_reversed)
Tensor.mT = _of_matrices("mT", lambda x: transpose(x, -2, -1))
Tensor.H = property(_conjugate_transpose)
Tensor.mH = _of_matrices("mH", adjoint)


@operator(aliases=("moveaxis",))
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Moves dimensions to new places (torch.movedim)."""
    n = input.ndim
    a = [wrap_dim(d, n) for d in ints(source)]
    b = [wrap_dim(d, n) for d in ints(destination)]
    if len(a) != len(b):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source and destination must have as "
            f"many dims each, got {len(a)} and {len(b)}"
        )
    for given, what in ((a, "source"), (b, "destination")):
        if len(set(given)) != len(given):
            raise RuntimeError(f"movedim: repeated dim in `{what}` ({given})")
    if n == 0:
        return permute(input, ())
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
            f"expand(torch.{type(self).__name__}{{{list(n)}}}, size={target}): the number of "
            f"sizes provided ({len(target)}) "
            f"must be greater or equal to the number of dimensions in the tensor ({len(n)})"
        )
    for i, s in enumerate(n):
        if target[lead + i] == -1:
            target[lead + i] = s
        elif s != 1 and s != target[lead + i]:
            raise RuntimeError(
                f"The expanded size of the tensor ({target[lead + i]}) must match the existing "
                f"size ({s}) at non-singleton "
                f"dimension {lead + i}.  Target sizes: {target}.  Tensor sizes: {list(n)}"
            )
    view = self.view_by(mv.reshape, shape=(1,) * lead + n) if lead else self
    return view.view_by(mv.expand, shape=tuple(target))


PUBLIC["broadcast_to"] = Tensor.broadcast_to = expand
Tensor.expand_as = lambda self, other: expand(self, other._n.shape)


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
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    shape = (1,) * lead + self._n.shape
    node = self.node
    pairs = tuple(v for n in shape for v in (1, n))
    wide = tuple(v for n, k in zip(shape, times, strict=True) for v in (k, n))
    node = mv.expand(mv.reshape(node, shape=pairs), shape=wide)
    shape = tuple(n * k for n, k in zip(shape, times, strict=True))
    return row_major(wrap(mv.reshape(node, shape=shape)))


@operator
def tile(input: Tensor, *dims: Any) -> Tensor:
    """Like repeat; missing leading counts are 1 (torch.tile)."""
    times = _ints(dims)
    return input.repeat((1,) * (input.ndim - len(times)) + times)


@operator
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
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
        return own(wide.reshape(*n[:d], n[d] * k, *n[d + 1 :]), input)
    from cupola.tensor.create import of_array

    where = of_array(np.repeat(np.arange(n[d]), host(repeats)), input.device)
    return input.index_select(d, where)
