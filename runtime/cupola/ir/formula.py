"""Formulas: many primitives recorded as one node, written out where a program is planned.

An optimizer's update of a parameter is a dozen primitives, the same for every parameter at every
step; the gradients of a network are hundreds. Recorded as a formula they are one node and one for
each result; `schedule/formulas.py` puts the primitives in its place when a new program is planned,
so that nothing changes for kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive, device_error, pending
from cupola.ir.source import BUFFER, ITEM


def _never(*srcs: Node, **attrs: Any) -> Any:
    raise TypeError("a formula is recorded with the kinds of its results")


class Formula(Primitive):
    """A primitive that other primitives compute, with several results unless it is ``single``.

    Gradients pass through it as through its primitives.

    Attributes:
        body: ``body(*nodes, **attrs)`` records the primitives on nodes; gives a node a result.
        rereads: it reads its operands several times, so that they have to lie in memory anyway.
    """

    __slots__ = ("body", "rereads")

    def __init__(
        self,
        name: str,
        body: Callable[..., tuple[Node, ...]],
        heavy: bool = False,
        rereads: bool = False,
        single: bool = False,
    ) -> None:
        super().__init__(name, "formula", _never, vjp=(), multi=not single, heavy=heavy)
        self.body = body
        self.rereads = rereads

    def record(
        self, srcs: tuple[Node, ...], attrs: dict[str, Any], shapes: Any, dtypes: Any
    ) -> Node:
        """Records the formula on nodes; ``shapes`` and ``dtypes`` are those of its results (the
        shape and the dtype of a single one).

        Raises:
            RuntimeError: the operands are on several devices.
        """
        place = srcs[0].device
        grad = False
        for src in srcs:
            if src.device is not place:
                device_error(srcs)
            if src.requires_grad:
                grad = True
        pending.count += 1
        if grad:
            grad = mode.grad and (self.multi or dtypes.category >= 2)
        out = Node(self, srcs, attrs, shapes, dtypes, place, None, grad)
        out.serial = pending.count
        return out


def is_heavy(node: Node) -> bool:
    """Whether a node, or the one that it is a result of, is heavy and waits for gradients."""
    if node.op is ITEM and node.srcs:
        node = node.srcs[0]
    return node.op.heavy and not node.freed


def holds_arrays(results: tuple[Node, ...], operands: tuple[Node, ...]) -> bool:
    """Whether what a body recorded reads arrays that are not among its operands: these are values,
    which no program holds.
    """
    seen = {id(n) for n in operands}
    stack = list(results)
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            if node.op is BUFFER or node.value is not None:
                return True
            stack += node.srcs
    return False
