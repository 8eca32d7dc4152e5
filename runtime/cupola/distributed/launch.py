"""Who this process is, as its launcher says in environment variables, and which GPU it takes.

Reads and sets the environment only: nothing here imports mpi4py, NumPy or CuPy.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

# rank, size, local rank, local size; MPICH and its relatives, Open MPI, MVAPICH.
_LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", ""),
)
# The first process of a rank leaves its number here: processes that it starts are not ranks.
_OWNER = "CUPOLA_MPI_PROCESS"


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that mpirun started; ``local``: on the same host."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def found() -> Place | None:
    """This process's place, or None where no MPI launcher started it.

    ``CUPOLA_MPI=0`` turns the search off.
    """
    if os.environ.get("CUPOLA_MPI", "1") in ("", "0"):
        return None
    if os.environ.get(_OWNER, str(os.getpid())) != str(os.getpid()):
        return None
    for names in _LAUNCHERS:
        values = [os.environ.get(name, "") for name in names]
        if values[0].isdigit() and values[1].isdigit():
            rank, size = int(values[0]), int(values[1])
            local = int(values[2]) if values[2].isdigit() else 0
            return Place(rank, size, local, int(values[3]) if values[3].isdigit() else size)
    return None


def prepare(place: Place) -> None:
    """Sets what libraries read when they are loaded: this rank's GPU, threads, torchrun's names.

    A rank sees one GPU only, the one with its local number among ``CUDA_VISIBLE_DEVICES`` (or all);
    with more ranks than GPUs they are shared.
    """
    os.environ[_OWNER] = str(os.getpid())
    values = {
        "RANK": place.rank,
        "WORLD_SIZE": place.size,
        "LOCAL_RANK": place.local_rank,
        "LOCAL_WORLD_SIZE": place.local_size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 29500,
    }
    for name, value in values.items():
        os.environ.setdefault(name, str(value))
    if place.local_size > 1 and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(_threads(place.local_size))
    gpus = visible_gpus()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place.local_rank % len(gpus)]


def _threads(ranks: int) -> int:
    """This rank's share of the host's processors; those that the launcher bound it to, if any."""
    every = os.cpu_count() or 1
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    return max(1, bound if bound < every else every // ranks)


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES lists them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(i) for i in range(_gpu_count())]


def _gpu_count() -> int:
    """How many GPUs the driver lists; asked without starting CUDA."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return len(list(Path("/dev").glob("nvidia[0-9]*")))
    count = ctypes.c_uint(0)
    if library.nvmlInit_v2() != 0 or library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return 0
    library.nvmlShutdown()
    return count.value
