"""Runs a stage's ``cpu_src`` on NumPy arrays."""

from __future__ import annotations

import ctypes
import math
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola import engine
from cupola.backends.cpu import inline, threads
from cupola.backends.cpu.pool import SMALL
from cupola.backends.inline import Rejected
from cupola.code import cpp
from cupola.code.stage import Outcome, Stage, element
from cupola.code.where import translated
from cupola.ir import source
from cupola.ir.device import CPU
from cupola.ir.device import device as Device
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.program import strides_of

_READY = 256  # sizes kept for each stage
_POINTER = 16  # of the data pointer in a CPython array object
Quick = Callable[[Sequence[Node], tuple[Any, ...]], "list[Node] | None"]


class _Report(threading.local):
    """Words that a run reports back in, one set for each thread."""

    def __init__(self) -> None:
        self.words = (ctypes.c_int64 * (cpp.WORDS + cpp.MESSAGE // 8))()
        self.address = ctypes.addressof(self.words)

    def message(self) -> str:
        return ctypes.string_at(self.address + 8 * cpp.WORDS).decode(errors="replace")

    def clear(self) -> None:
        ctypes.memset(self.address, 0, ctypes.sizeof(self.words))


_report = _Report()


def _objects_hold_pointers() -> bool:
    probe = np.empty(7, np.float32)[2:]
    return bool(ctypes.c_void_p.from_address(id(probe) + _POINTER).value == probe.ctypes.data)


_DIRECT = _objects_hold_pointers()


def _address(array: Any) -> int:
    return id(array) + _POINTER


class CPURunner:
    """A stage on the CPU: code by rank, element type and layout; packed sizes by shape."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._functions: dict[Any, Any] = {}
        self._ready: dict[Any, tuple[Any, bytes]] = {}
        self._generation = threads.generation
        self._numbers = struct.Struct("".join(kind for _, kind in stage.data)).pack
        self._empty = engine.backend("cpu").empty
        count = len(stage.inputs) + len(stage.outputs)
        self._pack = struct.Struct(f"{count}Q").pack
        self._sizes = stage.initial_sizes()

    def __call__(
        self,
        arrays: Sequence[Any],
        shapes: tuple[tuple[int, ...], ...],
        numbers: tuple[Any, ...],
        index: int | None = None,
    ) -> tuple[Any, ...]:
        """The outputs; ``arrays`` are the inputs, then what outputs hold at the start, if given."""
        stage = self.stage
        outs = tuple([self._empty(s, d) for s, d in zip(shapes, stage.outputs)])
        if stage.given:
            for out, start in zip(outs, arrays[len(stage.inputs) :]):
                out[...] = start
            arrays = arrays[: len(stage.inputs)]
        key = (shapes, *[w for a in arrays for w in (a.shape, a.strides)])
        ready = self._ready.get(key)
        if ready is None or self._generation != threads.generation:
            ready = self._prepare(key, arrays, shapes)
        function, meta = ready
        sizes = np.array(self._sizes, np.int32) if self._sizes else None
        everything = (*arrays, *outs)
        if _DIRECT:
            objects, kept = self._pack(*map(_address, everything)), None
        else:
            kept = [ctypes.c_void_p(a.ctypes.data) for a in everything]
            objects = self._pack(*map(ctypes.addressof, kept))
        report = _report
        counters = sizes.ctypes.data if sizes is not None else None
        function(objects, meta, self._numbers(*numbers), counters, report.address)
        del kept
        if report.words[0]:
            self._raise(everything)
        return outs if sizes is None else stage.shrunk(outs, sizes.tolist(), np)

    def quick(self, shapes: tuple[tuple[int, ...], ...], device: Device) -> Quick | None:
        """A shorter way for calls that have been seen: nodes and numbers in, nodes out, or None
        where the long way has to be taken.
        """
        stage = self.stage
        if stage.given or self._sizes or not _DIRECT or not stage.inputs:
            return None
        if engine.backend("cpu").name != "cpu":
            return None
        small = all(math.prod(s) * d.itemsize < SMALL for s, d in zip(shapes, stage.outputs))
        pool: Any = engine.backend("cpu")
        empty = np.empty if small else pool.pool.empty
        makers = [(s, d.np, d) for s, d in zip(shapes, stage.outputs)]
        ready, pack, pack_numbers = self._ready, self._pack, self._numbers
        settings, report, stats, raise_ = threads, _report, engine.stats, self._raise
        none: dict[str, Any] = source.EMPTY_ATTRS
        buffer, address = source.BUFFER, _POINTER

        def run(nodes: Sequence[Node], numbers: tuple[Any, ...]) -> list[Node] | None:
            key: list[Any] = [shapes]
            objects = []
            grad = mode.grad
            for n in nodes:
                a = n.value
                if a is None or n.device is not CPU or (grad and n.requires_grad):
                    return None
                key += (a.shape, a.strides)
                objects.append(id(a) + address)
            found = ready.get(tuple(key))
            if found is None or self._generation != settings.generation:
                return None
            outs = []
            made = []
            for s, d, own in makers:
                out = empty(s, d)
                outs.append(out)
                objects.append(id(out) + address)
                made.append(Node(buffer, (), none, s, own, CPU, out))
            stats["calls"] += 1
            found[0](pack(*objects), found[1], pack_numbers(*numbers), None, report.address)
            if report.words[0]:
                raise_((*[n.value for n in nodes], *outs))
            return made

        return run

    def _prepare(
        self, key: Any, arrays: Sequence[Any], shapes: tuple[tuple[int, ...], ...]
    ) -> tuple[Any, bytes]:
        if self._generation != threads.generation or len(self._ready) >= _READY:
            self._ready.clear()
            self._generation = threads.generation
        layout = tuple((a.ndim, element(a.dtype), a.flags.c_contiguous) for a in arrays)
        function = self._functions.get(layout)
        if function is None:
            function = self._functions[layout] = self._compile(layout)
        words = [threads.count]
        for a in arrays:
            words += [*a.shape, *(s // a.itemsize for s in a.strides)]
        for s in shapes:
            words += [*s, *strides_of(s)]
        meta = struct.pack(f"{len(words)}q", *words)
        ready = self._ready[key] = (function, meta)
        return ready

    def _compile(self, layout: Any) -> Any:
        stage = self.stage
        header, source = stage.text("cpu")
        unit = stage.unit(header, source, layout)
        texts = {cpp.HEADER: header, cpp.SOURCE: source}
        try:
            text = cpp.generate(unit)
            function = inline.load(
                text, cpp.ENTRY, stage.options.flags, stage.options.include_dirs,
                stage.options.libraries,
            )  # fmt: skip
        except cpp.Located as error:
            raise texts[error.part].error(error.error.line, str(error)) from None
        except Rejected as error:
            raise translated(error.log, texts, error.compiler) from None
        function.restype = None
        function.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_void_p] * 2
        return function

    def _raise(self, arrays: tuple[Any, ...]) -> None:
        words = list(_report.words[: cpp.WORDS])
        message = _report.message()
        _report.clear()
        raise self.stage.failure("cpu", Outcome(words, message), [a.shape for a in arrays])
