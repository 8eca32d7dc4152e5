"""Formulas: many primitives recorded as one node, written out where a program is planned.

An optimizer's update of a parameter is a dozen primitives, the same for every parameter at every
step. Recorded as a formula it is one node and one for each result; `schedule/formulas.py` puts the
primitives in its place when a new program is planned, so that nothing changes for kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.ir.node import Node
from cupola.ir.op import Primitive


class Formula(Primitive):
    """A primitive with several results that other primitives compute.

    Attributes:
        body: ``body(*nodes, **attrs)`` records the primitives on nodes; gives a node a result.
        like: for each result, the operand whose shape and dtype it has.
    """

    __slots__ = ("body", "like")

    def __init__(
        self, name: str, like: tuple[int, ...], body: Callable[..., tuple[Node, ...]]
    ) -> None:
        super().__init__(name, "formula", self._infer, multi=True)
        self.like = like
        self.body = body

    def _infer(self, *srcs: Node, **_: Any) -> Any:
        return tuple([srcs[k].shape for k in self.like]), tuple([srcs[k].dtype for k in self.like])
