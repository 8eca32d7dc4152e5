"""How many threads a kernel may use, and the one OpenMP runtime that provides them."""

from __future__ import annotations

import ctypes
import os


class Threads:
    """Settings that all kernels read.

    Attributes:
        count: the most threads that one kernel uses.
        generation: goes up when ``count`` changes; plans made before are out of date.
        addresses: GOMP_parallel, omp_get_thread_num, omp_get_num_threads; zeros where there is no
            GNU OpenMP.
    """

    def __init__(self) -> None:
        self.addresses = _gomp()
        self.count = _initial() if self.addresses[0] else 1
        self.generation = 0

    def set(self, count: int) -> None:
        """Sets the number of threads (at least 1)."""
        if count < 1:
            raise RuntimeError("set_num_threads expects a positive integer")
        self.count = count if self.addresses[0] else 1
        self.generation += 1


def _gomp() -> tuple[int, int, int]:
    # oneDNN loads the same file, so that there is one team of threads in the process.
    for name in ("libgomp.so.1", "libgomp.dylib"):
        try:
            library = ctypes.CDLL(name)
            found = [
                ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
                for symbol in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
            ]
        except (OSError, AttributeError):
            continue
        return found[0], found[1], found[2]
    return 0, 0, 0


def _initial() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


threads = Threads()

if hasattr(os, "register_at_fork"):
    # The team's threads do not live in a forked child (a data loader's worker): waiting for them
    # would never end.
    os.register_at_fork(after_in_child=lambda: threads.set(1))
