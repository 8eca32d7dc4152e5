"""The standard library's multiprocessing (torch.multiprocessing); tensors travel as NumPy
arrays.
"""

from __future__ import annotations

import multiprocessing as _standard
import os
from multiprocessing import *  # noqa: F403
from typing import Any

__all__ = [
    *_standard.__all__,
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
]


def set_sharing_strategy(new_strategy: str) -> None:
    """How PyTorch shares memory; tensors are copied here."""


def get_sharing_strategy() -> str:
    """The strategy's name."""
    return "file_system"


def get_all_sharing_strategies() -> set[str]:
    """Strategies to choose from."""
    return {"file_system"}


def spawn(
    fn: Any,
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> Any:
    """Runs ``fn(i, *args)`` in ``nprocs`` processes (torch.multiprocessing.spawn).

    Under mpirun the processes are there already: this one runs ``fn`` with its number on its host.

    Raises:
        RuntimeError: a process failed.
    """
    if os.environ.get("CUPOLA_MPI_PROCESS") == str(os.getpid()):
        return fn(int(os.environ["LOCAL_RANK"]), *args)
    context = _standard.get_context(start_method)
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]
    for p in processes:
        p.start()
    if not join:
        return processes
    for p in processes:
        p.join()
    failed = [i for i, p in enumerate(processes) if p.exitcode]
    if failed:
        raise RuntimeError(f"processes {failed} ended with an error: see their output above")
    return None
