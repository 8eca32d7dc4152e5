"""A recorded call made replayable: its program is planned once and runs on new inputs.

On a GPU the launches are recorded into one CUDA graph. Whoever replays guarantees that recording
the call again would give the same program; ``jit`` holds the guards.
"""

from __future__ import annotations

from typing import Any

from cupola.engine.compiled import Compiled
from cupola.engine.devices import backend
from cupola.engine.realize import array_of, described, walk
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.program import Item, Program
from cupola.ir.source import ITEM, buffer

__all__ = ["Capture", "sources"]


def sources(outputs: list[Node]) -> list[Node]:
    """The values that a recorded, unrealized graph reads."""
    return [n for n in walk(outputs) if n.value is not None]


class Capture:
    """Results of a recorded graph as a function of some of the values it reads.

    Args:
        outputs: unrealized nodes of one device.
        inputs: values that change from call to call; every other one is kept.
    """

    def __init__(self, outputs: list[Node], inputs: list[Node], device: Device) -> None:
        self.device = device
        self.backend = backend(device.type)
        for n in inputs:
            if not n.value.flags.c_contiguous:
                n.value = self.backend.xp.ascontiguousarray(n.value)
        order = walk(outputs)
        index = {id(n): i for i, n in enumerate(order)}
        wanted = frozenset(index[id(n)] for n in outputs)
        items = [Item(*d) for d in described(order)]
        self.compiled = Compiled(
            Program(items, wanted, device.type), self.backend, frozen=True
        )
        self.results = [self.compiled.place[index[id(n)]] for n in outputs]
        self.kinds = [(n.dtype, device) for n in outputs]
        # What the plan reads is kept; the recorded graph is not.
        self.order: list[Node] = [
            n if n.value is not None or n.op.name == "const" else _EMPTY for n in order
        ]
        self.slots = [index.get(id(n), -1) for n in inputs]
        self.graph: Any = None
        self.static: list[Any] = []
        if self.backend.records:
            self._record([n.value for n in inputs])
        else:
            for slot in self.slots:
                if slot >= 0:
                    self.order[slot] = _EMPTY

    def _record(self, arrays: list[Any]) -> None:
        xp = self.backend.xp
        self.static = [xp.array(a, copy=True) if s >= 0 else a for a, s in zip(arrays, self.slots)]
        for slot, array in zip(self.slots, self.static, strict=True):
            if slot >= 0:
                self.order[slot] = buffer(array, self.order[slot].dtype, self.device)
        self.graph = self.backend.record(self._run, self.device.index or 0)

    def _run(self) -> list[Any]:
        values = self.compiled(self.order, self.backend, self.device)
        return [values[p] for p in self.results]

    def __call__(self, inputs: list[Node]) -> list[Node]:
        """New nodes with the results for these inputs, of the shapes and dtypes recorded."""
        arrays = [n.value if n.value is not None else array_of(n) for n in inputs]
        if self.graph is not None:
            self.graph.feed(self.static, arrays)
            results = self.graph()
        else:
            for slot, node, array in zip(self.slots, inputs, arrays, strict=True):
                if slot >= 0:
                    array = self.backend.xp.ascontiguousarray(array)
                    self.order[slot] = buffer(array, node.dtype, self.device)
            results = self._run()
            for slot in self.slots:
                if slot >= 0:
                    self.order[slot] = _EMPTY
        return [buffer(r, d, v) for r, (d, v) in zip(results, self.kinds, strict=True)]


_EMPTY = Node(ITEM, (), {}, (), None, Device("cpu"))
