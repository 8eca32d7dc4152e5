"""A plan's launches recorded with memory of their own and repeated as one CUDA graph.

What a call reads is copied in, what it gives is copied out, so that arrays never change under the
tensors that hold them. Kernels' numbers are written into the recorded launches before they run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from cupola.backends.base import NotRecorded
from cupola.backends.cuda import driver
from cupola.backends.cuda.copies import Copies, span
from cupola.backends.cuda.device import device_count, require
from cupola.backends.cuda.recorded import Recorded

_GAPS = 4  # an array in memory so many times its size is copied element by element


@lru_cache(maxsize=64)
def _recorder(index: int) -> Any:
    """The stream that recordings are made on: scratch memory is kept for it."""
    with require().cuda.Device(index):
        return require().cuda.Stream(non_blocking=True)


class _Place:
    """An array's address, for a launch whose parameters are written again."""

    __slots__ = ("device", "ptr")

    def __init__(self, array: Any) -> None:
        self.ptr = array.data.ptr
        self.device = array.device

    @property
    def data(self) -> _Place:
        return self


class Changing:
    """Notes the recorded launches of kernels that take numbers (see ``engine.run``)."""

    def __init__(self) -> None:
        self.fixed: set[int] = set()
        self.launches: list[tuple[Any, list[Any], tuple[int, ...], list[Any]]] = []
        self._fresh: list[tuple[Any, int]] = []

    def take(self, call: Any, stream: int) -> None:
        """Records a launch and finds its node."""
        call.launch(stream)
        self._fresh.append((call, driver.last_recorded(stream)))

    def begin(self) -> None:
        """What was recorded since the last kernel belongs to library calls."""
        self._fresh = []

    def end(self, launch: Any, work: list[Any], many: bool) -> None:
        """Keeps a kernel's launches if they take numbers."""
        fresh = self._fresh
        items = tuple(i for _, _, scalars in work for i in scalars)
        if items:
            kept = [([_Place(a) for a in arrays], meta, s) for arrays, meta, s in work]
            self.launches.append((launch if many else _single(launch), kept, items, fresh))

    def write(self, numbers: dict[int, Any], changed: set[int], graph: Any) -> None:
        """Gives the recorded launches that read changed numbers the new ones.

        Raises:
            NotRecorded: with these numbers, the launches would be others.
        """
        if changed & self.fixed:
            raise NotRecorded("a number that no launch takes")
        for launch, work, items, nodes in self.launches:
            if changed.isdisjoint(items):
                continue
            left = list(reversed(nodes))

            def put(call: Any, stream: int, left: list[tuple[Any, int]] = left) -> None:
                if not left or left[-1][0] is not call:
                    raise NotRecorded("numbers that change the launches")
                call.change(graph, left.pop()[1])

            with driver.taking(put):
                launch([(arrays, meta, [numbers[i] for i in s]) for arrays, meta, s in work])
            if left:
                raise NotRecorded("numbers that change the launches")


def _single(launch: Any) -> Callable[[Any], None]:
    def each(work: Any) -> None:
        for arrays, meta, numbers in work:
            launch(arrays, meta, numbers)

    return each


def _twin(array: Any) -> Any:
    """Fresh memory for an array of the same shape and strides."""
    xp = require()
    low, size = span(array)
    return xp.ndarray(array.shape, array.dtype, xp.cuda.alloc(size) - low, array.strides)


class Replay:
    """A recorded run.

    Args:
        function: ``function(arrays, changing)`` runs on the arrays by place and gives the results
            by place; ``changing`` (or None) is told of launches that take numbers.
        arrays: what it reads, by place.
        fed: places whose arrays are others at every call.
        index: number of the device.
        limit: bytes that it may hold.

    Attributes:
        bytes: that it holds.

    Raises:
        NotRecorded: the function waits for the device, or needs more memory.
    """

    def __init__(
        self,
        function: Callable[[dict[Any, Any], Changing | None], dict[Any, Any]],
        arrays: dict[Any, Any],
        fed: Sequence[Any],
        index: int,
        limit: int,
    ) -> None:
        xp = require()
        self._pool = xp.cuda.MemoryPool()
        self._pool.set_limit(size=limit)
        self._stream = _recorder(index)
        self._changing = Changing()
        self._current = xp.cuda.get_current_stream
        self._home, self._device = self._current().ptr, xp.cuda.Device(index)
        self._several = device_count() > 1
        with xp.cuda.Device(index):
            self._current().synchronize()
            try:
                with xp.cuda.using_allocator(self._pool.malloc), self._stream:
                    twins = {p: _twin(arrays[p]) for p in fed}
                    read = {**arrays, **twins}
                    self._in = [(p, *span(arrays[p])) for p in fed if arrays[p].size]
                    self._targets = [twins[p].data.ptr + low for p, low, _ in self._in]
                    self._feed = Copies([size for _, _, size in self._in])
                    self._feed(self._sources(arrays), self._targets, self._stream.ptr)
                    function(read, None)  # memory comes into the pool, libraries load
                    self._stream.synchronize()
                    results = self._record(function, read)
            except xp.cuda.memory.OutOfMemoryError as why:
                raise NotRecorded(str(why)) from why
            self._lay_out(results, read)
        self.bytes = int(self._pool.total_bytes())

    def _record(self, function: Any, read: dict[Any, Any]) -> dict[Any, Any]:
        self._stream.begin_capture()
        try:
            with driver.taking(self._changing.take):
                results: dict[Any, Any] = function(read, self._changing)
        except Exception as why:
            with contextlib.suppress(Exception):  # the recording has become invalid
                self._stream.end_capture()
            raise NotRecorded(str(why)) from why
        try:
            self._graph = Recorded(self._stream.ptr)
        except RuntimeError as why:
            raise NotRecorded(str(why)) from why
        return results

    def _lay_out(self, results: dict[Any, Any], read: dict[Any, Any]) -> None:
        """Decides how each result comes out: a view of what was read, or a copy."""
        places = []
        for p, a in read.items():
            low, size = span(a)
            places.append((a.data.ptr + low, a.data.ptr + low + size, p, a.data.ptr))
        self._views: list[tuple[Any, Any, int, Any]] = []  # place, of which, offset, like
        self._out: list[tuple[Any, int, int, Any, Any, Any]] = []  # place, size, low, shape …
        self._given = []
        self._gappy: list[tuple[Any, Any]] = []
        for p, a in results.items():
            at = a.data.ptr
            of = next((x for x in places if x[0] <= at < x[1]), None) if a.size else None
            low, size = span(a)
            if of is not None:
                self._views.append((p, of[2], at - of[3], a))
            elif a.size and size > _GAPS * a.nbytes:
                self._gappy.append((p, a))
            else:
                strides = None if a.flags.c_contiguous else a.strides
                self._out.append((p, size if a.size else 0, low, a.shape, a.dtype, strides))
                self._given.append(at + low)
        self._give = Copies([size for _, size, *_ in self._out])

    def at_home(self) -> bool:
        """Whether the current stream is the one that replays follow each other on."""
        return bool(self._current().ptr == self._home)

    def _sources(self, arrays: dict[Any, Any]) -> list[int]:
        return [arrays[p].data.ptr + low for p, low, _ in self._in]

    def write(self, numbers: dict[int, Any], changed: set[int]) -> None:
        """Gives kernels the numbers that have changed.

        Raises:
            NotRecorded: with these numbers, the launches would be others.
        """
        with self._device, self._stream:
            self._changing.write(numbers, changed, self._graph.executable)

    def __call__(self, arrays: dict[Any, Any]) -> dict[Any, Any]:
        """Repeats the run on the arrays by place; gives fresh results by place."""
        if self._several:
            with self._device:
                return self._repeat(arrays)
        return self._repeat(arrays)

    def _repeat(self, arrays: dict[Any, Any]) -> dict[Any, Any]:
        xp = require()
        stream = self._current()
        self._feed(self._sources(arrays), self._targets, stream.ptr)
        self._graph.launch(stream)
        array, alloc = xp.ndarray, xp.cuda.alloc
        out = {}
        targets = []
        for p, size, low, shape, dtype, strides in self._out:
            block = alloc(size)
            targets.append(block.ptr)
            out[p] = array(shape, dtype, block - low if low else block, strides)
        self._give(self._given, targets, stream.ptr)
        for p, like in self._gappy:
            out[p] = like.copy()
        for p, of, offset, like in self._views:
            start = arrays[of].data + offset
            out[p] = array(like.shape, like.dtype, start, like.strides)
        return out
