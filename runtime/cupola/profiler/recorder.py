"""Notes what the engine runs. While nothing is recorded, the engine is untouched."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from typing import Any

from cupola.code import call as _code  # noqa: F401  (loaded, so that it can be told to record)
from cupola.engine import compiled, repeat, weights
from cupola.engine.capture import Capture
from cupola.engine.compiled import Compiled
from cupola.engine.lines import user_line
from cupola.ir.formula import Formula
from cupola.ir.op import Primitive
from cupola.ir.source import ITEM
from cupola.profiler.events import Event

_SILENT = ("buffer", "const")
_MOST_NAMES = 12


class _Launches:
    """A plan's launches, each with a clock."""

    def __init__(self, recorder: Recorder, plan: Any, engine: Any, device: Any) -> None:
        self.recorder, self.plan, self.engine, self.device = recorder, plan, engine, device

    def get(self, k: int) -> Callable[..., None]:
        step = self.plan.steps[k]
        launch = self.plan.launches.get(k)
        if launch is None:
            lows = step[1] if step[0] == "kernels" else (step[1],)
            make = self.engine.compile_many if step[0] == "kernels" else self.engine.compile
            launch = self.plan.launches[k] = make(lows[0].kernel)
        lows = step[1] if step[0] == "kernels" else (step[1],)
        items = self.plan.program.items
        outputs = [i for low in lows for i in low.outputs]
        name = self.recorder.kernel_name(items, lows[0])
        shapes = tuple(items[i].shape for i in outputs)
        place = self.recorder.place_of(outputs)

        def timed(*args: Any) -> None:
            with self.recorder.clock(name, "kernel", self.engine, self.device, place, shapes):
                launch(*args)

        return timed

    def __setitem__(self, k: int, launch: Any) -> None:
        pass


class _Timed:
    """A backend whose library calls have a clock."""

    def __init__(self, recorder: Recorder, engine: Any, device: Any) -> None:
        self._recorder, self._engine, self._device = recorder, engine, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def call(self, op: Any, arrays: Any, attrs: Any, like: Any) -> Any:
        shapes = like.shape if op.multi else (like.shape,)
        place = self._recorder.place_of_call(op, like)
        clock = self._recorder.clock(op.name, "library", self._engine, self._device, place, shapes)
        with clock:
            return self._engine.call(op, arrays, attrs, like)


class _Clock:
    """Measures one piece of work; on a GPU by events, which are read at the end."""

    def __init__(self, recorder: Recorder, event: Event, engine: Any) -> None:
        self.recorder, self.event, self.engine = recorder, event, engine

    def __enter__(self) -> None:
        if self.event.on_gpu:
            cuda = self.engine.xp.cuda
            self.marks = cuda.Event(), cuda.Event()
            self.recorder.start_of_gpu(self.engine)
            self.marks[0].record()
        self.event.start = self.recorder.now()

    def __exit__(self, *exc: object) -> None:
        if self.event.on_gpu:
            self.marks[1].record()
            self.recorder.pending.append((self.event, self.marks, self.engine))
        else:
            self.event.duration = self.recorder.now() - self.event.start
        if self.recorder.memory:
            self.event.memory = _in_use(self.engine)
        self.recorder.events.append(self.event)


def _in_use(engine: Any) -> int | None:
    if engine.name == "cuda":
        return int(engine.xp.get_default_memory_pool().used_bytes())
    pool = getattr(engine, "pool", None)
    return None if pool is None else int(pool.live)


class Recorder:
    """Between ``start`` and ``stop``, collects events and the plans that ran.

    Attributes:
        events: in order of their start on the host.
        plans: (plan, positions' places in the program, device) of every run.
    """

    active: Recorder | None = None

    def __init__(self, memory: bool = False, lines: bool = True) -> None:
        self.memory, self.lines = memory, lines
        self.events: list[Event] = []
        self.plans: list[tuple[Any, dict[int, str]]] = []
        self.pending: list[Any] = []
        self._places: dict[int, str] = {}
        self._current: dict[int, str] = {}
        self._by_op: dict[Any, str] = {}
        self._base: Any = None
        self._base_time = 0.0
        self._zero = time.perf_counter()
        self._undo: list[tuple[Any, str, Any]] = []

    def now(self) -> float:
        """Microseconds since the profile began."""
        return 1e6 * (time.perf_counter() - self._zero)

    def clock(
        self, name: str, kind: str, engine: Any, device: Any, place: str, shapes: Any
    ) -> _Clock:
        return _Clock(self, Event(name, kind, str(device), 0.0, 0.0, place, tuple(shapes)), engine)

    def start_of_gpu(self, engine: Any) -> None:
        """A mark on the GPU's time line whose place on the host's is known."""
        if self._base is None:
            self._base = engine.xp.cuda.Event()
            engine.synchronize()
            self._base.record()
            self._base_time = self.now()

    # --- switching on and off

    def start(self) -> None:
        """Begins.

        Raises:
            RuntimeError: another profile is being recorded.
        """
        if Recorder.active is not None:
            raise RuntimeError("a profile is being recorded already: profiles cannot be nested")
        Recorder.active = self
        self._replace(compiled, "run", self._run(compiled.run))
        if hasattr(weights, "run"):
            self._replace(weights, "run", self._run(weights.run))
        self._replace(repeat, "enabled", False)
        self._replace(Compiled, "__call__", self._called(Compiled.__call__))
        self._replace(Capture, "__call__", self._replayed(Capture.__call__))
        if self.lines:
            self._replace(Primitive, "__call__", self._noting(Primitive.__call__))
            self._replace(Formula, "record", self._noting(Formula.record))
        # Sources of cupola.code go through the engine too, rather than straight to the device.
        self._replace(sys.modules["cupola.code.call"], "deferred", lambda: True)

    def stop(self) -> None:
        """Ends, and reads the GPU's clocks."""
        if Recorder.active is not self:
            return
        Recorder.active = None
        for owner, name, old in reversed(self._undo):
            setattr(owner, name, old)
        self._undo.clear()
        for event, (first, last), engine in self.pending:
            last.synchronize()
            elapsed = engine.xp.cuda.get_elapsed_time
            event.start = self._base_time + 1e3 * elapsed(self._base, first)
            event.duration = 1e3 * elapsed(first, last)
        self.pending.clear()

    def _replace(self, owner: Any, name: str, new: Any) -> None:
        self._undo.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, new)

    # --- what stands in for the engine's functions

    def _run(self, real: Any) -> Any:
        def run(
            plan: Any, values: Any, numbers: Any, engine: Any, device: Any, *rest: Any, **more: Any
        ) -> Any:
            self.plans.append((plan, dict(self._current)))
            shadow = copy.copy(plan)
            shadow.launches = _Launches(self, plan, engine, device)
            timed = _Timed(self, engine, device)
            return real(shadow, values, numbers, timed, device, *rest, **more)

        return run

    def _called(self, real: Any) -> Any:
        def call(made: Any, order: Any, *args: Any, **kwargs: Any) -> Any:
            self._current = {}
            self._by_op = {}
            items = made.plan.program.items
            for i, (node, p) in enumerate(zip(order, made.place)):
                part = node.op is ITEM and node.srcs
                place = self._places.get(id(node.srcs[0] if part else node))
                if place is not None:
                    for k in made.results.get(i, (p,)):
                        if k >= 0 and items[k].op.name not in _SILENT:
                            self._current[k] = place
            self._pass_on(items)
            return real(made, order, *args, **kwargs)

        return call

    def _pass_on(self, items: Any) -> None:
        """Parts of operators that were recorded as one, and what passes put in between, are work
        for the first result that uses them and has a line.
        """
        for p in range(len(items) - 1, -1, -1):
            place = self._current.get(p)
            if place is None:
                continue
            self._by_op[items[p].op, items[p].shape] = place
            for source in items[p].srcs:
                if source not in self._current and items[source].op.name not in _SILENT:
                    self._current[source] = place

    def _replayed(self, real: Any) -> Any:
        def call(capture: Any, *args: Any, **kwargs: Any) -> Any:
            if capture.graph is None:
                return real(capture, *args, **kwargs)
            # A CUDA graph is one launch: its kernels cannot be told apart from outside.
            shapes = tuple(capture.graph.results[k].shape for k in range(len(capture.results)))
            clock = self.clock(
                "CUDA graph", "graph", capture.backend, capture.device, user_line(), shapes
            )
            with clock:
                return real(capture, *args, **kwargs)

        return call

    def _noting(self, real: Any) -> Any:
        places = self._places

        def note(op: Any, *srcs: Any, **attrs: Any) -> Any:
            out = real(op, *srcs, **attrs)
            places[id(out)] = user_line()
            return out

        return note

    # --- names

    def place_of(self, outputs: list[int]) -> str:
        """The Python line of the last result that has one."""
        for i in reversed(outputs):
            if i in self._current:
                return self._current[i]
        return ""

    def place_of_call(self, op: Any, like: Any) -> str:
        return self._by_op.get((op, like.shape), "")

    @staticmethod
    def kernel_name(items: Any, low: Any) -> str:
        """The operators that a kernel computes, in the order of the program."""
        inside: set[int] = set()
        stack = list(low.outputs)
        while stack:
            i = stack.pop()
            if i in inside or (i in low.inputs and i not in low.outputs):
                continue
            inside.add(i)
            stack.extend(items[i].srcs)
        names = [
            items[i].op.name
            for i in sorted(inside)
            if items[i].op.kind not in ("movement", "source", "alias")
        ] or [items[i].op.name for i in sorted(inside) if items[i].op.name not in _SILENT]
        if len(names) > _MOST_NAMES:
            names = [*names[:_MOST_NAMES], f"… ({len(names)})"]
        return "+".join(names) or "copy"
