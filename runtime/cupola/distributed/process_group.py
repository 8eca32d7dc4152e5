"""Opening process groups, and asking them, in PyTorch's spelling (torch.distributed)."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from typing import Any

from cupola.distributed import launch, world

default_timeout = datetime.timedelta(minutes=30)
_open: dict[str, Any] = {}


class GroupMember:
    """Constants that PyTorch keeps here."""

    WORLD = None
    NON_GROUP_MEMBER = object()


group = GroupMember


class Backend(str):
    """A backend's name; any of PyTorch's is taken, and decides nothing."""

    UNDEFINED, GLOO, NCCL, UCC, MPI = "undefined", "gloo", "nccl", "ucc", "mpi"


class Work:
    """What asynchronous calls return."""

    def __init__(self, request: Any = None, finish: Callable[[], None] | None = None) -> None:
        self._request, self._finish = request, finish

    def is_completed(self) -> bool:
        """Whether the communication is done."""
        if self._request is None or self._request.Test():
            self.wait()
            return True
        return False

    def wait(self, timeout: Any = None) -> bool:
        """Waits for the communication; True."""
        if self._request is not None:
            self._request.Wait()
            self._request = None
        if self._finish is not None:
            finish, self._finish = self._finish, None
            finish()
        return True

    def is_success(self) -> bool:
        """Whether it went well; failures raise."""
        return True


def done(async_op: bool) -> Work | None:
    return Work() if async_op else None


# --- the group


def is_available() -> bool:
    """Whether process groups can be opened: always; of one process without mpirun."""
    return True


def is_initialized() -> bool:
    """Whether ``init_process_group`` has been called."""
    return bool(_open)


def is_mpi_available() -> bool:
    """Whether this process was started by mpirun."""
    return launch.found() is not None


def is_nccl_available() -> bool:
    """Whether NCCL can be loaded."""
    from cupola.backends.cuda import nccl

    return nccl.module() is not None


def is_gloo_available() -> bool:
    """True: ``backend="gloo"`` is taken, and means MPI."""
    return True


def is_ucc_available() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False: jobs are started by mpirun."""
    return False


def is_backend_available(backend: str) -> bool:
    """Whether a backend's name is taken by ``init_process_group``."""
    return backend.lower() in ("gloo", "nccl", "mpi")


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Opens the group of all processes (torch.distributed.init_process_group).

    From here on the program decides itself what is shared, averaged, printed and saved. Rank and
    size are mpirun's, whatever is given.

    Raises:
        RuntimeError: more than one process is asked for, and mpirun did not start this one.
    """
    if _open:
        raise ValueError("trying to initialize the default process group twice!")
    state = world.world()
    state.automatic, state.aware = False, True
    wanted = world_size if world_size > 0 else int(os.environ.get("WORLD_SIZE", "1"))
    if wanted > 1 and not state.launched:
        _refuse(wanted)
    _open["backend"] = Backend(backend or "mpi")


def _refuse(wanted: int) -> None:
    raise RuntimeError(
        f"a process group of {wanted} processes was asked for, but this process was not started by "
        f"mpirun. Start the program with: mpirun -np {wanted} python ... (pip install mpi4py mpich "
        "brings mpirun)"
    )


def destroy_process_group(group: Any = None) -> None:
    """Closes the group (all groups for None)."""
    if group is None:
        _open.clear()


def new_group(
    ranks: Sequence[int] | None = None,
    timeout: Any = None,
    backend: Any = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: Any = None,
    device_id: Any = None,
) -> Any:
    """A group of some ranks; every process calls this, members or not."""
    made = world.subgroup(ranks)
    return made if made.rank >= 0 else GroupMember.NON_GROUP_MEMBER


def get_backend(group: Any = None) -> Backend:
    """The name that ``init_process_group`` was given."""
    return _open.get("backend", Backend("mpi"))


def get_default_backend_for_device(device: Any) -> str:
    """What carries tensors of a device: "nccl" for GPUs, "mpi" for the rest."""
    return "nccl" if str(device).startswith("cuda") else "mpi"


def get_rank(group: Any = None) -> int:
    """This process's number in a group; -1 outside of it."""
    if group is GroupMember.NON_GROUP_MEMBER:
        return -1
    if group is None:
        world.world().aware = True
    return (group or world.world()).rank


def get_world_size(group: Any = None) -> int:
    """Number of processes in a group; -1 outside of it."""
    if group is GroupMember.NON_GROUP_MEMBER:
        return -1
    return (group or world.world()).size


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """This process's number on its host."""
    return world.world().local_rank


def get_process_group_ranks(group: Any) -> list[int]:
    """The job-wide ranks of a group."""
    return list((group or world.world()).ranks)


def get_global_rank(group: Any, group_rank: int) -> int:
    """The job-wide rank of a group's member."""
    return (group or world.world()).ranks[group_rank]


def get_group_rank(group: Any, global_rank: int) -> int:
    """The number within a group of a job-wide rank."""
    return (group or world.world()).number_of(global_rank)


def member(group: Any) -> Any:
    """The group to use, or None where this process has no part in it."""
    if group is GroupMember.NON_GROUP_MEMBER:
        return None
    return world.current(group)


def root_of(chosen: Any, rank: int | None, number: int | None) -> int:
    if number is not None:
        return number
    return chosen.number_of(0 if rank is None else rank)
