"""Programs that come again: on a GPU, a run is recorded and repeated as one launch.

A loop that observes its loss runs the same program at every step, on other arrays and with other
numbers. From the fourth run on it is a CUDA graph; what it reads is copied in unless it lies where
it lay before, and what it gives is copied out. ``CUPOLA_GRAPHS=0`` switches that off.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from cupola.backends.base import Backend, NotRecorded
from cupola.engine.run import run, stats
from cupola.engine.weights import gather
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.source import BUFFER

enabled = os.environ.get("CUPOLA_GRAPHS", "1") not in ("", "0")

_PLAIN = 3  # runs before one is recorded
_LEAST = 4  # launches that are worth it
_TRIES = 4  # recordings: arrays that were thought to stay may move after all
_MOST = 32  # recorded runs that are kept

_LAUNCHES = ("kernel", "kernels", "call", "fill", "contiguous")
_MAIN, _EARLY = "main", "early"

_kept: OrderedDict[int, Repeat] = OrderedDict()
_lock = threading.RLock()


def release() -> bool:
    """Gives back the memory of every recorded run, for good; False where there is none."""
    with _lock:
        found = list(_kept.values())
        _kept.clear()
        for each in found:
            each.tries, each.replay = 0, None
    return bool(found)


def suited(made: Any, engine: Backend) -> bool:
    """Whether a compiled program's runs can be recorded and are worth it."""
    if not engine.records or not engine.generates:
        return False
    plans = [made.plan] if made.weights is None else [made.plan, made.weights.plan]
    count = 0
    for plan in plans:
        items = plan.program.items
        if any(i.op is BUFFER and any(isinstance(n, tuple) for n in i.shape) for i in items):
            return False  # several results at once
        for step in plan.steps:
            count += step[0] in _LAUNCHES
            if step[0] == "call" and not engine.repeats(items[step[1]].op):
                return False
    return count >= _LEAST


class _Run:
    """What one run reads: arrays by place, numbers of the main plan, of the weights' plan."""

    __slots__ = ("arrays", "early", "numbers", "packed", "values")

    def __init__(
        self, made: Any, order: list[Node], engine: Backend, device: Device, derives: bool
    ):
        self.early: dict[int, Any] = {}
        self.arrays: dict[Any, Any] = {}
        self.packed: dict[int, Any] = {}
        if not derives:  # weights that are kept are read like arguments
            self.values, self.numbers, self.packed = made.prepare(order, engine, device)
        else:
            weights = made.weights
            self.values = [None] * len(made.plan.program.items)
            self.numbers = dict(made.fixed)
            gather(made.sources, order, self.values, self.numbers)
            given, self.early = weights.prepare(order)
            self.arrays = {(_EARLY, i): a for i, a in enumerate(given) if a is not None}
        self.arrays.update({(_MAIN, i): a for i, a in enumerate(self.values) if a is not None})


class Repeat:
    """The runs of one compiled program on one device."""

    def __init__(self, made: Any, engine: Backend, device: Device) -> None:
        self.made, self.engine, self.device = made, engine, device
        self.tries = _TRIES
        self.replay: Any = None
        self._runs = 0
        self._derives = made.weights is not None
        self._places: dict[Any, int] = {}
        self._moved: set[Any] = set()
        self._numbers: dict[int, Any] = {}
        self._early: dict[int, Any] = {}
        self._settings: Any = None
        wanted = made.plan.program.wanted
        results = {p for found in made.results.values() for p in found if p >= 0}
        self._wanted = sorted(wanted | results)

    def __call__(self, order: list[Node]) -> list[Any]:
        """Runs the program on the nodes' values; gives the values of the plan's items."""
        made, engine, device = self.made, self.engine, self.device
        if not enabled or not self.tries and self.replay is None:
            values: list[Any] = made(order, engine, device)
            return values
        with _lock:
            self._runs += 1
            if self._runs < _PLAIN:
                values = made(order, engine, device)
                return values
            if self._runs == _PLAIN:
                values = made(order, engine, device)
                self._derives = made.weights is not None and not made.weights.kept
                self._compare(_Run(made, order, engine, device, self._derives).arrays)
                return values
            here = _Run(made, order, engine, device, self._derives)
            same = self._compare(here.arrays)
            if self.replay is not None:
                if same and self._passes(here):
                    stats["graphs"] += 1
                    _kept.move_to_end(id(self))
                    return self._out(self.replay(here.arrays), here)
                self._drop()
            if self.tries and self._record(here):
                return self._out(self.replay(here.arrays), here)
            if self._derives:
                values = made(order, engine, device)
                return values
            run(made.plan, here.values, here.numbers, engine, device, here.packed)
            return here.values

    def _compare(self, arrays: dict[Any, Any]) -> bool:
        """Whether every array that was thought to stay is where it was."""
        address, places, same = self.engine.address, self._places, True
        for key, array in arrays.items():
            if key not in self._moved:
                at = address(array)
                if places.setdefault(key, at) != at:
                    self._moved.add(key)
                    same = False
        return same

    def _passes(self, here: _Run) -> bool:
        """Whether the recorded run, given this one's numbers, is this run."""
        if here.early != self._early or self.engine.settings() != self._settings:
            return False
        if not self.replay.at_home():
            return False
        old = self._numbers
        changed = {i for i, n in here.numbers.items() if not _alike(n, old[i])}
        if changed:
            try:
                self.replay.write(here.numbers, changed)
            except NotRecorded:
                return False
            self._numbers = here.numbers
        return True

    def _record(self, here: _Run) -> bool:
        self.tries -= 1
        made, engine, device, main = self.made, self.engine, self.device, _MAIN
        size = len(made.plan.program.items)

        def function(read: dict[Any, Any], watch: Any) -> dict[Any, Any]:
            values: list[Any] = [None] * size
            if self._derives:
                within: list[Any] = [None] * len(made.weights.plan.program.items)
                for (part, i), array in read.items():
                    if part is _EARLY:
                        within[i] = array
                run(made.weights.plan, within, here.early, engine, device)
                for p, position in made.weights.roots:
                    values[position] = within[p]
            for (part, i), array in read.items():
                if part is main:
                    values[i] = array
            run(made.plan, values, here.numbers, engine, device, here.packed, watch=watch)
            found = {i: values[i] for i in self._wanted if (main, i) not in read}
            return {i: array for i, array in found.items() if array is not None}

        last = not self.tries  # then everything is copied in, and nothing can move any more
        fed = [key for key in here.arrays if last or key in self._moved]
        if last:
            self._moved.update(fed)
        held = sum(r.replay.bytes for r in _kept.values() if r.device is device)
        try:
            self.replay = engine.replay(function, here.arrays, fed, device.index or 0, held)
        except NotRecorded:
            self.tries = 0
            return False
        self._numbers, self._early = here.numbers, here.early
        self._settings = engine.settings()
        _kept[id(self)] = self
        while len(_kept) > _MOST:
            _, oldest = _kept.popitem(last=False)
            oldest.replay, oldest.tries = None, 0
        return True

    def _drop(self) -> None:
        self.replay = None
        _kept.pop(id(self), None)

    def _out(self, results: dict[int, Any], here: _Run) -> list[Any]:
        for i, array in results.items():
            here.values[i] = array
        return here.values


def _alike(a: Any, b: Any) -> bool:
    return a is b or (a == b and (a != 0 or str(a) == str(b)))  # zeros have signs


__all__ = ["Repeat", "enabled", "release", "suited"]
