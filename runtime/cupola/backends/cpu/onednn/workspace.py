"""What each Python thread owns while it runs primitives.

A stream, a scratch buffer, its number of OpenMP threads.
"""

from __future__ import annotations

import os
import threading
from ctypes import c_void_p
from typing import Any

import numpy as np

from cupola.backends.cpu.onednn.library import Handle, Library

ALIGNMENT = 64
_KEEP = 1 << 28  # a larger scratch buffer is given back after use


def aligned(size: int) -> int:
    """The size rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


# An array object starts with Python's header, and the data pointer follows: part of NumPy's C
# interface (PyArray_DATA). Reading it there takes a tenth of the time of array.ctypes.data.
_DATA = object.__basicsize__


def address(array: np.ndarray) -> int:
    """The address of the array's first element."""
    return c_void_p.from_address(id(array) + _DATA).value or 0


class Buffer:
    """Uninitialised bytes at an aligned address."""

    __slots__ = ("array", "pointer", "size")

    def __init__(self, size: int) -> None:
        self.array = np.empty(size + ALIGNMENT, np.uint8)
        self.pointer = aligned(address(self.array))
        self.size = size


class Threads:
    """The number of OpenMP threads.

    A setting of each thread in OpenMP, one for the process here.
    """

    count: int | None = None
    generation = 0  # counts changes, and clearings of the buffers
    watches_fork = False


def _after_fork_in_child() -> None:
    # GNU OpenMP's pool does not survive fork: a team of more than one thread would wait for ever.
    Threads.count = 1
    Threads.generation += 1


class ThreadState(threading.local):
    """Made once; its attributes are each thread's own."""

    library: Library | None = None
    stream: Any = None
    generation = -1
    buffer = Buffer(0)

    def reserve(self, size: int) -> int:
        """The address of at least `size` bytes, valid until the next call in this thread.

        0 for none.
        """
        if size == 0:
            return 0
        if self.buffer.size < size:
            self.buffer = Buffer(0)  # free first
            self.buffer = Buffer(size)
        return self.buffer.pointer

    def trim(self) -> None:
        """Give a buffer back that is too large to be kept for the thread's lifetime."""
        if self.buffer.size > _KEEP:
            self.buffer = Buffer(0)

    def refresh(self, library: Library) -> None:
        """Catch up with `Threads`, and make the stream on a thread's first use."""
        if self.stream is None:
            self.stream = Handle(library, "stream", "stream_create", library.engine, 1)
        if not Threads.watches_fork:
            Threads.watches_fork = True
            os.register_at_fork(after_in_child=_after_fork_in_child)
        if Threads.count is not None:
            library.openmp.omp_set_num_threads(Threads.count)
        self.buffer = Buffer(0)
        self.generation = Threads.generation


_state = ThreadState()


def thread_state(library: Library) -> ThreadState:
    """This thread's state, ready for use."""
    if _state.generation != Threads.generation:
        _state.refresh(library)
    return _state
