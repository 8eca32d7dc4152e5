"""Several processes (torch.distributed): this process is the only one, and asking for more says
so.
"""

from __future__ import annotations

import enum
from typing import Any

from cupola.unsupported import placeholder


class ReduceOp(enum.Enum):
    """How values of several processes are combined."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7


class ProcessGroup:
    """Exists for annotations; nothing is one."""


def is_available() -> bool:
    """Whether process groups can be opened: not in this release."""
    return False


def is_initialized() -> bool:
    """Whether a process group is open."""
    return False


def is_nccl_available() -> bool:
    """Whether NCCL can be used for process groups."""
    return False


is_mpi_available = is_gloo_available = is_torchelastic_launched = is_nccl_available


def get_rank(group: Any = None) -> int:
    """This process's number: 0."""
    return 0


def get_world_size(group: Any = None) -> int:
    """Number of processes: 1."""
    return 1


_NAMES = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "destroy_process_group",
    "gather",
    "gather_object",
    "get_backend",
    "init_process_group",
    "irecv",
    "isend",
    "monitored_barrier",
    "new_group",
    "recv",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
    "send",
    "Store",
    "TCPStore",
    "FileStore",
    "HashStore",
    "DeviceMesh",
    "init_device_mesh",
    "group",
    "GroupMember",
    "Work",
    "Backend",
)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return placeholder(f"distributed.{name}", "process groups are not part of this release")
    raise AttributeError(f"module 'cupola.distributed' has no attribute {name!r}")
