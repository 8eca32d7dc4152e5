"""A kernel made callable: plans by size, functions by variant, one parameter block a launch."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Sequence
from typing import Any

from cupola.backends.cuda import compiler
from cupola.backends.cuda.device import current, device_count, processors, require
from cupola.backends.cuda.driver import Call
from cupola.backends.cuda.scratch import scratch
from cupola.codegen.cuda import Choice, entry, head, plan, source, words
from cupola.codegen.form import Kernel

Ready = tuple[tuple[Call, ...], int]


class KernelLaunch:
    """``launch(buffers, meta, scalars)`` of one kernel, for CuPy arrays.

    Works on the current stream and can be captured into a CUDA graph.
    """

    def __init__(self, kernel: Kernel, choice: Choice | None = None) -> None:
        self.kernel = kernel
        self.choice = choice
        self._head = head(kernel)
        self._static = words(kernel).meta
        self._whole = tuple(not d.is_floating_point for d in kernel.scalars)
        self._plans: dict[Any, Ready] = {}
        self._lock = threading.Lock()
        # One tuple, replaced whole: other threads may launch at the same time.
        self._recent: tuple[Any, Ready, tuple[int, ...]] = (None, ((), 0), ())
        self._stream = require().cuda.get_current_stream
        self._several = device_count() > 1

    def __call__(
        self, buffers: Sequence[Any], meta: Sequence[int], scalars: Sequence[float | int] = ()
    ) -> None:
        if self._several and (number := buffers[-1].device.id) != current():
            with require().cuda.Device(number):
                self._run(buffers, meta, scalars)
        else:
            self._run(buffers, meta, scalars)

    def _run(
        self, buffers: Sequence[Any], meta: Sequence[int], scalars: Sequence[float | int]
    ) -> None:
        pointers = [b.data.ptr for b in buffers]
        low = 0
        for p in pointers:
            low |= p
        recent = self._recent
        if meta is recent[0] and not low & 15:  # the engine passes a plan's own tuple every time
            _, ready, integers = recent
        else:
            meta = meta if type(meta) is tuple else tuple(meta)
            integers = meta[self._static :]
            sizes = meta[: self._static] if integers else meta
            key: Any = sizes if not low & 15 else (sizes, *(p & 15 for p in pointers))
            if self._several:
                key = (key, current())
            found = self._plans.get(key)
            ready = found if found is not None else self._prepare(key, sizes, pointers)
            if not low & 15 and not self._several:
                self._recent = (meta, ready, integers)
        calls, needed = ready
        if not calls:
            return
        room = scratch.address(needed) if needed else 0
        stream = self._stream().ptr
        with self._lock:  # the parameter blocks are shared by all callers
            for call in calls:
                try:
                    self._head.pack_into(call.parameters, 0, *pointers, *scalars, *integers, room)
                except (struct.error, TypeError):
                    numbers = [int(v) if w else float(v) for v, w in zip(scalars, self._whole)]
                    self._head.pack_into(call.parameters, 0, *pointers, *numbers, *integers, room)
                call(stream)

    def _prepare(self, key: Any, sizes: tuple[int, ...], pointers: list[int]) -> Ready:
        low = [p & 15 for p in pointers]
        made = plan(self.kernel, sizes, low, processors(current()), self.choice)
        calls = []
        for step in made.steps:
            text = source(self.kernel, step.variant)
            function = compiler.function(text, entry(self.kernel, step.variant))
            block = bytes(self._head.size) + step.static
            parameters = ctypes.create_string_buffer(block, -(-len(block) // 8) * 8)
            calls.append(Call(function, step.grid, step.block, step.shared, parameters))
        if len(self._plans) >= 1024:  # sizes that never come back must not pile up
            self._plans.clear()
        ready = self._plans[key] = (tuple(calls), made.scratch)
        return ready
