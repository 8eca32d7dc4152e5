"""PyTorch's spellings (torch.distributed) over MPI and NCCL.

Collectives write into their tensors, run where they are called, and carry no gradient, as
PyTorch's. The backend's name decides nothing: GPU tensors travel by NCCL where every rank has a GPU
of its own, everything else by MPI.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cupola import engine
from cupola.distributed import collectives, transport, watch
from cupola.distributed.messages import (
    P2POp,
    all_gather_object,
    batch_isend_irecv,
    broadcast_object_list,
    gather_object,
    host,
    irecv,
    isend,
    recv,
    recv_object_list,
    scatter_object_list,
    send,
    send_object_list,
    tensor_of,
    write_back,
)
from cupola.distributed.process_group import (
    Backend,
    GroupMember,
    Work,
    destroy_process_group,
    done,
    get_backend,
    get_default_backend_for_device,
    get_global_rank,
    get_group_rank,
    get_node_local_rank,
    get_process_group_ranks,
    get_rank,
    get_world_size,
    group,
    init_process_group,
    is_available,
    is_backend_available,
    is_gloo_available,
    is_initialized,
    is_mpi_available,
    is_nccl_available,
    is_torchelastic_launched,
    is_ucc_available,
    member,
    new_group,
    root_of,
)
from cupola.distributed.reduce_op import ReduceOp
from cupola.distributed.world import Group as ProcessGroup
from cupola.tensor import Tensor

__all__ = [
    "Backend",
    "GroupMember",
    "P2POp",
    "ProcessGroup",
    "ReduceOp",
    "Work",
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_gather_single",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "batch_isend_irecv",
    "broadcast",
    "broadcast_object_list",
    "destroy_process_group",
    "gather",
    "gather_object",
    "get_backend",
    "get_default_backend_for_device",
    "get_global_rank",
    "get_group_rank",
    "get_node_local_rank",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "group",
    "init_process_group",
    "irecv",
    "is_available",
    "is_backend_available",
    "is_gloo_available",
    "is_initialized",
    "is_mpi_available",
    "is_nccl_available",
    "is_torchelastic_launched",
    "is_ucc_available",
    "isend",
    "monitored_barrier",
    "new_group",
    "recv",
    "reduce",
    "recv_object_list",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
    "send",
    "send_object_list",
]


def _run(kind: str, tensor: Tensor, chosen: Any, **attrs: Any) -> Tensor:
    """A collective on a tensor's value; the result as a tensor without history."""
    if "op" in attrs:
        transport.check(attrs["op"], tensor.dtype)
    return collectives.plain(kind, tensor, chosen, **attrs)


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Any:
    """Reduces ``tensor`` over the group, in place at every rank."""
    chosen = member(group)
    if chosen is not None:
        write_back(tensor, _run("all_reduce", tensor, chosen, op=ReduceOp.name_of(op)))
    return done(async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Any:
    """Reduces ``tensor`` to rank ``dst``; the others keep theirs."""
    chosen = member(group)
    if chosen is not None:
        root = root_of(chosen, dst, group_dst)
        out = _run("reduce", tensor, chosen, op=ReduceOp.name_of(op), root=root)
        if chosen.rank == root:
            write_back(tensor, out)
    return done(async_op)


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Any:
    """``tensor`` becomes that of rank ``src``."""
    chosen = member(group)
    if chosen is not None:
        root = root_of(chosen, src, group_src)
        write_back(tensor, _run("broadcast", tensor, chosen, root=root))
    return done(async_op)


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """Every rank's tensor, into a list."""
    chosen = member(group)
    if chosen is not None:
        every = _run("all_gather", tensor, chosen)
        for k, target in enumerate(tensor_list):
            write_back(target, every[k])
    return done(async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """Every rank's tensor, one after another along the first dimension."""
    chosen = member(group)
    if chosen is not None:
        write_back(output_tensor, _run("all_gather", input_tensor, chosen))
    return done(async_op)


def reduce_scatter_tensor(
    output: Tensor,
    input: Tensor,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Reduces ``input`` and leaves this rank's part of its first dimension in ``output``."""
    chosen = member(group)
    if chosen is not None:
        rows = input.detach().reshape((chosen.size, *output.shape))
        write_back(output, _run("reduce_scatter", rows, chosen, op=ReduceOp.name_of(op)))
    return done(async_op)


def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """``reduce_scatter_tensor`` of a list."""
    return reduce_scatter_tensor(output, _stacked(input_list), op, group, async_op)


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    from cupola.functional.joining import stack

    return stack([t.detach() for t in tensors])


all_gather_single, reduce_scatter_single = all_gather_into_tensor, reduce_scatter_tensor


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Any:
    """Every rank's tensor, into a list at rank ``dst``."""
    chosen = member(group)
    if chosen is not None:
        root = root_of(chosen, dst, group_dst)
        value = host("gather", tensor, chosen, root=root)
        if chosen.rank == root:
            for target, row in zip(gather_list or (), value, strict=True):
                write_back(target, tensor_of(row, tensor))
    return done(async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Any:
    """Tensor number i of rank ``src``'s list, at rank i."""
    chosen = member(group)
    if chosen is not None:
        root = root_of(chosen, src, group_src)
        rows = None
        if chosen.rank == root:
            rows = engine.to_numpy(_stacked(scatter_list or ()).node)
        like = engine.to_numpy(tensor.node)
        with watch.collective("scatter", chosen, tensor.shape, tensor.dtype, {"root": root}):
            value = chosen.transport.scatter(rows, like, root)
        write_back(tensor, tensor_of(value, tensor))
    return done(async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Any = None,
    input_split_sizes: Any = None,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Part j of rank i's ``input`` becomes part i of rank j's ``output``; equal parts."""
    chosen = member(group)
    if chosen is not None:
        if output_split_sizes or input_split_sizes:
            raise NotImplementedError("all_to_all_single takes parts of equal size here")
        rows = input.detach().reshape((chosen.size, -1))
        write_back(output, tensor_of(host("all_to_all", rows, chosen), input))
    return done(async_op)


def all_to_all(
    output_tensor_list: list[Tensor],
    input_tensor_list: list[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Tensor j of rank i becomes tensor i of rank j; equal shapes."""
    chosen = member(group)
    if chosen is not None:
        value = host("all_to_all", _stacked(input_tensor_list), chosen)
        for target, row in zip(output_tensor_list, value, strict=True):
            write_back(target, tensor_of(row, target))
    return done(async_op)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Any:
    """Waits until every rank of the group has come here."""
    chosen = member(group)
    if chosen is not None:
        collectives.barrier(chosen)
    return done(async_op)


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """``barrier``; a rank that does not come is named by the watch over all ranks."""
    barrier(group)
