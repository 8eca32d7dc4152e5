"""Launches of one flat kernel over many sets of arrays: as few as the parameters' size allows."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from cupola.backends.cuda import compiler
from cupola.backends.cuda.device import current, device_count, require
from cupola.backends.cuda.driver import Call
from cupola.codegen.cuda import Many, many
from cupola.codegen.cuda.many import THREADS
from cupola.codegen.form import Kernel

Work = Sequence[tuple[Sequence[Any], tuple[int, ...], Sequence[float | int]]]
_PLANS = 256  # kept for each kernel


class ManyLaunch:
    """``launch(work)`` of one flat kernel; ``work`` lists (buffers, meta, scalars)."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._whole = tuple(not d.is_floating_point for d in kernel.scalars)
        self._plans: dict[Any, tuple[Many, Call]] = {}
        self._several = device_count() > 1
        self._stream = require().cuda.get_current_stream

    def __call__(self, work: Work) -> None:
        if self._several and (number := work[0][0][-1].device.id) != current():
            with require().cuda.Device(number):
                self._run(work)
        else:
            self._run(work)

    def _run(self, work: Work) -> None:
        # Numbers are passed once a launch: sets with other numbers take another one.
        alike: dict[tuple[float | int, ...], tuple[list[int], list[int]]] = {}
        low = 0
        for buffers, meta, scalars in work:
            if meta[0] == 0:
                continue
            numbers = tuple([int(v) if w else float(v) for v, w in zip(scalars, self._whole)])
            pointers, sizes = alike.setdefault(numbers, ([], []))
            for b in buffers:
                pointers.append(b.data.ptr)
                low |= b.data.ptr
            sizes.append(meta[0])
        stream, count = self._stream().ptr, len(self.kernel.buffers)
        for numbers, (pointers, sizes) in alike.items():
            room = many(self.kernel, sizes, low & 15).capacity
            for k in range(0, len(sizes), room):
                here = sizes[k : k + room]
                form, call = self._prepared(tuple(here), low & 15)
                packed = form.pack(pointers[k * count : (k + room) * count], here, numbers)
                ctypes.memmove(call.parameters, packed, len(packed))
                call(stream)

    def _prepared(self, sizes: tuple[int, ...], low: int) -> tuple[Many, Call]:
        key = (sizes, low, current())
        found = self._plans.get(key)
        if found is None:
            form = many(self.kernel, sizes, low)
            function = compiler.function(form.source(), form.name)
            parameters = ctypes.create_string_buffer(form.format.size + 8)
            grid = (form.blocks(sizes)[-1], 1, 1)
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            call = Call(function, grid, (THREADS, 1, 1), 0, parameters)
            found = self._plans[key] = (form, call)
        return found
