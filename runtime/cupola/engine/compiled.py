"""A program made ready to run."""

from __future__ import annotations

from typing import Any

from cupola.backends.base import Backend
from cupola.codegen import lower as lowering
from cupola.engine import repeat
from cupola.engine.run import run
from cupola.engine.weights import Weights, gather
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.program import Plan, Program, fixed_numbers
from cupola.ir.source import BUFFER, CONST
from cupola.schedule import Lowering, expand, plan, simplify, split

_LOWERING = Lowering(lowering.lower, lowering.view)


class Compiled:
    """A program made ready to run.

    Attributes:
        plan: its steps.
        place: for each node of the program, the position of its value in the plan (-1: none).
        results: for each formula, the positions of its results.
        weights: what is derived from weights alone, or None.
        repeated: whether runs of ``again`` may be recorded; ``repeats``: they, by device.

    ``frozen`` says that the weights stay for many runs: more is folded into them. ``varying`` are
    the items whose arrays change between runs though their nodes may not: nothing derived from
    them is kept.
    """

    __slots__ = (
        "fixed", "place", "plan", "repeated", "repeats", "results", "sources", "weights",
    )  # fmt: skip

    def __init__(
        self,
        program: Program,
        engine: Backend,
        frozen: bool = False,
        varying: frozenset[int] = frozenset(),
    ) -> None:
        program, where, results = expand(program)
        varying = frozenset(where[i] for i in varying)
        short, new = simplify(program, libraries=engine.generates, half=frozen)
        place = [new[w] if w >= 0 else -1 for w in where]
        within = new
        self.weights: Weights | None = None
        if engine.generates:
            rest, where, prologue = split(short, frozenset(new[i] for i in varying), frozen)
            if prologue is not None:
                before = [prologue.place[p] if p >= 0 else -1 for p in place]
                early = plan(prologue.program, _LOWERING)
                self.weights = Weights(early, before, prologue.roots, frozen)
            place = [where[p] if p >= 0 else -1 for p in place]
            within = [where[p] if p >= 0 else -1 for p in new]
            self.plan = plan(rest, _LOWERING)
            if self.weights is not None:
                self.weights.mark(self.plan)
        else:
            self.plan = _interpreted(short)
        self.repeated = repeat.suited(self, engine)
        self.repeats: dict[int, repeat.Repeat] = {}
        self.place = place
        self.results = {i: [within[p] for p in found] for i, found in results.items()}
        self._find_sources()

    def follow(self, place: list[int]) -> None:
        """Renumbers the nodes: ``place`` has each one's position in the program."""
        self.place = [self.place[p] if p >= 0 else -1 for p in place]
        self._find_sources()

    def _find_sources(self) -> None:
        items = self.plan.program.items
        self.sources = [
            (i, p) for i, p in enumerate(self.place) if p >= 0 and items[p].op in (BUFFER, CONST)
        ]
        self.fixed = fixed_numbers(items)

    def __call__(
        self,
        order: list[Node],
        engine: Backend,
        device: Device,
        given: dict[int, Any] | None = None,
    ) -> list[Any]:
        """Runs on the values of the program's nodes; gives the values of the plan's items.

        ``given`` holds arrays for kernels to write items of the plan to.
        """
        values, numbers, packed = self.prepare(order, engine, device)
        run(self.plan, values, numbers, engine, device, packed, given)
        return values

    def prepare(
        self, order: list[Node], engine: Backend, device: Device
    ) -> tuple[list[Any], dict[int, Any], dict[int, Any]]:
        """What a run begins with: given arrays and derived weights, numbers, keys of weights."""
        values: list[Any] = [None] * len(self.plan.program.items)
        numbers = dict(self.fixed)
        packed: dict[int, Any] = {}
        if self.weights is not None:
            packed = self.weights.fill(values, order, engine, device)
        gather(self.sources, order, values, numbers)
        return values, numbers, packed

    def again(self, order: list[Node], engine: Backend, device: Device) -> list[Any]:
        """Like a call, by somebody who may run the program many times: see ``repeat``."""
        try:
            if not self.repeated:
                return self(order, engine, device)
            found = self.repeats.get(device.index or 0)
            if found is None:
                found = self.repeats[device.index or 0] = repeat.Repeat(self, engine, device)
            return found(order)
        except MemoryError:
            if not repeat.release():
                raise
        return self(order, engine, device)  # what the failed run held is gone by now


def _interpreted(program: Program) -> Plan:
    """A plan that runs every item by its reference: for backends that generate no kernels."""
    out = Plan(program)
    for i, item in enumerate(program.items):
        if item.op.name == "const":
            out.steps.append(("fill", i))
        elif item.op.name != "buffer":
            out.steps.append(("call", i))
    return out
