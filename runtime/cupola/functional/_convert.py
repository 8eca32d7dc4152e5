"""Broadcasting and type promotion: how operands of any shape and dtype become what a primitive
takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.dtypes import dtype as DType
from cupola.ir import source
from cupola.ir.node import Node
from cupola.ir.number import Dynamic
from cupola.ops import elementwise, movement
from cupola.tensor import Tensor, wrap

Number = (int, float, complex, np.number, np.bool_, Dynamic)


def wrap_dim(dim: int, ndim: int) -> int:
    """A non-negative dimension.

    Raises:
        IndexError: out of range, with PyTorch's wording.
    """
    if not isinstance(dim, int):
        dim = int(dim)
    n = ndim or 1
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim + n if dim < 0 else dim


def wrap_dims(dims: Any, ndim: int) -> tuple[int, ...]:
    """Non-negative, sorted, distinct dimensions; None or an empty sequence means all."""
    if getattr(dims, "ndim", None) == 0:
        dims = int(dims)  # a tensor or an array of one number
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return tuple(range(ndim))
    if ndim > 64:
        raise RuntimeError("only tensors with up to 64 dims are supported")
    if isinstance(dims, int):
        return (wrap_dim(dims, ndim),) if ndim else ()
    out = tuple(wrap_dim(d, ndim) for d in dims)
    if len(set(out)) != len(out):
        raise RuntimeError(
            f"dim {next(d for d in out if out.count(d) > 1)} appears multiple times in the list "
            "of dims"
        )
    return tuple(sorted(out)) if ndim else ()


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape.

    Raises:
        RuntimeError: the shapes do not broadcast, with PyTorch's wording.
    """
    first = tuple(shapes[0])
    if all(tuple(s) == first for s in shapes):
        return first
    ndim = max(len(s) for s in shapes)
    out = [1] * ndim
    for shape in shapes:
        lead = ndim - len(shape)
        for i, n in enumerate(shape):
            old = out[lead + i]
            if n != 1 and n != old:
                if old != 1:
                    raise RuntimeError(
                        f"The size of tensor a ({old}) must match the size of tensor b ({n}) at "
                        "non-singleton dimension "
                        f"{lead + i}"
                    )
                out[lead + i] = n
    return tuple(out)


@lru_cache(maxsize=4096)
def common_shape(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    """``broadcast_shapes`` of two, remembered: programs meet the same pairs at every step."""
    return broadcast_shapes(first, second)


def expand_node(node: Node, shape: tuple[int, ...]) -> Node:
    """Broadcasts a node; constants simply take the shape."""
    if node.shape == shape:
        return node
    if node.op is source.CONST:
        return source.const(node.attrs["value"], shape, node.dtype, node.device)
    lead = len(shape) - len(node.shape)
    if lead:
        node = movement.reshape(node, shape=(1,) * lead + node.shape)
    return node if node.shape == shape else movement.expand(node, shape=shape)


def cast_node(node: Node, dtype: DType) -> Node:
    """Converts a node; constants convert their number."""
    if node.dtype is dtype:
        return node
    if node.op is source.CONST and dtype.category >= node.dtype.category:
        value = source.rounded(node.attrs["value"], dtype)
        return source.const(value, node.shape, dtype, node.device)
    return elementwise.cast(node, dtype=dtype)


def one_dtype(name: str, *tensors: Tensor) -> None:
    """Raises RuntimeError where PyTorch promotes nothing and the tensors differ in dtype."""
    first = tensors[0]._n.dtype
    for x in tensors[1:]:
        if x._n.dtype is not first:
            raise RuntimeError(
                f"{name}: expected tensors of one dtype, but got {first} and {x._n.dtype}. "
                "Convert one of them with .to()."
            )


def _combine(high: DType | None, low: DType | None) -> DType | None:
    if high is None:
        return low
    if low is None or high.is_complex:
        return high
    if high.is_floating_point:
        return high.to_complex() if low.is_complex else high
    if high is dtypes.bool or low.is_floating_point or low.is_complex:
        return dtypes.promote_types(high, low)
    return high


def result_type(*operands: Any) -> DType:
    """The dtype of an operation: dimensioned tensors outrank 0-d tensors, which outrank numbers
    (torch.result_type).
    """
    ranks: list[DType | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Tensor):
            k, d = (0 if x._n.shape else 1), x._n.dtype
        else:
            k, d = 2, dtypes.of_number(0.0 if type(x) is Dynamic else x)
        old = ranks[k]
        ranks[k] = d if old is None else dtypes.promote_types(old, d)
    out = _combine(ranks[0], _combine(ranks[1], ranks[2]))
    assert out is not None
    return out


def _place(operands: Sequence[Any]) -> Any:
    """The device of the result: that of the dimensioned tensors; 0-d CPU tensors follow."""
    found = None
    for x in operands:
        if isinstance(x, Tensor):
            if found is None or (x._n.device is not found and found.type == "cpu"):
                found = x._n.device
    return found


def _node(x: Any, dtype: DType, shape: tuple[int, ...], place: Any, exact: bool = False) -> Node:
    if not isinstance(x, Tensor):
        if isinstance(x, np.generic):
            x = x.item()
        return source.const(x if exact else source.rounded(x, dtype), shape, dtype, place)
    node = cast_node(x.node, dtype)
    if node.device is not place and not node.shape:
        node = (
            movement.to_device(node, place)
            if node.op is not source.CONST
            else source.const(node.attrs["value"], (), node.dtype, place)
        )
    return expand_node(node, shape)


def operands(*xs: Any, dtype: DType | None = None, exact: bool = False) -> list[Node]:
    """Nodes of one shape and dtype for tensors and numbers.

    Args:
        exact: numbers beside half types stay in float32 (products and quotients); else they are
            rounded first.

    Raises:
        TypeError: an operand is neither a tensor nor a number.
        RuntimeError: shapes do not broadcast.
    """
    shapes = []
    for x in xs:
        if isinstance(x, Tensor):
            shapes.append(x._n.shape)
        elif not isinstance(x, Number):
            raise TypeError(f"expected a Tensor or a number, got {type(x).__name__}")
    shape = common_shape(*shapes) if len(shapes) == 2 else broadcast_shapes(*shapes or ((),))
    found = dtype or result_type(*xs)
    place = _place(xs)
    if place is None:
        from cupola.ir.device import CPU

        place = CPU
    return [_node(x, found, shape, place, exact) for x in xs]


def float_operands(*xs: Any) -> list[Node]:
    """As operands, integers and bools as the default dtype."""
    found = result_type(*xs)
    return operands(*xs, dtype=found if found.category >= 2 else dtypes.get_default_dtype())


def to_float(x: Tensor) -> Node:
    """The node of a tensor, integers and bools as the default dtype."""
    node = x.node
    return node if node.dtype.category >= 2 else cast_node(node, dtypes.get_default_dtype())


def own(x: Tensor, given: Tensor) -> Tensor:
    """``x`` as a result that shares no memory with ``given``, its dimensions in memory in order.

    A function that is not a view may be made of movements; what it returns must not be written
    through. Where those moved anything, this costs nothing: a value is taken, not a place.
    """
    node = x.node
    if node is not given.node and node.order is None:
        return wrap(node)
    out = wrap(movement.copy(node))
    out._n.order = None
    return out


def host(x: Tensor) -> Any:
    """The value as a NumPy array in host memory, wherever the tensor lives."""
    return engine.to_numpy(x.node)


def as_operand(x: Any, like: Tensor) -> Tensor:
    """A number as a 0-d tensor beside ``like``."""
    if isinstance(x, Tensor):
        return x
    return wrap(source.const(x, (), result_type(like, x), like.device))
