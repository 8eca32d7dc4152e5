"""Several processes, started by ``mpirun``: who this one is, and operators between them.

Without mpirun there is one process, mpi4py is not needed, and every operator here returns what it
is given. Operators run where they are called, at every rank in the order of its program; reading a
value (``item``, ``print``) never communicates. docs/tutorials/distributed.md shows them at work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from cupola.distributed import collectives, watch, world
from cupola.distributed.operators import (
    all_gather,
    barrier,
    mpi_all_reduce,
    mpi_broadcast,
    mpi_reduce,
    nccl_all_reduce,
    nccl_broadcast,
    nccl_reduce,
    recv,
    reduce_scatter,
    send,
)
from cupola.distributed.watch import patience
from cupola.distributed.world import Group, single_process_scope
from cupola.dtypes import float64 as _float64
from cupola.tensor import Tensor, no_grad
from cupola.tensor import tensor as _new

__all__ = [
    "Group",
    "all_gather",
    "barrier",
    "batch_weight",
    "broadcast_object",
    "local_rank",
    "local_size",
    "mean",
    "mpi_all_reduce",
    "mpi_broadcast",
    "mpi_reduce",
    "nccl_all_reduce",
    "nccl_broadcast",
    "nccl_reduce",
    "new_group",
    "no_sync",
    "patience",
    "rank",
    "recv",
    "reduce_scatter",
    "send",
    "shard",
    "single_process_scope",
    "size",
    "sum",
]


def rank() -> int:
    """This process's number, from 0.

    A program that asks decides itself what it prints and saves: both then happen at every rank.
    """
    state = world.world()
    state.aware = True
    return state.rank


def size() -> int:
    """Number of processes."""
    return world.world().size


def local_rank() -> int:
    """This process's number on its host."""
    return world.world().local_rank


def local_size() -> int:
    """Number of processes on this host."""
    return world.world().local_size


def new_group(ranks: Sequence[int]) -> Group:
    """A group of some ranks, for ``group=``; every process calls this with the same ranks."""
    return world.subgroup(ranks)


# --- helpers of programs


def mean(value: Any) -> float:
    """The mean over the ranks of a number or one-element tensor: a metric, the same everywhere."""
    return sum(value) / size()


def sum(value: Any) -> float:
    """The sum over the ranks of a number or one-element tensor."""
    number = value.item() if isinstance(value, Tensor) else value
    with no_grad():
        total = collectives.all_reduce(_new(float(number), dtype=_float64), "add", None, "mpi")
    return total.item()


def broadcast_object(value: Any, root: int = 0) -> Any:
    """Rank ``root``'s Python object at every rank; it travels pickled."""
    chosen = world.current()
    with watch.collective("broadcast_object", chosen, (), None, {"root": root}):
        return chosen.transport.broadcast_object(value, chosen.number_of(root))


def batch_weight() -> float:
    """What this rank's part of the batch at hand counts, relative to an equal share."""
    return world.world().weight


def shard(loader: Any, on: bool = True) -> Any:
    """Decides whether the ranks share a DataLoader's passes; returns the loader.

    Undecided, passes that begin where gradients are recorded are shared, evaluations are not.
    """
    loader.sharded = on
    return loader


@contextlib.contextmanager
def no_sync() -> Iterator[None]:
    """Backward passes in the block leave gradients as they are; the next one averages their sum."""
    state = world.world()
    saved, state.sync = state.sync, False
    try:
        yield
    finally:
        state.sync = saved
