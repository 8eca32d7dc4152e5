"""What is derived from weights alone is kept while the nodes behind it are the same.

Nodes are immutable, so the same nodes mean the same values. A derived weight is kept from the
second run on in which its nodes are met again: in training they never are, and nothing is held.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

from cupola.backends.base import Backend, WeightKey
from cupola.engine.run import run
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.number import Dynamic
from cupola.ir.program import Plan, fixed_numbers
from cupola.ir.source import BUFFER, CONST

_serial = itertools.count(1)

Sources = list[tuple[int, int]]


def gather(
    sources: list[tuple[int, int]], order: list[Node], values: list[Any], numbers: dict[int, Any]
) -> None:
    """Puts given arrays and numbers where a plan expects them."""
    for i, p in sources:
        node = order[i]
        if node.value is not None:
            values[p] = node.value
        elif node.op is CONST:
            value = node.attrs["value"]
            numbers[p] = value.value if type(value) is Dynamic else value


class Weights:
    """The derived weights of one program.

    Attributes:
        plan: computes them.
        sources: (node of the program, item of the plan) of what they are computed from.
        roots: (item of the plan, item of the program's main plan) of each.
        calls: (library call in the main plan, root's number) where a packed weight can be kept.
        fixed: whether the weights stay for many runs.
    """

    def __init__(
        self, plan: Plan, place: list[int], roots: tuple[tuple[int, int], ...], fixed: bool
    ) -> None:
        self.plan = plan
        self.fixed = fixed
        self.roots = roots
        self.sources = [
            (i, p)
            for i, p in enumerate(place)
            if p >= 0 and plan.program.items[p].op in (BUFFER, CONST)
        ]
        self.numbers = fixed_numbers(plan.program.items)
        self.calls: list[tuple[int, int]] = []
        self._seen: list[weakref.ref[Node]] = []
        self._numbers: dict[int, Any] = {}
        self._kept: list[Any] | None = None
        self._key = 0

    def mark(self, main: Plan) -> None:
        """Notes which library calls of the main plan read a derived weight."""
        number = {position: k for k, (_, position) in enumerate(self.roots)}
        for i, item in enumerate(main.program.items):
            if item.op.kind == "library" and len(item.srcs) > 1 and item.srcs[1] in number:
                self.calls.append((i, number[item.srcs[1]]))

    @property
    def kept(self) -> bool:
        """Whether the derived weights of the last run are kept for the next."""
        return self._kept is not None

    def prepare(self, order: list[Node]) -> tuple[list[Any], dict[int, Any]]:
        """Arrays and numbers that the plan begins with."""
        given: list[Any] = [None] * len(self.plan.program.items)
        numbers = dict(self.numbers)
        gather(self.sources, order, given, numbers)
        return given, numbers

    def fill(
        self, values: list[Any], order: list[Node], engine: Backend, device: Device
    ) -> dict[int, Any]:
        """Puts the derived weights where the main plan reads them.

        Gives keys for packed weights: for a library call's item, what stands for its contents.
        """
        given, numbers = self.prepare(order)
        same = self._same(order, numbers)
        if not same:
            self._forget(engine)
            self._remember(order, numbers)
        derived = self._kept
        if derived is None:
            run(self.plan, given, numbers, engine, device)
            derived = [given[p] for p, _ in self.roots]
            if same or self.fixed:
                self._kept = derived
                self._key = next(_serial)
        for (_, position), value in zip(self.roots, derived, strict=True):
            values[position] = value
        if self._kept is None or not engine.packs:
            return {}
        return {i: self._name(k) for i, k in self.calls}

    def _name(self, root: int) -> WeightKey:
        return WeightKey(self._key, root, self.fixed)

    def _same(self, order: list[Node], numbers: dict[int, Any]) -> bool:
        nodes = [order[i] for i, _ in self.sources if order[i].value is not None]
        return (
            len(nodes) == len(self._seen)
            and all(ref() is node for ref, node in zip(self._seen, nodes, strict=True))
            and numbers == self._numbers
        )

    def _remember(self, order: list[Node], numbers: dict[int, Any]) -> None:
        self._seen = [weakref.ref(order[i]) for i, _ in self.sources if order[i].value is not None]
        self._numbers = numbers

    def _forget(self, engine: Backend) -> None:
        if self._kept is not None:
            engine.forget([self._name(k) for k in range(len(self.roots))])
            self._kept = None
