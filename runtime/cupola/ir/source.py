"""Nodes that come from outside the graph, and aliases that compute nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.dtypes import dtype as DType
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.number import Dynamic
from cupola.ir.op import Primitive, pending

EMPTY_ATTRS: dict[str, Any] = {}


def _source_infer(*args: Any, **kw: Any) -> Any:
    raise TypeError("source nodes are built by leaf constructors")


CONST = Primitive("const", "source", _source_infer).register()
BUFFER = Primitive("buffer", "source", _source_infer).register()


def buffer(value: Any, dtype: DType, device: Device) -> Node:
    """A node whose value is already there."""
    out = Node(BUFFER, (), EMPTY_ATTRS, tuple(value.shape), dtype, device, value)
    out.serial = pending.count
    return out


def rounded(value: Any, dtype: DType) -> Any:
    """A number as a half type holds it; others, and numbers that change, as they are."""
    if dtype.category == 2 and dtype.itemsize == 2 and type(value) is not Dynamic:
        with np.errstate(over="ignore"):
            return float(dtype.np.type(float(value)))
    return value


def const(value: Any, shape: tuple[int, ...], dtype: DType, device: Device) -> Node:
    """A node all of whose elements are one Python number; it costs no memory.

    Kernels compute half types in float32 and take the number in float32 too, as PyTorch's do in
    products: what PyTorch rounds to the half type first is ``rounded`` by the caller.
    """
    if type(value) is Dynamic:
        pass
    elif dtype.category == 2:
        value = float(value)
    elif dtype.category == 1:
        if not -(2.0**63) <= value < 2.0**64:
            raise RuntimeError("value cannot be converted to type int64_t without overflow")
        value = int(value)
    elif dtype.category == 0:
        value = bool(value)
    else:
        value = complex(value)
    out = Node(CONST, (), {"value": value}, shape, dtype, device)
    out.serial = pending.count
    return out


def _same(x: Node, **_: Any) -> Any:
    return x.shape, x.dtype


def _identity(xp: Any, x: Any, **_: Any) -> Any:
    return x


# A leaf marks where gradients are collected; detach cuts them; neither computes anything.
LEAF = Primitive("leaf", "alias", _same, _identity, vjp=(None,)).register()
DETACH = Primitive("detach", "alias", _same, _identity).register()
ALIAS = Primitive("alias", "alias", _same, _identity, vjp=(lambda g, out, x: g,)).register()
ITEM = Primitive(
    "item", "alias", lambda x, index: (x.shape[index], x.dtype[index]), None, vjp=(None,)
).register()


_FEW = 1024
_INDEX: list[dict[str, Any]] = [{"index": i} for i in range(_FEW)]  # shared by many nodes


def item(node: Node, index: int) -> Node:
    """One result of a primitive that has several."""
    dtype = node.dtype[index]
    attrs = _INDEX[index] if index < _FEW else {"index": index}
    grad = node.requires_grad and dtype.category >= 2
    return Node(ITEM, (node,), attrs, node.shape[index], dtype, node.device, None, grad)


def detach(node: Node) -> Node:
    """The same value, through which no gradient flows."""
    if not node.requires_grad:
        return node
    out = Node(DETACH, (node,), EMPTY_ATTRS, node.shape, node.dtype, node.device, node.value)
    out.order = node.order
    return out


def leaf(value: Node, owner: Any) -> Node:
    """The same value as a place where gradients are collected for ``owner`` (a weak reference to a
    tensor).
    """
    out = Node(
        LEAF, (value,), EMPTY_ATTRS, value.shape, value.dtype, value.device, value.value, True
    )
    out.meta = {"leaf": owner}
    out.order = value.order
    return out


def nobody() -> None:
    """The owner of a leaf whose gradient is dropped, as PyTorch does for views under no_grad."""


def is_nobodys(node: Node) -> bool:
    """Whether the node is a leaf whose gradient is dropped: no rule is asked for it."""
    return node.meta is not None and node.meta.get("leaf") is nobody
