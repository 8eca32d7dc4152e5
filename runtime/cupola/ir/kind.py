"""What many nodes have in common, one object each: calls, tapes and programs that came before are
looked up by such objects, which costs less than comparing shapes and attributes.
"""

from __future__ import annotations

import functools
from typing import Any

from cupola.dtypes import dtype as DType
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ir.source import BUFFER

_LIMIT = 1 << 16  # of each; shapes that never come back must not pile up


class Form:
    """How a node is computed, apart from its operands. Forms are equal if they are one object:
    make them with ``form``.
    """

    __slots__ = ("attrs", "dtype", "op", "shape")

    def __init__(
        self, op: Primitive, attrs: tuple[tuple[str, Any], ...], shape: Any, dtype: Any
    ) -> None:
        self.op = op
        self.attrs = attrs
        self.shape = shape
        self.dtype = dtype


class Kind:
    """What a node gives. Kinds are equal if they are one object: make them with ``kind``.

    Attributes:
        stored: the form of an array of this kind, row-major in memory.
    """

    __slots__ = ("device", "dtype", "order", "shape", "stored")

    def __init__(
        self, shape: Any, dtype: DType, order: tuple[int, ...] | None, device: Device
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.order = order
        self.device = device
        self.stored = form(BUFFER, (("strides", None),), shape, dtype)


form = functools.lru_cache(_LIMIT)(Form)
kind = functools.lru_cache(_LIMIT)(Kind)


def kind_of(node: Node) -> Kind:
    """The kind of a node, which keeps it: its order in memory may still change."""
    found = node.kind
    if found is None or found.order is not node.order:
        found = node.kind = kind(node.shape, node.dtype, node.order, node.device)
        node.order = found.order
    return found
