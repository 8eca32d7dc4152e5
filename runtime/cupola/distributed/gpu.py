"""NCCL where every rank has a GPU of its own; why not, said once, where it has not."""

from __future__ import annotations

import os
import warnings
from typing import Any


def communicator(group: Any) -> Any:
    """The group's NCCL communicator, or None; the members agree on which.

    A warning at the first rank says why a job on GPUs goes without NCCL.
    """
    from cupola.backends.cuda import nccl

    own = nccl.identity() if os.environ.get("CUPOLA_NCCL", "1") not in ("", "0") else None
    owners = group.transport.gather_objects(own)
    problem = ""
    if any(owner is None for owner in owners):
        where = [group.ranks[i] for i, owner in enumerate(owners) if owner is None]
        problem = f"NCCL cannot be loaded, or is turned off, on ranks {where}"
    elif len(set(owners)) < len(owners):
        shared = sorted({owner for owner in owners if owners.count(owner) > 1})
        names = ", ".join(f"{host} {address}" for host, address in shared)
        problem = f"several ranks share a GPU ({names})"
    if problem:
        if group.rank == 0:
            warnings.warn(
                f"{problem}: tensors on GPUs travel by MPI through host memory, which is slower",
                stacklevel=2,
            )
        return None
    name = nccl.new_id() if group.rank == 0 else None
    return nccl.Communicator(group.size, group.transport.broadcast_object(name, 0), group.rank)
