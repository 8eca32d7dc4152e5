"""Launches of one flat kernel over many sets of arrays: one native call, one team of threads."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cupola.backends.cpu.launch import GRAIN, Launcher, divide, measure
from cupola.backends.cpu.threads import threads
from cupola.codegen.form import Kernel
from cupola.codegen.llvm import axis_for, generate
from cupola.codegen.llvm.driver import many

_PLANS = 64  # kept for each kernel

Work = Sequence[tuple[Sequence[Any], tuple[int, ...], Sequence[float | int]]]


def launch_many(launcher: Launcher, kernel: Kernel) -> Callable[[Work], None]:
    """The callable for a flat kernel (see ``form.is_flat``): takes (buffers, meta, scalars)."""
    native = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)(launcher.jit.module(many()))
    plain = replace(kernel, name="kernel")
    formats = "".join("d" if d.is_floating_point else "q" for d in kernel.scalars)
    one = struct.Struct(f"{len(kernel.buffers)}Q{formats}")
    address_of = launcher.address_of
    plans: dict[Any, list[Any]] = {}

    def prepare(metas: tuple[tuple[int, ...], ...]) -> list[Any]:
        """Arrays whose last one is the plan; the others are what it points to."""
        axis = axis_for(kernel, launcher.jit.target, metas[0])
        target = launcher.jit.target
        body, _ = launcher.jit.program(
            f"{plain!r} {(axis, False)}", lambda: generate(kernel, target, axis, False)
        )
        packed = [np.array(m, np.int64) for m in metas]
        tasks, work = [], 0
        for k, meta in enumerate(metas):
            shape = measure(kernel, axis, meta)
            work += shape.work
            for phase in divide(shape, threads.count):
                tasks += [(k * one.size, packed[k].ctypes.data, *task) for task in phase]
        made = np.array(tasks, np.int64)
        team = max(1, min(len(tasks), threads.count, work // GRAIN))
        gomp, mine, all_ = threads.addresses
        words = [body, made.ctypes.data, len(tasks), team, mine, all_, gomp]
        return [*packed, made, np.array(words, np.uint64)]

    def launch(work: Work) -> None:
        key = (threads.generation, tuple([meta for _, meta, _ in work]))
        plan = plans.get(key)
        if plan is None:
            if len(plans) >= _PLANS:
                plans.clear()
            plan = plans[key] = prepare(key[1])
        heads = b"".join(
            [one.pack(*map(address_of, buffers), *scalars) for buffers, _, scalars in work]
        )
        native(heads, plan[-1].ctypes.data)

    return launch
