"""Several processes (torch.distributed), started by mpirun.

``import cupola`` loads this file only. The rest is loaded where a launcher started the process as
one of several, or where a program asks for it.
"""

from __future__ import annotations

import importlib
from typing import Any

from cupola.unsupported import placeholder

_started = False


def _prepare() -> None:
    """Under mpirun: sets this rank's GPU and threads, before libraries that read them load."""
    from cupola.distributed import launch

    place = launch.found()
    if place is not None and place.size > 1:
        launch.prepare(place)
        if launch.visible_gpus():
            importlib.import_module("cupola.ir.device").one_gpu = True  # type: ignore[attr-defined]


def start() -> None:
    """Under mpirun: opens MPI, and makes plain programs data-parallel; nothing otherwise."""
    global _started
    from cupola.distributed import launch

    place = launch.found()
    if _started or place is None or place.size < 2:
        return
    import atexit

    from cupola.distributed import faults, parallel, watch, world

    state = world.world()
    faults.install(state.rank, state.size, state.transport.abort)
    parallel.install()
    _started = True
    atexit.register(watch.Watch(state).close)


def processes(group: Any = None) -> int:
    """Number of processes in a group, without opening one."""
    if group is None and not _started:
        return 1
    return importlib.import_module("cupola.distributed.world").current(group).size


def share_of(loader: Any) -> Any:
    """This rank's share of a pass over a data loader; None without mpirun."""
    if not _started:
        return None
    from cupola.distributed import sharding

    return sharding.of(loader)


# PyTorch's names, which c10d.py has.
_NAMES = frozenset(
    """
    all_gather all_gather_into_tensor all_gather_object all_gather_single all_reduce
    all_to_all all_to_all_single Backend barrier batch_isend_irecv broadcast
    broadcast_object_list destroy_process_group gather gather_object get_backend
    get_default_backend_for_device get_global_rank get_group_rank get_node_local_rank
    get_process_group_ranks get_rank get_world_size group GroupMember init_process_group irecv
    is_available is_backend_available is_gloo_available is_initialized is_mpi_available
    is_nccl_available is_torchelastic_launched is_ucc_available isend monitored_barrier
    new_group P2POp ProcessGroup recv recv_object_list reduce reduce_scatter
    reduce_scatter_single reduce_scatter_tensor ReduceOp scatter scatter_object_list send
    send_object_list Work
    """.split()
)
# Names that exist and raise UnsupportedError where they are called.
_MISSING = ("Store", "TCPStore", "FileStore", "HashStore", "DeviceMesh", "init_device_mesh")


def __getattr__(name: str) -> Any:
    if name in _MISSING:
        return placeholder(f"distributed.{name}", "processes meet through MPI here, without stores")
    if name in _NAMES:
        return getattr(importlib.import_module("cupola.distributed.c10d"), name)
    raise AttributeError(f"module 'cupola.distributed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_NAMES, *_MISSING]


_prepare()
