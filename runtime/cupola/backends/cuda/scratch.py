"""Device memory that lives only during one operation: partial sums, library workspaces.

It is kept, not returned to the pool: work captured into a CUDA graph goes on using the address.
Operations on one stream follow each other, but a library's kernel may begin before the one in front
of it has ended (programmatic dependent launch) and initialise its workspace then. So neighbours
never share: every stream has a ring of blocks.
"""

from __future__ import annotations

from typing import Any

from cupola.backends.cuda.device import current, require, stream

_LEAST = 1 << 20
_RING = 4


class Scratch:
    """Scratch memory by device and stream; outgrown blocks stay alive for captured graphs."""

    def __init__(self) -> None:
        self._rings: dict[tuple[int, int], tuple[int, list[int]]] = {}
        self._next = 0
        self._kept: list[Any] = []

    def address(self, size: int) -> int:
        """Address of ``size`` bytes on the current device for work on the current stream."""
        key = (current(), stream())
        have, ring = self._rings.get(key, (0, []))
        if have < size:
            # All at once: while a graph is recorded, nothing can be allocated.
            have = max(_LEAST, 1 << (size - 1).bit_length())
            blocks = [require().cuda.alloc(have) for _ in range(_RING)]
            self._kept += blocks
            ring = [int(b.ptr) for b in blocks]
            self._rings[key] = (have, ring)
        self._next = turn = (self._next + 1) % _RING
        return ring[turn]


scratch = Scratch()
