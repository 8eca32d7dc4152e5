"""Runs a stage's ``cuda_src`` on CuPy arrays."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from cupola import engine
from cupola.backends.cuda import inline
from cupola.backends.inline import Rejected
from cupola.code import cpp, cuda_text
from cupola.code.host import Dim3, Pointer
from cupola.code.stage import Outcome, Stage, element
from cupola.code.where import translated
from cupola.ir import source
from cupola.ir.device import device as Device
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.program import strides_of

_READY = 256  # sizes kept for each stage
_WIDE = 1 << 31
_ALIGNMENT = 256  # bytes; what arrays of the driver's own begin at
_TOGETHER = (
    1 << 18
)  # bytes of outputs that share one allocation, which lives as long as any of them
_NOTHING = bytes(16)


def _three(x: Any) -> tuple[int, int, int]:
    return (x.x, x.y, x.z) if type(x) is Dim3 else (int(x), 1, 1)


class _Ready:
    """A program for certain sizes.

    Attributes:
        meta, words: sizes and strides, packed and as a list.
        launches: what its host lines launch, once that is known and if it depends on sizes alone.
    """

    __slots__ = ("launches", "meta", "program", "words")

    def __init__(self, program: _Program, meta: bytes, words: list[int]) -> None:
        self.program = program
        self.meta = meta
        self.words = words
        self.launches: list[inline.Prepared] | None = None


class _Program:
    """A stage for certain ranks, types and layouts, on one device."""

    def __init__(self, stage: Stage, layout: Any, wide: bool) -> None:
        header, text = stage.text("cuda")
        texts = {cpp.HEADER: header, cpp.SOURCE: text}
        unit = stage.unit(header, text, layout)
        try:
            made = cuda_text.generate(unit, wide)
            self.needs = cuda_text.environment(unit, made.needs)
            self.by_sizes = all(what not in ("pointer", "number") for what, _, _ in self.needs)
            flags = stage.options.cuda_flags
            dirs = stage.options.include_dirs
            loaded = inline.Loaded(
                made.text, made.expressions, (*flags, *(("-lineinfo",) if unit.debug else ())), dirs
            )
            if "-lineinfo" in flags:  # tools that read it know nothing of our names of sources
                named = made.text
                for part, whole in texts.items():
                    file, line = whole.place(1)
                    named = named.replace(f'#line 1 "{part}"', f'#line {line} "{file}"')
                loaded = inline.Loaded(named, made.expressions, flags, dirs)
        except cpp.Located as error:
            raise texts[error.part].error(error.error.line, str(error)) from None
        except Rejected as error:
            raise translated(error.log, texts, error.compiler) from None
        pointers, sizes = cuda_text.hidden_layout(unit)
        self.pad_pointers, self.pad_sizes = not pointers, not sizes
        head = struct.Struct(f"<{max(pointers, 1)}Q")
        self.head, self.put = head.pack, head.pack_into
        size = 8 * (max(pointers, 1) + max(sizes, 1) + 2 + len(unit.data))
        self.kinds = [p.whole for p in made.parameters]
        self.launchers = [
            inline.Launcher(loaded.function(name), p.format, len(p.whole), size)
            for name, p in zip(made.launches, made.parameters)
        ]
        self.function = made.function
        self.loaded = loaded


class CUDARunner:
    """A stage on NVIDIA GPUs. Launches go to the current stream and can be captured into graphs."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._backend = engine.backend("cuda")
        self._xp = self._backend.xp
        self._programs: dict[Any, _Program] = {}
        self._ready: dict[Any, _Ready] = {}
        self._numbers = struct.Struct("<" + "".join(kind for _, kind in stage.data)).pack
        self._sizes = stage.initial_sizes()

    def __call__(
        self,
        arrays: Sequence[Any],
        shapes: tuple[tuple[int, ...], ...],
        numbers: tuple[Any, ...],
        index: int | None = None,
    ) -> tuple[Any, ...]:
        """The outputs; ``arrays`` are the inputs, then what outputs hold at the start, if given."""
        xp = self._xp
        if index is None:
            index = arrays[0].device.id if len(arrays) else xp.cuda.Device().id
        if index != xp.cuda.runtime.getDevice():
            with xp.cuda.Device(index):
                return self._run(arrays, shapes, numbers, index)
        return self._run(arrays, shapes, numbers, index)

    def _run(
        self,
        arrays: Sequence[Any],
        shapes: tuple[tuple[int, ...], ...],
        numbers: tuple[Any, ...],
        index: int,
    ) -> tuple[Any, ...]:
        stage, xp = self.stage, self._xp
        outs = tuple([xp.empty(s, d.np) for s, d in zip(shapes, stage.outputs)])
        if stage.given:
            for out, start in zip(outs, arrays[len(stage.inputs) :]):
                out[...] = start
            arrays = arrays[: len(stage.inputs)]
        everything = (*arrays, *outs)
        ready = self._prepared(arrays, shapes, index)
        sizes = xp.array(self._sizes, dtype="int32") if self._sizes else None
        report = xp.zeros(cpp.WORDS, dtype="int64") if stage.options.debug else None
        extra = struct.pack(
            "<2Q",
            sizes.data.ptr if sizes is not None else 0,
            report.data.ptr if report is not None else 0,
        )
        self._launch(ready, [a.data.ptr for a in everything], numbers, extra)
        if report is not None:
            words = report.tolist()
            if words[0]:
                shown = [a.shape for a in everything]
                raise stage.failure("cuda", Outcome(words, ""), shown)
        return outs if sizes is None else stage.shrunk(outs, sizes.tolist(), xp)

    def _launch(
        self,
        ready: _Ready,
        addresses: list[int],
        numbers: tuple[Any, ...],
        extra: bytes,
        kept: list[inline.Prepared] | None = None,
    ) -> None:
        """Runs the host lines; what they launch comes into ``kept``."""
        program, meta, words = ready.program, ready.meta, ready.words
        xp = self._xp
        stream = xp.cuda.get_current_stream().ptr
        handle = ctypes.c_void_p(stream)
        hidden = program.head(*(addresses or [0])) + meta + extra + self._numbers(*numbers)
        launchers, kinds = program.launchers, program.kinds

        def launch(k: int, grid: Any, block: Any, shared: Any, arguments: tuple[Any, ...]) -> None:
            grid, block = _three(grid), _three(block)
            if 0 in grid or 0 in block:  # nothing to do for an empty array
                return
            if arguments:
                arguments = tuple(
                    [
                        (a.address if type(a) is Pointer else int(a)) if w < 2 else float(a)
                        for a, w in zip(arguments, kinds[k])
                    ]
                )
            launchers[k](grid, block, int(shared), arguments, hidden, handle)
            if kept is not None:
                kept.append(launchers[k].prepared(grid, block, int(shared), arguments, hidden))

        def memset(pointer: Pointer, value: int, count: int, stream_: Any = 0) -> None:
            xp.cuda.runtime.memsetAsync(pointer.address, int(value), int(count), stream)

        def memcpy(to: Pointer, of: Pointer, count: int, kind: int = 4, stream_: Any = 0) -> None:
            xp.cuda.runtime.memcpyAsync(to.address, of.address, int(count), int(kind), stream)

        values = []
        for what, at, detail in program.needs:
            if what == "size":
                values.append(words[at])
            elif what == "pointer":
                values.append(Pointer(addresses[at], detail))
            elif what == "number":
                values.append(numbers[at])
            elif what == "count":
                count = 1
                for n in words[at : at + detail]:
                    count *= n
                values.append(count)
            else:
                values.append(detail)
        program.function(launch, memset, memcpy, *values)

    def _queue(self, ready: _Ready, addresses: list[int], numbers: tuple[Any, ...]) -> None:
        """``_launch`` without hidden arrays; from the second time on without the host lines."""
        launches = ready.launches
        if launches is None:
            kept: list[inline.Prepared] = []
            self._launch(ready, addresses, numbers, _NOTHING, kept)
            if ready.program.by_sizes:
                ready.launches = kept
            return
        stream = self._xp.cuda.get_current_stream().ptr
        tail = self._numbers(*numbers) if numbers else b""
        put = ready.program.put
        for each in launches:
            each(put, addresses, tail, stream)

    def _prepared(
        self, arrays: Sequence[Any], shapes: tuple[tuple[int, ...], ...], index: int
    ) -> _Ready:
        key = (index, shapes, *[w for a in arrays for w in (a.shape, a.strides)])
        found = self._ready.get(key)
        if found is not None:
            return found
        layout = tuple((a.ndim, element(a.dtype), a.flags.c_contiguous) for a in arrays)
        words: list[int] = []
        reach = 0
        for a in arrays:
            strides = [s // a.itemsize for s in a.strides]
            words += [*a.shape, *strides]
            reach = max(reach, a.size, sum(abs(s) * n for s, n in zip(strides, a.shape)))
        for s in shapes:
            words += [*s, *strides_of(s)]
            size = 1
            for n in s:
                size *= n
            reach = max(reach, size)
        wide = reach >= _WIDE
        program = self._programs.get((index, layout, wide))
        if program is None:
            program = self._programs[index, layout, wide] = _Program(self.stage, layout, wide)
        if len(self._ready) >= _READY:
            self._ready.clear()
        packed = words or [0]
        meta = struct.pack(f"<{len(packed)}q", *packed)
        found = self._ready[key] = _Ready(program, meta, words)
        return found

    def quick(
        self, shapes: tuple[tuple[int, ...], ...], device: Device
    ) -> Callable[[Sequence[Node], tuple[Any, ...]], list[Node] | None] | None:
        """A shorter way for calls that have been seen; None where the long way has to be taken."""
        stage, xp = self.stage, self._xp
        several = xp.cuda.runtime.getDeviceCount() > 1
        if stage.given or self._sizes or stage.options.debug or not stage.inputs or several:
            return None
        makers = []
        total = 0
        for s, d in zip(shapes, stage.outputs):
            makers.append((total, s, d.np, d))
            total += -(-math.prod(s) * d.itemsize // _ALIGNMENT) * _ALIGNMENT
        starts = [at for at, _, _, _ in makers]
        shared = total <= _TOGETHER
        ready, queue, stats, index = self._ready, self._queue, engine.stats, device.index or 0
        none: dict[str, Any] = source.EMPTY_ATTRS
        allocate, empty, buffer = xp.cuda.alloc, xp.ndarray, source.BUFFER

        def run(nodes: Sequence[Node], numbers: tuple[Any, ...]) -> list[Node] | None:
            key: list[Any] = [index, shapes]
            addresses = []
            grad = mode.grad
            for n in nodes:
                a = n.value
                if a is None or n.device is not device or (grad and n.requires_grad):
                    return None
                key += (a.shape, a.strides)
                addresses.append(a.data.ptr)
            found = ready.get(tuple(key))
            if found is None:
                return None
            # The kernel is on its way before the outputs are wrapped: the two overlap.
            if shared:
                block = allocate(total)
                base = block.ptr
                queue(found, [*addresses, *[base + at for at in starts]], numbers)
                outs = [empty(s, d, block + at) for at, s, d, _ in makers]
            else:
                outs = [empty(s, d) for _, s, d, _ in makers]
                queue(found, [*addresses, *[out.data.ptr for out in outs]], numbers)
            stats["calls"] += 1
            return [
                Node(buffer, (), none, s, own, device, out)
                for out, (_, s, _, own) in zip(outs, makers)
            ]

        return run
