"""Copies of many arrays in few launches, and the memory that strided arrays lie in."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

from cupola.backends.cuda import compiler
from cupola.backends.cuda.device import current
from cupola.backends.cuda.driver import Call

_CHUNK = 32 << 10  # bytes that one block copies
_THREADS = 256
_ROOM = 140  # copies a launch: their addresses and sizes fit in its parameter
_FORMAT = struct.Struct(f"<{_ROOM}Q{_ROOM}Q{_ROOM}q{_ROOM}ii")
_TEXT = f"""
struct Copies {{
    unsigned long long from[{_ROOM}], to[{_ROOM}];
    long long bytes[{_ROOM}];
    int start[{_ROOM}], count;
}};

extern "C" __global__ void __launch_bounds__({_THREADS}) copy_many(const Copies all) {{
    int one = 0, end = all.count;
    while (end - one > 1) {{
        const int middle = (one + end) / 2;
        if ((int)blockIdx.x < all.start[middle]) end = middle; else one = middle;
    }}
    const long long at = (long long)((int)blockIdx.x - all.start[one]) * {_CHUNK};
    const long long rest = all.bytes[one] - at, n = rest < {_CHUNK} ? rest : {_CHUNK};
    const char* from = (const char*)all.from[one] + at;
    char* to = (char*)all.to[one] + at;
    long long done = 0;
    if (((all.from[one] | all.to[one]) & 15) == 0) {{
        for (long long i = threadIdx.x; i < n / 16; i += {_THREADS})
            ((int4*)to)[i] = ((const int4*)from)[i];
        done = n / 16 * 16;
    }}
    for (long long i = done + threadIdx.x; i < n; i += {_THREADS}) to[i] = from[i];
}}
"""


@lru_cache(maxsize=64)
def _function(device: int) -> int:
    return compiler.function(_TEXT, "copy_many")


class Copies:
    """Copies of fixed sizes between addresses that change from call to call."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._parts: list[tuple[slice, Call, tuple[int, ...]]] = []
        for k in range(0, len(sizes), _ROOM):
            here = sizes[k : k + _ROOM]
            *starts, blocks = (0, *accumulate(-(-n // _CHUNK) for n in here))
            if not blocks:  # empty arrays alone
                continue
            block = ctypes.create_string_buffer(_FORMAT.size + 4)
            grid, threads = (blocks, 1, 1), (_THREADS, 1, 1)
            call = Call(_function(current()), grid, threads, 0, block)
            room = (0,) * (_ROOM - len(here))
            tail = (*here, *room, *starts, *room, len(here))
            self._parts.append((slice(k, k + _ROOM), call, tail))

    def __call__(self, sources: Sequence[int], targets: Sequence[int], stream: int) -> None:
        """Queues them; addresses in the order of the sizes."""
        for part, call, tail in self._parts:
            given, taken = sources[part], targets[part]
            room = (0,) * (_ROOM - len(given))
            _FORMAT.pack_into(call.parameters, 0, *given, *room, *taken, *room, *tail)
            call(stream)


def span(array: Any) -> tuple[int, int]:
    """Where an array's memory begins, in bytes from its first element, and its size in bytes."""
    low = high = 0
    for n, s in zip(array.shape, array.strides):
        if s < 0:
            low += s * (n - 1)
        else:
            high += s * (n - 1)
    return low, high - low + int(array.dtype.itemsize)
