"""The processes of this job: who they are, groups of them, and how the job takes part.

One ``World`` a process. Without mpirun it has one member, and mpi4py is not imported.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from cupola.distributed import launch
from cupola.distributed.transport import MPITransport, Solo
from cupola.errors import BackendError


class Group:
    """Some of the job's processes, in an order.

    Attributes:
        ranks: their numbers in the job.
        rank: this process's number within the group, or -1 outside of it.
        transport: how arrays in host memory travel.
    """

    def __init__(self, ranks: Sequence[int], own: int, transport: Any, name: str) -> None:
        self.ranks = tuple(ranks)
        self.rank = self.ranks.index(own) if own in self.ranks else -1
        self.transport = transport
        self.name = name
        self.sequence = 0
        self._nccl: Any = None
        self._nccl_asked = False

    @property
    def size(self) -> int:
        return len(self.ranks)

    def nccl(self) -> Any:
        """The group's NCCL communicator, or None where it cannot have one; all members call this
        together the first time.
        """
        if not self._nccl_asked:
            from cupola.distributed.gpu import communicator

            self._nccl = communicator(self)
            self._nccl_asked = True
        return self._nccl

    def number_of(self, rank: int) -> int:
        """A job-wide rank as a number within the group.

        Raises:
            ValueError: that process is not in the group.
        """
        if rank not in self.ranks:
            raise ValueError(f"rank {rank} is not in the group of ranks {list(self.ranks)}")
        return self.ranks.index(rank)

    def __repr__(self) -> str:
        return f"<group {self.name}: ranks {list(self.ranks)}>"


class World(Group):
    """All processes of the job.

    Attributes:
        local_rank, local_size: number of this process on its host, and how many are there.
        automatic: plain programs are made data-parallel (loaders shard, gradients are averaged);
            off without mpirun, and once a program opens a process group itself.
        aware: the program has asked for its rank, so it decides itself what to print and save.
        weight: what this rank's mean loss counts, relative to an equal share, in the batch at hand.
        alone: the rank whose ``single_process_scope`` is active, or None.
        sync: False inside ``no_sync``.
    """

    def __init__(self, place: launch.Place, transport: Any) -> None:
        super().__init__(range(place.size), place.rank, transport, "world")
        self.local_rank, self.local_size = place.local_rank, place.local_size
        self.launched = not isinstance(transport, Solo)
        self.automatic = self.launched and place.size > 1
        self.aware = False
        self.weight = 1.0
        self.alone: int | None = None
        self.sync = True
        self.solo: Group | None = None
        self.groups = 0


_world: World | None = None


def world() -> World:
    """This process's world; MPI is started on first use where a launcher started the process."""
    return _world if _world is not None else _open()


def opened() -> World | None:
    """The world, or None where this process has not asked for one."""
    return _world


def _open() -> World:
    global _world
    place = launch.found()
    if place is None:
        _world = World(launch.Place(0, 1, 0, 1), Solo())
        return _world
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise BackendError(
            f"this process was started by mpirun as rank {place.rank} of {place.size}, but mpi4py "
            f"cannot be imported ({error}). Install it beside the MPI library that started it: "
            "pip install mpi4py mpich. CUPOLA_MPI=0 runs every process by itself."
        ) from None
    comm = MPI.COMM_WORLD
    if comm.size != place.size:
        raise BackendError(
            f"mpirun says that this is rank {place.rank} of {place.size}, but mpi4py's MPI library "
            f"({MPI.Get_library_version().splitlines()[0]}) sees {comm.size} processes: it belongs "
            "to another MPI. Use the mpirun that was installed with it."
        )
    host = comm.Split_type(MPI.COMM_TYPE_SHARED)
    place = launch.Place(comm.rank, comm.size, host.rank, host.size)
    host.Free()
    # A communicator of our own: what the program sends through mpi4py cannot be mistaken for ours.
    _world = World(place, MPITransport(MPI, comm.Dup()))
    return _world


def subgroup(ranks: Sequence[int] | None) -> Group:
    """A group of some ranks; every process of the job calls this with the same ranks."""
    whole = world()
    chosen = range(whole.size) if ranks is None else sorted(set(ranks))
    wrong = [r for r in chosen if not 0 <= r < whole.size]
    if wrong:
        raise ValueError(f"ranks {wrong} do not exist: the job has {whole.size} processes")
    whole.groups += 1
    transport = whole.transport.split(chosen, whole.rank, whole.groups)
    return Group(chosen, whole.ranks[whole.rank], transport, f"group{whole.groups}")


@contextlib.contextmanager
def single_process_scope(rank: int = 0) -> Iterator[bool]:
    """Inside, only process ``rank`` counts: the value is True there, and its collectives involve
    nobody else; the other processes get False and should skip the block.
    """
    state = world()
    state.aware = True
    saved, state.alone = state.alone, rank
    try:
        yield state.rank == rank
    finally:
        state.alone = saved


def current(group: Any = None) -> Group:
    """The group a collective addresses: the given one, a lone process in its scope, or all."""
    if isinstance(group, Group):
        return group
    state = world()
    if state.alone is not None:
        if state.solo is None:
            state.solo = Group((state.rank,), state.rank, Solo(), "single process")
        return state.solo
    return state


def debug() -> bool:
    """Whether every collective is compared between the ranks first (CUPOLA_MPI_DEBUG=1)."""
    return os.environ.get("CUPOLA_MPI_DEBUG", "0") not in ("", "0")
