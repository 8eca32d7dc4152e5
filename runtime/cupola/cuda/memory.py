"""How much GPU memory is used (torch.cuda.memory), from CuPy's pool."""

from __future__ import annotations

import collections
from typing import Any

from cupola import engine

__all__ = [
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
    "set_per_process_memory_fraction",
]


def _pool() -> Any:
    return engine.backend("cuda").xp.get_default_memory_pool()


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by CuPy's memory pool."""
    return int(_pool().used_bytes())


def memory_reserved(device: Any = None) -> int:
    """Bytes that CuPy's memory pool holds."""
    return int(_pool().total_bytes())


def max_memory_allocated(device: Any = None) -> int:
    """The pool has no peak counter: the bytes that it holds now, which are at least the peak."""
    return memory_reserved(device)


max_memory_reserved = max_memory_cached = max_memory_allocated
memory_cached = memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Starts a new peak: gives back what is unused, since the pool's size stands for the peak."""
    if "cuda" in engine._backends:
        _pool().free_all_blocks()


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def memory_stats(device: Any = None) -> dict[str, int]:
    """Counters under PyTorch's keys, as far as the pool knows them."""
    used, held = memory_allocated(), memory_reserved()
    return collections.OrderedDict(
        {
            "allocated_bytes.all.current": used,
            "allocated_bytes.all.peak": held,
            "reserved_bytes.all.current": held,
            "reserved_bytes.all.peak": held,
        }
    )


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The counters as text."""
    return "\n".join(f"{k:32s}{v:16d}" for k, v in memory_stats(device).items())


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the GPU."""
    free, total = engine.backend("cuda").xp.cuda.runtime.memGetInfo()
    return int(free), int(total)


def ipc_collect() -> None:
    """Nothing is shared between processes."""


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Limits the pool to a fraction of the GPU's memory."""
    _pool().set_limit(fraction=fraction)
