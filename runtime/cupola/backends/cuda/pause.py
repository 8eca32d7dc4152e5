"""An empty kernel between two library calls, which must not overlap (see ``recorded``)."""

from __future__ import annotations

import ctypes
from functools import lru_cache

from cupola.backends.cuda import compiler
from cupola.backends.cuda.device import current, stream
from cupola.backends.cuda.driver import Call

_TEXT = 'extern "C" __global__ void pause_between() {}\n'


@lru_cache(maxsize=64)
def _call(device: int) -> Call:
    function = compiler.function(_TEXT, "pause_between")
    return Call(function, (1, 1, 1), (1, 1, 1), 0, ctypes.create_string_buffer(8))


def pause() -> None:
    """Queues the empty kernel on the current stream: what follows waits for what went before."""
    _call(current())(stream())
