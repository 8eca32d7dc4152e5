"""From a kernel to a callable: compiles it, divides its work among threads, and calls it cheaply.

What depends on sizes only (vector axis, division into tasks) is decided once for each meta array
and kept.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cupola.backends.cpu.jit import Jit
from cupola.backends.cpu.threads import threads
from cupola.codegen.form import Kernel, meta_layout
from cupola.codegen.llvm import (
    POINTER_OFFSET,
    axis_for,
    can_split,
    generate,
    supported,
    weight,
)
from cupola.codegen.llvm.driver import driver

GRAIN = 1 << 17  # simple operations (about 5 us) that are worth waking another thread for
UNIT = 64  # columns that a task is a multiple of, so that threads do not share cache lines
_FEW = 32  # independent units of work below which a reduction is split inside
_CHUNKS = 64
_TILES = 1 << 13  # at most about so many
_PLANS = 512  # kept for each kernel

Launch = Callable[[Sequence[Any], Sequence[int], Sequence[float | int]], None]


class Launcher:
    """Launches kernels; one per process."""

    def __init__(self, jit: Jit) -> None:
        self.jit = jit
        self.native = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)(jit.module(driver()))
        library = ctypes.CDLL(None)
        self.memory = [
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
            for name in ("malloc", "free")
        ]
        self.address_of = id if _objects_hold_pointers() else _Pointers().address

    def launch(self, kernel: Kernel) -> Launch:
        """The callable for a kernel. Code is generated at its first call, for the sizes that it
        sees.

        Raises:
            NotImplementedError: an element type that generated code does not handle.
        """
        for d in kernel.buffers + kernel.scalars:
            if not supported(d):
                raise NotImplementedError(f"generated CPU code does not handle {d.name}")
        programs: dict[tuple[int, bool], tuple[int, int]] = {}
        plain = replace(kernel, name="kernel")  # names do not change code
        # The address of each plan, with the arrays that it points to: whoever launches holds both.
        plans: dict[Any, tuple[int, list[Any]]] = {}
        formats = "".join("d" if d.is_floating_point else "q" for d in kernel.scalars)
        pack = struct.Struct(f"{len(kernel.buffers)}Q{formats}").pack
        native, address_of = self.native, self.address_of
        generation = threads.generation
        settings = threads

        def prepare(meta: tuple[int, ...]) -> tuple[int, list[Any]]:
            nonlocal generation
            if generation != settings.generation or len(plans) >= _PLANS:
                plans.clear()
                generation = settings.generation
            axis = axis_for(kernel, self.jit.target, meta)
            shape = measure(kernel, axis, meta)
            variant = (axis, shape.chunks > 1)
            found = programs.get(variant)
            if found is None:
                found = programs[variant] = self.jit.program(
                    f"{plain!r} {variant}", lambda: generate(kernel, self.jit.target, *variant)
                )
            words = self.plan(shape, *found, meta)
            made = plans[meta] = (words[-1].ctypes.data if words else 0, words)
            return made

        def launch(
            buffers: Sequence[Any], meta: Sequence[int], scalars: Sequence[float | int] = ()
        ) -> None:
            if type(meta) is not tuple:
                meta = tuple(meta)
            plan = plans.get(meta)
            if plan is None or generation != settings.generation:
                plan = prepare(meta)
            if plan[0]:
                native(pack(*map(address_of, buffers), *scalars), plan[0])

        return launch

    def plan(self, shape: Shape, body: int, parts: int, meta: tuple[int, ...]) -> list[Any]:
        """Arrays whose last one is the driver's plan; the others are what it points to.

        Empty: nothing to do.
        """
        phases = divide(shape, threads.count)
        if not phases:
            return []
        packed = np.array(meta, np.int64)
        tasks = [np.array(p, np.int64) for p in phases]
        scratch = 8 * shape.chunks * shape.cells * parts
        words = [body, packed.ctypes.data, scratch, *threads.addresses, *self.memory, len(phases)]
        for p, t in zip(phases, tasks):
            team = max(1, min(len(p), threads.count, shape.work // GRAIN))
            words += [t.ctypes.data, len(p), team]
        return [packed, *tasks, np.array(words, np.uint64)]


@dataclass(frozen=True)
class Shape:
    """The work of a launch.

    Attributes:
        rows, columns: how many rows there are, and columns in each.
        first: size of the first inner loop.
        work: simple operations in all.
        chunks: parts that the first inner loop is cut into, 1 for none. Depends on sizes alone.
        by_columns: whether columns can be shared among threads.
        tile: rows and columns to finish before going on to others; zeros for any number.
    """

    rows: int
    columns: int
    first: int
    work: int
    chunks: int
    by_columns: bool
    tile: tuple[int, int]

    @property
    def cells(self) -> int:
        return self.rows * self.columns


def measure(kernel: Kernel, axis: int, meta: Sequence[int]) -> Shape:
    """What a launch with these sizes has to do, the given loop being the vector axis."""
    sizes = meta[: kernel.outer + kernel.inner]
    rows, inner = 1, 1
    for d, n in enumerate(sizes):
        if d >= kernel.outer:
            inner *= n
        elif d != axis:
            rows *= n
    by_columns = 0 <= axis < kernel.outer
    columns = sizes[axis] if by_columns else 1
    first = sizes[kernel.outer] if kernel.inner else 0
    work = rows * columns * max(inner, 1) * weight(kernel)
    chunks = 1
    if can_split(kernel) and rows * -(-columns // UNIT) < _FEW:
        chunks = max(1, min(first, _CHUNKS, work // GRAIN // 2))
    tile = _tile(kernel, axis, meta) if kernel.inner == 0 else (0, 0)
    return Shape(rows, columns, first, work, chunks, by_columns, tile)


def _tile(kernel: Kernel, axis: int, meta: Sequence[int]) -> tuple[int, int]:
    """Where neighbours in some array lie in different rows: tiles that use its cache lines up.

    With a stride of whole pages the lines of a row compete for one place in the cache.
    """
    others = [d for d in range(kernel.outer) if d != axis]
    wide = 0
    for access, place in zip(kernel.accesses, meta_layout(kernel).accesses):
        strides = access.address.strides
        if others and strides[axis] is None and strides[others[-1]] == 1:
            bytes_ = meta[place.strides[axis]] * kernel.buffers[access.buffer].itemsize
            wide = min(wide or 32, 8 if bytes_ % 2048 == 0 else 32)
    return (64, wide) if wide else (0, 0)


Task = tuple[int, int, int, int, int, int, int, int, int]


def divide(shape: Shape, most: int) -> list[list[Task]]:
    """The phases of a launch, each a list of tasks: rectangles (see ``llvm.nest.TASK``)."""
    rows, columns, first, cells = shape.rows, shape.columns, shape.first, shape.cells
    if cells == 0:
        return []
    if shape.chunks > 1:
        cuts = _cut(first, shape.chunks, 1)
        partial = [(1, 0, rows, 0, columns, a, z, j, cells) for j, (a, z) in enumerate(cuts)]
        return [partial, [(2, 0, rows, 0, columns, 0, 0, len(partial), cells)]]
    high, wide = shape.tile
    if high and rows > high and columns > wide:
        high = max(high, cells // wide // _TILES)
        across = _cut(columns, -(-columns // wide), wide)
        down = _cut(rows, -(-rows // high), high)
        return [[(0, a, z, c, e, 0, first, 0, cells) for a, z in down for c, e in across]]
    count = max(1, min(most, shape.work // GRAIN))
    if count > 1 and shape.by_columns and rows < 4 * count and columns >= 2 * UNIT:
        return [[(0, 0, rows, a, z, 0, first, 0, cells) for a, z in _cut(columns, count, UNIT)]]
    return [[(0, a, z, 0, columns, 0, first, 0, cells) for a, z in _cut(rows, count, 1)]]


def _cut(total: int, parts: int, unit: int) -> list[tuple[int, int]]:
    """Splits ``range(total)`` into at most ``parts`` ranges of about equal length, multiples of
    ``unit``.
    """
    units = -(-total // unit)
    parts = min(parts, units)
    marks = [min(total, units * k // parts * unit) for k in range(parts + 1)]
    return list(zip(marks[:-1], marks[1:]))


def _objects_hold_pointers() -> bool:
    """Whether an array object's data pointer lies where CPython keeps it (checked, not assumed)."""
    probe = np.empty(7, np.float32)[2:]
    return ctypes.c_void_p.from_address(id(probe) + POINTER_OFFSET).value == probe.ctypes.data


class _Pointers:
    """The slower way for other interpreters: copies of the pointers, where code expects objects."""

    def __init__(self) -> None:
        self.cells = np.zeros(4096, np.uint64)
        self.next = 0

    def address(self, array: Any) -> int:
        k = self.next = (self.next + 1) % len(self.cells)
        self.cells[k] = array.ctypes.data
        return int(self.cells.ctypes.data) + 8 * k - POINTER_OFFSET
