"""Nodes: immutable values, computed or still to be computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cupola.ir.device import device as Device

if TYPE_CHECKING:
    from cupola.ir.kind import Form, Kind
    from cupola.ir.op import Primitive

DETACHED = -2  # of ``Node.stale``


class Node:
    """One application of a primitive, or a value that needs none.

    The graph of nodes is both the program (what is still to be computed) and the tape (what
    gradients flow through):
    a node keeps its sources until it has a value and no gradient can flow through it.

    Attributes:
        op, srcs, attrs: what computes the value.
        shape, dtype, device: known when the node is made (tuples of them if ``op.multi``).
        value: the array, or None until the engine has run it.
        requires_grad: whether gradients flow to this node.
        order: the order of dimensions in memory, outermost first, that PyTorch would give this
            value (None: row-major);
            results of elementwise operators take it over. It is reported, never used.
        freed: a backward pass has released the graph behind this node.
        taped: readers that have a value and keep this node for gradients only.
        serial: how many nodes had been recorded before this one.
        stale: -1, or the serial from which on the tensor that held this value was being overwritten
            in place:
            what was recorded before must not read it in a backward pass any more. DETACHED: the
            tensor was detached in place, whoever reads it must not either.
        kind, form: shape, dtype, order and device as one object, and what computes the value as one
            (``ir.kind``); None where nobody has asked.
        mark, place, uses: of the walk that met the node last: which it was, the position that it
            gave the node, and how many nodes among those walked read it.
        meta: rare extras (hooks, the leaf tensor, a custom gradient), or None.
    """

    __slots__ = (
        "__weakref__",
        "attrs",
        "device",
        "dtype",
        "form",
        "freed",
        "kind",
        "mark",
        "meta",
        "op",
        "order",
        "place",
        "requires_grad",
        "serial",
        "shape",
        "srcs",
        "stale",
        "taped",
        "uses",
        "value",
    )

    def __init__(
        self,
        op: Primitive,
        srcs: tuple[Node, ...],
        attrs: dict[str, Any],
        shape: Any,
        dtype: Any,
        device: Device,
        value: Any = None,
        requires_grad: bool = False,
    ) -> None:
        self.op = op
        self.srcs = srcs
        self.attrs = attrs
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.value = value
        self.requires_grad = requires_grad
        self.order: tuple[int, ...] | None = None
        self.freed = False
        self.serial = 0
        self.stale = -1
        self.taped = 0
        self.mark = 0
        self.uses = 0
        self.kind: Kind | None = None
        self.form: Form | None = None
        self.meta: dict[str, Any] | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def numel(self) -> int:
        n = 1
        for s in self.shape:
            n *= s
        return n

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.shape} {self.dtype}>"
