"""Device memory that lives only during one operation: partial sums, library workspaces.

It is kept, not returned to the pool: work captured into a CUDA graph goes on using the address.
Operations on one stream follow each other, so they can share it; every stream has its own.
"""

from __future__ import annotations

from typing import Any

from cupola.backends.cuda.device import current, require, stream

_LEAST = 1 << 20


class Scratch:
    """Scratch memory by device and stream; outgrown blocks stay alive for captured graphs."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[int, int], tuple[int, int]] = {}
        self._kept: list[Any] = []

    def address(self, size: int) -> int:
        """Address of ``size`` bytes on the current device for work on the current stream."""
        key = (current(), stream())
        found = self._blocks.get(key)
        if found is None or found[0] < size:
            size = max(_LEAST, 1 << (size - 1).bit_length())
            memory = require().cuda.alloc(size)
            self._kept.append(memory)
            found = self._blocks[key] = (size, int(memory.ptr))
        return found[1]


scratch = Scratch()
