"""Formulas: many primitives recorded as one node, written out where a program is planned.

An optimizer's update of a parameter is a dozen primitives, the same for every parameter at every
step; the gradients of a network are hundreds. Recorded as a formula they are one node and one for
each result; `schedule/formulas.py` puts the
primitives in its place when a new program is planned, so that nothing changes for kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.ir.node import Node
from cupola.ir.op import Primitive


class Formula(Primitive):
    """A primitive with several results that other primitives compute.

    Gradients pass through it as through its primitives.

    Attributes:
        infer: the results' shapes and dtypes, a tuple of each.
        body: ``body(*nodes, **attrs)`` records the primitives on nodes; gives a node a result.
    """

    __slots__ = ("body",)

    def __init__(
        self, name: str, infer: Callable[..., Any], body: Callable[..., tuple[Node, ...]]
    ) -> None:
        super().__init__(name, "formula", infer, vjp=(), multi=True)
        self.body = body
