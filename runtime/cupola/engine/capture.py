"""A recorded call made replayable: its program is planned once and runs on new inputs.

On a GPU the launches are recorded into one CUDA graph. Whoever replays guarantees that recording
the call again would give the same program; ``jit`` holds the guards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.engine.compiled import Compiled
from cupola.engine.devices import backend
from cupola.engine.inplace import in_place
from cupola.engine.memory import explained
from cupola.engine.realize import array_of, described, walk, written
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.number import Dynamic, evaluate
from cupola.ir.program import Plan, Program
from cupola.ir.source import CONST, ITEM, buffer, const
from cupola.schedule.rewrite import Rewrite


def sources(outputs: list[Node]) -> list[Node]:
    """The values and constants that a recorded, unrealized graph reads."""
    return [n for n in walk(outputs) if n.value is not None or n.op is CONST]


def plans(outputs: list[Node], device: Device) -> tuple[Plan, Plan | None]:
    """What would run to compute a recorded graph, and to derive its weights before that."""
    order = walk(outputs)
    index = {id(n): i for i, n in enumerate(order)}
    wanted = frozenset(index[id(n)] for n in outputs)
    program = Program(written(described(order)), wanted, device.type)
    made = Compiled(program, backend(device.type))
    return made.plan, None if made.weights is None else made.weights.plan


class Capture:
    """A recorded graph as a function of some of the values it reads.

    Args:
        outputs: unrealized nodes of one device; each call gives new nodes for them.
        inputs: values that change from call to call; every other one is kept.
        writes: (value read, node that replaces it) of tensors that the call overwrites. Their
            values live in ``static`` arrays, which every call updates.
        kept: unrealized nodes whose values each call leaves in the same arrays, ``left``.
    """

    def __init__(
        self,
        outputs: list[Node],
        inputs: list[Node],
        device: Device,
        writes: Sequence[tuple[Node, Node]] = (),
        kept: Sequence[Node] = (),
    ) -> None:
        self.device = device
        self.backend = backend(device.type)
        xp = self.backend.xp
        for n in (*inputs, *(old for old, _ in writes)):
            if not n.value.flags.c_contiguous:
                n.value = xp.ascontiguousarray(n.value)
        results = [*outputs, *(new for _, new in writes), *kept]
        order = walk(results)
        index = {id(n): i for i, n in enumerate(order)}
        self._number(order)
        wanted = frozenset(index[id(n)] for n in results)
        program = Program(written(described(order)), wanted, device.type)
        place = list(range(len(order)))
        if self.keys and self.backend.records:
            program, place = self._with_numbers(program, order)
        changing = (*inputs, *(old for old, _ in writes))
        varying = frozenset(place[index[id(n)]] for n in changing if id(n) in index)
        self.compiled = Compiled(program, self.backend, frozen=not writes, varying=varying)
        self.compiled.follow(place)
        where = [self.compiled.place[index[id(n)]] for n in results]
        self.results = where[: len(outputs)]
        self.written = where[len(outputs) : len(outputs) + len(writes)]
        self.kept = where[len(outputs) + len(writes) :]
        self.kinds = [(n.dtype, device) for n in outputs]
        # What the plan reads is kept; the recorded graph is not.
        self.order: list[Node] = [
            n if n.value is not None or n.op is CONST else _EMPTY for n in order
        ]
        if self.table is not None:
            self.order.append(_EMPTY)
        self.slots = [index.get(id(n), -1) for n in inputs]
        self.static = [xp.array(old.value, copy=True) for old, _ in writes]
        self._bind([index.get(id(old), -1) for old, _ in writes], self.static)
        reads = [self.compiled.place[index[id(o)]] if id(o) in index else -1 for o, _ in writes]
        self.given = {
            new: array
            for old, new, array in zip(reads, self.written, self.static, strict=True)
            if old >= 0 and in_place(self.compiled.plan, old, new)
        }
        slots = [index.get(id(old), -1) for old, _ in writes]
        self.keepers = [self.order[s] if s >= 0 else None for s in slots]
        self.left: list[Any] = []
        self.graph: Any = None
        self.feeds: list[Any] = []
        if self.backend.records:
            self._record([n.value for n in inputs])

    # --- numbers that change

    def _number(self, order: list[Node]) -> None:
        """Finds constants that are expressions of changing numbers."""
        self.changing: list[tuple[int, Any]] = []
        keys: dict[Any, int] = {}
        for i, n in enumerate(order):
            if n.op is CONST and n.value is None and type(n.attrs["value"]) is Dynamic:
                key = n.attrs["value"].key
                self.changing.append((i, key))
                keys.setdefault(key, len(keys))
        self.keys = list(keys)
        self.table: Any = None

    def _with_numbers(self, program: Program, order: list[Node]) -> tuple[Program, list[int]]:
        """Reads changing numbers from an array: a graph keeps the arguments of its launches."""
        out = Rewrite(program)
        count = len(self.keys)
        shape = (count,)
        which = {i: self.keys.index(key) for i, key in self.changing}
        table = -1
        for i, item in enumerate(program.items):
            if i not in which:
                out.keep(i)
                continue
            if table < 0:
                table = out.add("buffer", (), shape, dtypes.float64, strides=None)
            k = which[i]
            one = out.add(
                "slice", (table,), (1,), dtypes.float64, starts=(k,), stops=(k + 1,), steps=(1,)
            )
            one = out.add("cast", (one,), (1,), item.dtype, dtype=item.dtype)
            flat = out.reshaped(one, (1,) * len(item.shape))
            if item.shape != out.items[flat].shape:
                flat = out.add("expand", (flat,), item.shape, item.dtype, shape=item.shape)
            out.place[i] = flat
        new, place = out.done()
        self.table = np.empty(count, np.float64)
        place.append(table)
        return new, place

    # --- running

    def _bind(self, slots: list[int], arrays: list[Any]) -> None:
        for slot, array in zip(slots, arrays, strict=True):
            if slot >= 0:
                old = self.order[slot]
                self.order[slot] = buffer(array, old.dtype, self.device)

    def _record(self, arrays: list[Any]) -> None:
        xp = self.backend.xp
        self.feeds = [xp.array(a, copy=True) if s >= 0 else a for a, s in zip(arrays, self.slots)]
        self._bind(self.slots, self.feeds)
        if self.table is not None:
            self.numbers = xp.zeros(self.table.shape, np.float64)
            self.order[-1] = buffer(self.numbers, dtypes.float64, self.device)
        before = [a.copy() for a in self.static]
        self.graph = self.backend.record(self._run, self.device.index or 0)
        for array, old in zip(self.static, before, strict=True):
            array[...] = old
        self.left = self.graph.results[len(self.results) :]
        del self.graph.results[len(self.results) :]

    def _run(self) -> list[Any]:
        values = self.compiled(self.order, self.backend, self.device, self.given)
        for item, array in zip(self.written, self.static, strict=True):
            if values[item] is not array:
                array[...] = values[item]
        return [values[p] for p in (*self.results, *self.kept)]

    def __call__(self, inputs: list[Node], numbers: dict[Any, float]) -> list[Node]:
        """New nodes with the results for these inputs, of the shapes and dtypes recorded."""
        with explained():
            return self._given(inputs, numbers)

    def _given(self, inputs: list[Node], numbers: dict[Any, float]) -> list[Node]:
        arrays = [n.value if n.value is not None else array_of(n) for n in inputs]
        if self.graph is not None:
            if self.table is not None:
                self.table[:] = [evaluate(key, numbers) for key in self.keys]
                self.numbers.set(self.table)
            self.graph.feed(self.feeds, arrays)
            results = self.graph()
        else:
            results = self._interpret(inputs, arrays, numbers)
        return [buffer(r, d, v) for r, (d, v) in zip(results, self.kinds, strict=True)]

    def _interpret(
        self, inputs: list[Node], arrays: list[Any], numbers: dict[Any, float]
    ) -> list[Any]:
        for slot, node, array in zip(self.slots, inputs, arrays, strict=True):
            if slot >= 0:
                array = self.backend.xp.ascontiguousarray(array)
                self.order[slot] = buffer(array, node.dtype, self.device)
        for i, key in self.changing:
            n = self.order[i]
            self.order[i] = const(evaluate(key, numbers), n.shape, n.dtype, n.device)
        found = self._run()
        for slot in self.slots:
            if slot >= 0:
                self.order[slot] = _EMPTY
        results, left = found[: len(self.results)], found[len(self.results) :]
        if not self.left:
            self.left = left
        else:
            for old, new in zip(self.left, left, strict=True):
                old[...] = new
        return results


_EMPTY = Node(ITEM, (), {}, (), None, Device("cpu"))

__all__ = ["Capture", "plans", "sources"]
