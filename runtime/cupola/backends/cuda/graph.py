"""CUDA graphs: the launches of one call recorded once and repeated as one launch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from cupola.backends.base import NotRecorded
from cupola.backends.cuda.device import require
from cupola.backends.cuda.recorded import Recorded

_WARM = 2  # runs before recording: kernels are compiled, memory is in the pool, weights are derived


class Graph:
    """The launches of ``function``, which reads and writes the same memory at every replay.

    Its temporary memory comes from a pool of its own, so that nothing else is ever put there.
    """

    def __init__(self, function: Callable[[], list[Any]], index: int) -> None:
        xp = require()
        self.index = index
        self.pool = xp.cuda.MemoryPool()
        with xp.cuda.Device(index):
            stream = xp.cuda.Stream(non_blocking=True)
            xp.cuda.get_current_stream().synchronize()
            with xp.cuda.using_allocator(self.pool.malloc), stream:
                for _ in range(_WARM):
                    function()
                    stream.synchronize()
                stream.begin_capture()
                try:
                    self.results = function()
                except Exception as why:
                    with contextlib.suppress(Exception):  # the recording has become invalid
                        stream.end_capture()
                    raise NotRecorded(str(why)) from why
                self.graph = Recorded(stream.ptr)
            self.stream = stream  # scratch memory is kept for it
        self._stream = xp.cuda.get_current_stream

    def feed(self, static: Sequence[Any], arrays: Sequence[Any]) -> None:
        """Copies new inputs to where the recorded launches read them."""
        for target, array in zip(static, arrays, strict=True):
            if target is array:
                continue
            if array.flags.c_contiguous and target.flags.c_contiguous:
                target.data.copy_from_device_async(array.data, array.nbytes, self._stream())
            else:
                target[...] = array

    def __call__(self) -> list[Any]:
        """Repeats the launches; gives copies of the results, which the next replay overwrites."""
        stream = self._stream()
        self.graph.launch(stream)
        xp = require()
        out = []
        for result in self.results:
            fresh = xp.empty(result.shape, result.dtype)
            if result.flags.c_contiguous:
                fresh.data.copy_from_device_async(result.data, result.nbytes, stream)
            else:
                fresh[...] = result
            out.append(fresh)
        return out
