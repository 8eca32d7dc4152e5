"""Runs a function with room for deep recursion.

Generated code nests deeply (a chain of a thousand `elif` is a tree a thousand deep), LibCST's
parser and printer recurse over it on the C stack, and an ordinary thread's stack overflows there,
which ends the process.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
STACK = 512 << 20  # bytes of address space; memory is taken only where it is used
FRAMES = 50_000
_thread = threading.local()
_starting = threading.Lock()


def deep(function: Callable[..., T], *args: Any) -> T:
    """Calls `function` in a thread with a large stack, and returns or raises what it does."""
    if getattr(_thread, "is_deep", False):
        return function(*args)
    outcome: list[Any] = []

    def run() -> None:
        _thread.is_deep = True
        try:
            outcome.extend((True, function(*args)))
        except BaseException as error:
            outcome.extend((False, error))

    limit = sys.getrecursionlimit()
    with _starting:
        size = threading.stack_size(STACK)
        thread = threading.Thread(target=run)
        try:
            thread.start()
        except RuntimeError:  # no such stack to be had here
            return function(*args)
        finally:
            threading.stack_size(size)
    sys.setrecursionlimit(max(limit, FRAMES))
    try:
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
    succeeded, value = outcome
    if not succeeded:
        raise value
    return value
