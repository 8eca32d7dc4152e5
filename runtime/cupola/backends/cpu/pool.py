"""A caching allocator for array memory.

Fresh memory costs a page fault for every 4 KiB, several times what most kernels cost, so that large
blocks are kept when their arrays die and handed out again. Blocks of 2 MiB and more ask for huge
pages.
"""

from __future__ import annotations

import ctypes
import math
import threading
from typing import Any

import numpy as np

from cupola.backends.limit import memory_limit, physical
from cupola.ir import forks

SMALL = 1 << 15  # below this NumPy's own allocation is cheaper
HUGE = 1 << 21
_MADV_HUGEPAGE = 14


class Pool:
    """Hands out uninitialised arrays.

    Attributes:
        limit: most bytes kept for reuse.
        most: bytes that arrays may take: the machine's memory, or ``CUPOLA_MEMORY_LIMIT``.
        held: bytes kept at the moment.
        live: bytes in use by arrays from the pool.
        peak: the most that ``live`` has been.
    """

    def __init__(self, limit: int | None = None) -> None:
        memory = physical()
        given = memory_limit(memory)
        self.most = memory if given is None else given
        self._limited = given is not None
        self.limit = min(memory // 8, self.most) if limit is None else limit
        self.held = 0
        self.live = 0
        self.peak = 0
        self._free: dict[int, list[int]] = {}
        self._blocks: dict[int, Any] = {}
        self._lock = forks.hold(threading.RLock())  # a finalizer may run inside any of the methods
        library = ctypes.CDLL(None)
        self._allocate = library.aligned_alloc
        self._allocate.restype = ctypes.c_void_p
        self._allocate.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        self._release = library.free
        self._release.argtypes = [ctypes.c_void_p]
        self._advise = getattr(library, "madvise", None)
        if self._advise is not None:
            self._advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """An uninitialised C-contiguous array, 64-byte aligned if it is not small.

        Raises:
            MemoryError: the system has no memory left.
        """
        size = math.prod(shape) * dtype.itemsize
        if size < SMALL:
            return np.empty(shape, dtype)
        size = size_class(size)
        block = self._blocks.get(size)
        if block is None:
            block = self._blocks[size] = self._block_type(size)
        with self._lock:
            free = self._free.get(size)
            if free:
                address = free.pop()
                self.held -= size
            else:
                address = self._fresh(size)
            self.live += size
            if self.live > self.peak:
                self.peak = self.live
        return np.ndarray(shape, dtype, block.from_address(address))

    def _fresh(self, size: int) -> int:
        alignment = HUGE if size >= HUGE else 64
        if self._limited and self.live + self.held + size > self.most:
            self.trim()
            if self.live + size > self.most:
                raise MemoryError(self._short(size, f"; CUPOLA_MEMORY_LIMIT is {self.most} bytes"))
        address = self._allocate(alignment, size)
        if not address:
            self.trim()
            address = self._allocate(alignment, size)
            if not address:
                raise MemoryError(self._short(size))
        if size >= HUGE and self._advise is not None:
            self._advise(address, size, _MADV_HUGEPAGE)
        return int(address)

    def _short(self, size: int, more: str = "") -> str:
        return (
            f"cannot allocate {size / 2**20:.0f} MiB for an array "
            f"({self.live / 2**20:.0f} MiB are in use{more})"
        )

    def _block_type(self, size: int) -> Any:
        """A buffer class whose objects give their memory back when the last array on it dies."""
        address_of = ctypes.addressof
        give_back = self._give_back

        def finalize(block: Any) -> None:
            give_back(address_of(block), size)

        return type("Block", (ctypes.c_char * size,), {"__del__": finalize})

    def _give_back(self, address: int, size: int) -> None:
        with self._lock:
            self.live -= size
            if self.held + size <= self.limit:
                self._free.setdefault(size, []).append(address)
                self.held += size
            else:
                self._release(address)

    def trim(self) -> None:
        """Returns everything that is kept for reuse to the system."""
        with self._lock:
            for addresses in self._free.values():
                for address in addresses:
                    self._release(address)
            self._free.clear()
            self.held = 0


def size_class(size: int) -> int:
    """Rounds up to an eighth of a power of two, so that similar sizes share blocks and little is
    wasted.
    """
    step = max(64, 1 << (size.bit_length() - 4))
    if size >= HUGE:
        step = max(step, HUGE)
    return -(-size // step) * step
