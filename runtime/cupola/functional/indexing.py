"""Subscripts, gathering and scattering."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from cupola import dtypes
from cupola.functional._convert import (
    broadcast_shapes,
    cast_node,
    expand_node,
    one_dtype,
    wrap_dim,
)
from cupola.functional._register import operator
from cupola.functional.checks import same_rows
from cupola.functional.masks import nonzero
from cupola.ir import source
from cupola.ir.node import Node
from cupola.ops import elementwise as ew
from cupola.ops import index as ix
from cupola.ops import movement as mv
from cupola.tensor import Tensor, apply, wrap
from cupola.tensor.alias import Chain
from cupola.tensor.geometry import check_write


class _Parsed(NamedTuple):
    """A subscript, applied as far as views go: the view, and index tensors by dimension of it."""

    view: Tensor
    advanced: dict[int, Tensor]


def _is_index_list(x: Any) -> bool:
    return isinstance(x, (list, np.ndarray, range))


def _items(key: Any) -> list[Any]:
    if isinstance(key, tuple):
        return list(key)
    return [key]


def _consumed(item: Any) -> int:
    """How many dimensions an item of a subscript uses up."""
    if item is None or item is Ellipsis or isinstance(item, (bool, np.bool_)):
        return 0
    if isinstance(item, Tensor) and item.dtype is dtypes.bool:
        return item.ndim
    if isinstance(item, np.ndarray) and item.dtype == np.bool_:
        return item.ndim
    return 1


def _as_index(item: Any, like: Tensor) -> Tensor:
    from cupola.tensor import tensor

    made = (
        item
        if isinstance(item, Tensor)
        else tensor(np.asarray(item) if not isinstance(item, list) else item)
    )
    if made.numel() == 0 and made.dtype.category >= 2:
        made = made.to(dtypes.int64)
    if made.dtype not in (
        dtypes.int64,
        dtypes.int32,
        dtypes.bool,
        dtypes.uint8,
        dtypes.int16,
        dtypes.int8,
    ):
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return made if made.device is like.device else made.to(like.device)


def _slice_bounds(s: slice, n: int) -> tuple[int, int, int]:
    step = 1 if s.step is None else int(s.step)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start = 0 if s.start is None else int(s.start)
    stop = n if s.stop is None else int(s.stop)
    start = min(max(start + n if start < 0 else start, 0), n)
    stop = min(max(stop + n if stop < 0 else stop, start), n)
    return start, stop, step


_Box = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _parse(x: Tensor, key: Any, itself: bool = False) -> _Parsed:
    """Applies integers, slices, None and Ellipsis as one slice and one reshape; collects index
    tensors. What takes all of ``x`` gives a view of it, or ``x`` if ``itself`` says so.

    Raises:
        IndexError: too many indices, an index out of range, a mask of the wrong shape.
    """
    shape = x._n.shape
    plain = _plain(key)
    advanced: dict[int, Tensor] = {}
    box = _places(x, _items(key), advanced) if plain is None else _known_places(shape, plain)
    steps = _steps(shape, box, bool(advanced) or itself)
    return _Parsed(x.view_through(steps) if steps else x, advanced)


def _steps(shape: tuple[int, ...], box: _Box, itself: bool) -> Chain:
    """The movements that make the view; none for all of a tensor if ``itself`` says so."""
    starts, stops, steps, final = box
    found: list[Any] = []
    if stops != shape or any(starts) or any(s != 1 for s in steps):
        found.append((mv.slice, {"starts": starts, "stops": stops, "steps": steps}))
        shape = tuple([-(-(b - a) // s) for a, b, s in zip(starts, stops, steps, strict=True)])
    if final != shape or not (found or itself):
        found.append((mv.reshape, {"shape": final}))
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _known_steps(shape: tuple[int, ...], plain: tuple[Any, ...]) -> Chain:
    """The movements of a plain subscript, remembered."""
    return _steps(shape, _known_places(shape, plain), False)


def _plain(key: Any) -> tuple[Any, ...] | None:
    """A subscript of integers, slices, None and Ellipsis in a form that can be looked up, slices
    as tuples; None for others.
    """
    found: list[Any] = []
    for k in key if type(key) is tuple else (key,):
        if type(k) is slice:
            part = k.start, k.stop, k.step
            if any(n is not None and type(n) is not int for n in part):
                return None
            found.append(part)
        elif type(k) is int or k is None or k is Ellipsis:
            found.append(k)
        else:
            return None
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _known_places(shape: tuple[int, ...], plain: tuple[Any, ...]) -> _Box:
    """``_places`` of a plain subscript, remembered: loops meet the same at every step."""
    return _places(shape, [slice(*k) if type(k) is tuple else k for k in plain], {})


def _places(of: Any, items: list[Any], advanced: dict[int, Tensor]) -> _Box:
    """(starts, stops, steps) of a slice and the shape that its result takes; ``of`` is a tensor, or
    a shape where no item needs one. Index tensors are put into ``advanced``.
    """
    used = sum(_consumed(i) for i in items)
    shape = of._n.shape if isinstance(of, Tensor) else of
    if used > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    dots = [k for k, i in enumerate(items) if i is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    fill = [slice(None)] * (len(shape) - used)
    items = items[: dots[0]] + fill + items[dots[0] + 1 :] if dots else items + fill
    starts, stops, steps, final = [], [], [], []
    d = 0
    for item in items:
        if item is None:
            final.append(1)
        elif isinstance(item, (bool, np.bool_)):
            from cupola.tensor import tensor

            advanced[len(final)] = tensor([0] if item else [], dtype=dtypes.int64, device=of.device)
            final.append(1)
        elif isinstance(item, slice):
            a, b, s = _slice_bounds(item, shape[d])
            starts.append(a), stops.append(b), steps.append(s)
            final.append(max(0, -(-(b - a) // s)))
            d += 1
        elif _plain_integer(item):
            k, n = int(item), shape[d]
            if not -n <= k < n:
                raise IndexError(f"index {k} is out of bounds for dimension {d} with size {n}")
            k = k + n if k < 0 else k
            starts.append(k), stops.append(k + 1), steps.append(1)
            d += 1
        else:
            index = _as_index(item, of)
            if index.ndim == 0 and index.dtype is dtypes.bool:
                advanced[len(final)] = nonzero(index.reshape(1)).reshape(-1)
                final.append(1)
                continue
            for part in _expand_mask(index, shape, d):
                advanced[len(final)] = part
                starts.append(0), stops.append(shape[d]), steps.append(1)
                final.append(shape[d])
                d += 1
    return tuple(starts), tuple(stops), tuple(steps), tuple(final)


def _plain_integer(item: Any) -> bool:
    if isinstance(item, Tensor):
        return (
            item.ndim == 0
            and item.dtype.category == 1
            and item.dtype is not dtypes.uint8
            and item._n.value is not None
        )
    return isinstance(item, (int, np.integer)) or (
        hasattr(item, "__index__") and not isinstance(item, np.ndarray)
    )


def _expand_mask(index: Tensor, shape: tuple[int, ...], d: int) -> list[Tensor]:
    """A mask as one index tensor a dimension; an integer tensor as it is."""
    if index.dtype not in (dtypes.bool, dtypes.uint8):
        return [index]
    for k, n in enumerate(index._n.shape):
        if n != shape[d + k]:
            raise IndexError(
                f"The shape of the mask {list(index.shape)} at index {k} does not match the "
                "shape of the indexed tensor "
                f"{list(shape)} at index {d + k}"
            )
    places = nonzero(index)
    return [wrap(mv.reshape(c.node, shape=(places._n.shape[0],))) for c in places.unbind(1)]


class _Rows(NamedTuple):
    """Advanced indexing as a choice of rows: permute and reshape first, then flat row numbers."""

    order: tuple[int, ...]
    rows: tuple[int, ...]  # sizes of the indexed dimensions
    rest: tuple[int, ...]
    index: Node
    place: int  # where the index dimensions go in the result


def _rows(view: Tensor, advanced: dict[int, Tensor]) -> _Rows:
    dims = tuple(sorted(advanced))
    shape = view._n.shape
    others = tuple(d for d in range(len(shape)) if d not in dims)
    common = broadcast_shapes(*(advanced[d]._n.shape for d in dims))
    flat: Node | None = None
    for d in dims:
        node = expand_node(cast_node(advanced[d].node, dtypes.int64), common)
        n = shape[d]
        wrapped = ew.where(ew.lt(node, _number(0, node)), node + n, node)
        flat = wrapped if flat is None else flat * n + wrapped
    assert flat is not None
    adjacent = dims == tuple(range(dims[0], dims[0] + len(dims)))
    return _Rows(
        dims + others,
        tuple(shape[d] for d in dims),
        tuple(shape[d] for d in others),
        flat,
        dims[0] if adjacent else 0,
    )


def _number(value: int, like: Node) -> Node:
    return source.const(value, like.shape, like.dtype, like.device)


def _take(view: Tensor, advanced: dict[int, Tensor]) -> Tensor:
    plan = _rows(view, advanced)
    node = mv.permute(view.node, dims=plan.order)
    node = mv.reshape(node, shape=(math.prod(plan.rows), *plan.rest))
    out = wrap(ix.index_rows(node, plan.index))
    k = len(plan.index.shape)
    if plan.place and k:
        out = wrap(mv.permute(out.node, dims=_insertion(k, len(plan.rest), plan.place)))
        out._n.order = None  # how the rows were found is not how the result lies in memory
    return out


def _insertion(k: int, rest: int, place: int) -> tuple[int, ...]:
    """The permutation that moves the first ``k`` dimensions behind ``place`` others."""
    others = list(range(k, k + rest))
    return tuple(others[:place] + list(range(k)) + others[place:])


def _put(view: Tensor, advanced: dict[int, Tensor], value: Tensor, accumulate: bool) -> Node:
    """The view's new value after ``value`` was written (or added) at the indexed places."""
    plan = _rows(view, advanced)
    node = view.node
    moved = mv.permute(node, dims=plan.order)
    flat = mv.reshape(moved, shape=(math.prod(plan.rows), *plan.rest))
    k = len(plan.index.shape)
    target = plan.rest[: plan.place] + plan.index.shape + plan.rest[plan.place :]
    src = cast_node(value.node, node.dtype)
    extra = len(src.shape) - len(target)
    if extra > 0 and all(n == 1 for n in src.shape[:extra]):
        src = mv.reshape(src, shape=src.shape[extra:])
    if broadcast_shapes(src.shape, target) != target:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to "
            "indexing result of shape "
            f"{list(target)}"
        )
    src = expand_node(src, target)
    if plan.place and k:
        src = mv.permute(
            src, dims=mv.inverse_permutation(_insertion(k, len(plan.rest), plan.place))
        )
    out = ix.scatter_rows(flat, plan.index, src, accumulate=accumulate)
    out = mv.reshape(out, shape=moved.shape)
    return mv.permute(out, dims=mv.inverse_permutation(plan.order))


def _written(input: Tensor, node: Node) -> Tensor:
    """A copy of ``input`` with rows replaced: it lies in memory as the input does."""
    node.order = input.node.order
    return wrap(node)


def _getitem(self: Tensor, key: Any) -> Tensor:
    _readable(self, key)
    plain = _plain(key)
    if plain is not None:
        return self.view_through(_known_steps(self._n.shape, plain))
    parsed = _parse(self, _unlist(key))
    return _take(parsed.view, parsed.advanced) if parsed.advanced else parsed.view


def _readable(self: Tensor, key: Any) -> None:
    """A view that must not be used any more says so before the key is looked at, of which only the
    length is checked first.
    """
    try:
        _ = self.node
    except RuntimeError:
        if isinstance(key, tuple) and sum(map(_consumed, key)) > self._n.ndim:
            raise IndexError(f"too many indices for tensor of dimension {self._n.ndim}") from None
        raise


def _unlist(key: Any) -> Any:
    """A list holding slices or Ellipsis is a tuple; other sequences are index arrays."""
    if isinstance(key, list) and any(
        isinstance(k, slice) or k is Ellipsis or k is None for k in key
    ):
        return tuple(key)
    return key


def _setitem(self: Tensor, key: Any, value: Any) -> None:
    _readable(self, key)
    given = isinstance(value, Tensor)
    if not given:
        from cupola.tensor import tensor

        value = (
            tensor(value, device=self.device)
            if isinstance(value, (list, tuple, np.ndarray))
            else _scalar(value, self)
        )
    parsed = _parse(self, _unlist(key), itself=True)
    if given and parsed.advanced and not (value.numel() == 1 and _is_mask(key)):
        one_dtype("index_put_", self, value)
    with parsed.view.unhooked():
        _replace(parsed, value.to(self.device))


def _is_mask(key: Any) -> bool:
    return getattr(key, "dtype", None) in (dtypes.bool, dtypes.uint8, np.bool_)


def _replace(parsed: _Parsed, value: Tensor) -> None:
    view = parsed.view
    if parsed.advanced:
        check_write(view, value, apart=value.numel() != 1 or not view.ndim, repeats=True)
        view.assign(_put(view, parsed.advanced, value, False))
        return
    node = cast_node(value.node, view.dtype)
    extra = len(node.shape) - view.ndim
    if extra > 0 and all(n == 1 for n in node.shape[:extra]):
        node = mv.reshape(node, shape=node.shape[extra:])
    if broadcast_shapes(node.shape, view._n.shape) != view._n.shape:
        raise RuntimeError(
            f"The expanded size of the tensor ({view.shape}) must match the existing size "
            f"({value.shape})"
        )
    check_write(view, value, aligned=True)
    written = expand_node(node, view._n.shape)
    # A later write to this tensor overwrites what it holds now, not the tensor that was read.
    apart = written is not value.node or written.op is source.CONST
    view.assign(written if apart else source.ALIAS(written))


def _scalar(value: Any, like: Tensor) -> Tensor:
    if isinstance(value, np.generic):
        value = value.item()
    return wrap(source.const(source.rounded(value, like.dtype), (), like.dtype, like.device))


Tensor.__getitem__ = _getitem
Tensor.__setitem__ = _setitem


# --- rows and positions


@operator(out=True, apart=True)
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Rows of one dimension in the order of ``index`` (torch.index_select)."""
    if input.ndim == 0:
        return input.clone()
    d = wrap_dim(dim, input.ndim)
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    return _take(input, {d: index.reshape(-1)})


@operator(out=True, apart=True)
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor (torch.take)."""
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    if input.numel() == 0 and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    return _take(input.reshape(-1), {0: index})


@operator(out=True)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather with broadcasting (torch.take_along_dim)."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    d = wrap_dim(dim, input.ndim)
    a, b = list(input._n.shape), list(indices._n.shape)
    a[d] = b[d] = 1
    shape = broadcast_shapes(a, b)
    wide = tuple(n if i != d else input._n.shape[d] for i, n in enumerate(shape))
    place = indices.expand(tuple(n if i != d else indices._n.shape[d] for i, n in enumerate(shape)))
    place = wrap(
        ew.where(ew.lt(place.node, _number(0, place.node)), place.node + wide[d], place.node)
    )
    return gather(input.expand(wide), d, place)


def _index_node(index: Tensor, n: int) -> Node:
    return cast_node(index.node, dtypes.int64)


@operator(out=True, exact=True, apart=True)
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Elements along ``dim`` at the positions that ``index`` gives (torch.gather).

    Raises:
        RuntimeError: numbers of dimensions differ, or index is not int64.
    """
    if index.dtype not in (dtypes.int64, dtypes.int32):
        if index.numel() == 0:
            return gather(input, dim, index.to(dtypes.int64))
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    d = wrap_dim(dim, input.ndim)
    if index.ndim != input.ndim:
        if index.numel() == 0:  # fits anything
            return input.reshape(-1).narrow(0, 0, 0).reshape(index._n.shape)
        if input.ndim and index.ndim:
            raise RuntimeError(
                "Index tensor must have the same number of dimensions as input tensor"
            )
        a = input.reshape(1) if input.ndim == 0 else input
        b = index.reshape(1) if index.ndim == 0 else index
        return gather(a, dim, b).reshape(index._n.shape)
    if input.ndim == 0:
        return gather(input.reshape(1), 0, index.reshape(1)).reshape(())
    for i, (m, n) in enumerate(zip(index._n.shape, input._n.shape, strict=True)):
        if i != d and m > n:
            raise RuntimeError(
                f"Size does not match at dimension {i} expected index {list(index.shape)} to be "
                "no larger than self "
                f"{list(input.shape)} apart from dimension {d}"
            )
    return wrap(ix.gather(input.node, _index_node(index, input._n.shape[d]), dim=d))


def _fits(index: Tensor, other: Tensor, dim: int | None, name: str) -> None:
    if index.ndim != other.ndim:
        raise RuntimeError(f"Index tensor must have the same number of dimensions as {name} tensor")
    for i, (m, n) in enumerate(zip(index._n.shape, other._n.shape, strict=True)):
        if i != dim and m > n:
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than {name} "
                f"{list(other.shape)} apart from dimension {dim}"
            )


def _scatter(input: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None) -> Tensor:
    d = wrap_dim(dim, input.ndim)
    if index.dtype not in (dtypes.int64, dtypes.int32) and index.numel():
        raise RuntimeError("scatter(): Expected dtype int32/int64 for index")
    if input.ndim == 0:
        src0 = src.reshape(1) if isinstance(src, Tensor) else src
        return _scatter(input.reshape(1), 0, index.reshape(1), src0, reduce).reshape(())
    if index.numel() == 0:
        return input.clone()
    if isinstance(src, Tensor):
        if src.dtype is not input.dtype:
            raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
        _fits(index, src, None, "src")
        values = src.node
    else:
        number = source.rounded(src, input.dtype)
        values = source.const(number, index._n.shape, input.dtype, input.device)
    _fits(index, input, d, "self")
    return wrap(
        ix.scatter(input.node, cast_node(index.node, dtypes.int64), values, dim=d, reduce=reduce)
    )


@operator(inplace=True, out=True)
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """Writes ``src`` at the positions that ``index`` gives along ``dim`` (torch.scatter)."""
    return _scatter(input, dim, index, value if src is None else src, reduce)


@operator(inplace=True, out=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Adds ``src`` at the positions that ``index`` gives along ``dim`` (torch.scatter_add)."""
    return _scatter(input, dim, index, src, "add")


@operator(inplace=True, out=True)
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Folds ``src`` into the positions that ``index`` gives (torch.scatter_reduce)."""
    kinds = {"sum": "add", "prod": "multiply", "amax": "amax", "amin": "amin", "mean": "add"}
    if reduce not in kinds:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    start = {"sum": 0, "mean": 0, "prod": 1}.get(reduce)
    base = input
    if not include_self:
        fill = start if start is not None else (-math.inf if reduce == "amax" else math.inf)
        if input.dtype.category < 2 and start is None:
            if input.dtype is dtypes.bool:
                fill = reduce == "amin"
            else:
                info = np.iinfo(input.dtype.np)
                fill = int(info.min if reduce == "amax" else info.max)
        base = _scatter(input, dim, index, fill, None)
    out = _scatter(base, dim, index, src, kinds[reduce])
    if reduce == "mean":
        ones = input.new_ones(input._n.shape) if include_self else input.new_zeros(input._n.shape)
        count = _scatter(ones, dim, index, src.new_ones(src._n.shape), "add").clamp(min=1)
        out = out.div(count) if input.dtype.category >= 2 else out.floor_divide(count)
    return out


@operator(inplace=True, out=True)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Adds rows of ``source`` at ``index`` along ``dim`` (torch.index_add)."""
    if source.dtype is not input.dtype:
        raise RuntimeError("index_add_(): self and source must have the same scalar type")
    d = wrap_dim(dim, input.ndim)
    same_rows(input, source, d)
    value = source.mul(alpha) if alpha != 1 else source
    if input.dtype is dtypes.bool:
        return index_add(input.int(), dim, index, value.int()).bool()
    if input.ndim == 0:
        return input.add(value.sum())
    return _written(input, _put(input, {d: index.reshape(-1)}, value, True))


@operator(inplace=True, out=True)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Replaces rows at ``index`` along ``dim`` (torch.index_copy)."""
    if input.ndim == 0:
        return index_copy(input.reshape(1), dim, index, source.reshape(1)).reshape(())
    d = wrap_dim(dim, input.ndim)
    one_dtype("index_copy_", input, source)
    return _written(input, _put(input, {d: index.reshape(-1)}, source, False))


@operator(inplace=True)
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Writes values at index tensors, one a dimension (torch.index_put)."""
    parsed = _parse(input, tuple(slice(None) if i is None else i for i in indices))
    if not (values.numel() == 1 and len(indices) == 1 and _is_mask(indices[0])):
        one_dtype("index_put", input, values)
    return wrap(_put(parsed.view, parsed.advanced, values, accumulate))


__all__ = ["apply", "gather", "index_select", "scatter"]
