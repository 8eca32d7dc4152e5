"""PyTorch's spellings (torch.distributed) over MPI and NCCL.

Collectives write into their tensors, run where they are called, and carry no gradient, as
PyTorch's. The backend's name decides nothing: GPU tensors travel by NCCL where every rank has a GPU
of its own, everything else by MPI.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from cupola import engine
from cupola.distributed import collectives, launch, transport, watch, world
from cupola.distributed.reduce_op import ReduceOp
from cupola.distributed.world import Group as ProcessGroup
from cupola.functional._register import write_into
from cupola.ir.source import buffer
from cupola.tensor import Tensor, no_grad
from cupola.tensor.core import wrap

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
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
    "send",
]

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


def _done(async_op: bool) -> Work | None:
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
    import os

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


def _member(group: Any) -> Any:
    """The group to use, or None where this process has no part in it."""
    if group is GroupMember.NON_GROUP_MEMBER:
        return None
    return world.current(group)


def _root(chosen: Any, rank: int | None, number: int | None) -> int:
    if number is not None:
        return number
    return chosen.number_of(0 if rank is None else rank)


# --- collectives


def _run(kind: str, tensor: Tensor, chosen: Any, **attrs: Any) -> Tensor:
    """A collective on a tensor's value; the result as a tensor without history."""
    if "op" in attrs:
        transport.check(attrs["op"], tensor.dtype)
    node = tensor.node
    value = collectives.run(kind, node, chosen, "auto", **attrs)
    return wrap(buffer(value, node.dtype, node.device))


def _write(target: Tensor, result: Tensor) -> None:
    with no_grad():
        write_into(target, result if result.shape == target.shape else result.reshape(target.shape))


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Any:
    """Reduces ``tensor`` over the group, in place at every rank."""
    chosen = _member(group)
    if chosen is not None:
        _write(tensor, _run("all_reduce", tensor, chosen, op=ReduceOp.name_of(op)))
    return _done(async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Any:
    """Reduces ``tensor`` to rank ``dst``; the others keep theirs."""
    chosen = _member(group)
    if chosen is not None:
        root = _root(chosen, dst, group_dst)
        out = _run("reduce", tensor, chosen, op=ReduceOp.name_of(op), root=root)
        if chosen.rank == root:
            _write(tensor, out)
    return _done(async_op)


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Any:
    """``tensor`` becomes that of rank ``src``."""
    chosen = _member(group)
    if chosen is not None:
        root = _root(chosen, src, group_src)
        _write(tensor, _run("broadcast", tensor, chosen, root=root))
    return _done(async_op)


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """Every rank's tensor, into a list."""
    chosen = _member(group)
    if chosen is not None:
        every = _run("all_gather", tensor, chosen)
        for k, target in enumerate(tensor_list):
            _write(target, every[k])
    return _done(async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Any:
    """Every rank's tensor, one after another along the first dimension."""
    chosen = _member(group)
    if chosen is not None:
        _write(output_tensor, _run("all_gather", input_tensor, chosen))
    return _done(async_op)


def reduce_scatter_tensor(
    output: Tensor,
    input: Tensor,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Reduces ``input`` and leaves this rank's part of its first dimension in ``output``."""
    chosen = _member(group)
    if chosen is not None:
        rows = input.detach().reshape((chosen.size, *output.shape))
        _write(output, _run("reduce_scatter", rows, chosen, op=ReduceOp.name_of(op)))
    return _done(async_op)


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


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Any:
    """Every rank's tensor, into a list at rank ``dst``."""
    chosen = _member(group)
    if chosen is not None:
        root = _root(chosen, dst, group_dst)
        value = _host("gather", tensor, chosen, root=root)
        if chosen.rank == root:
            for target, row in zip(gather_list or (), value, strict=True):
                _write(target, _tensor(row, tensor))
    return _done(async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Any:
    """Tensor number i of rank ``src``'s list, at rank i."""
    chosen = _member(group)
    if chosen is not None:
        root = _root(chosen, src, group_src)
        rows = None
        if chosen.rank == root:
            rows = engine.to_numpy(_stacked(scatter_list or ()).node)
        like = engine.to_numpy(tensor.node)
        with watch.collective("scatter", chosen, tensor.shape, tensor.dtype, {"root": root}):
            value = chosen.transport.scatter(rows, like, root)
        _write(tensor, _tensor(value, tensor))
    return _done(async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Any = None,
    input_split_sizes: Any = None,
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Part j of rank i's ``input`` becomes part i of rank j's ``output``; equal parts."""
    chosen = _member(group)
    if chosen is not None:
        if output_split_sizes or input_split_sizes:
            raise NotImplementedError("all_to_all_single takes parts of equal size here")
        rows = input.detach().reshape((chosen.size, -1))
        _write(output, _tensor(_host("all_to_all", rows, chosen), input))
    return _done(async_op)


def all_to_all(
    output_tensor_list: list[Tensor],
    input_tensor_list: list[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Any:
    """Tensor j of rank i becomes tensor i of rank j; equal shapes."""
    chosen = _member(group)
    if chosen is not None:
        value = _host("all_to_all", _stacked(input_tensor_list), chosen)
        for target, row in zip(output_tensor_list, value, strict=True):
            _write(target, _tensor(row, target))
    return _done(async_op)


def _host(kind: str, tensor: Tensor, chosen: Any, **attrs: Any) -> Any:
    array = engine.to_numpy(tensor.node)
    with watch.collective(kind, chosen, tensor.shape, tensor.dtype, attrs):
        return getattr(chosen.transport, kind)(array, **attrs)


def _tensor(array: Any, like: Tensor) -> Tensor:
    return wrap(buffer(engine.from_numpy(array, like.device), like.dtype, like.device))


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Any:
    """Waits until every rank of the group has come here."""
    chosen = _member(group)
    if chosen is not None:
        collectives.barrier(chosen)
    return _done(async_op)


def monitored_barrier(group: Any = None, timeout: Any = None, wait_all_ranks: bool = False) -> None:
    """``barrier``; a rank that does not come is named by the watch over all ranks."""
    barrier(group)


# --- from one rank to another


def send(
    tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
    group_dst: int | None = None,
) -> None:  # fmt: skip
    """Sends ``tensor`` to rank ``dst``."""
    chosen = _member(group)
    if chosen is not None:
        _host_message("send", tensor, chosen, to=_root(chosen, dst, group_dst), tag=tag)


def recv(
    tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
    group_src: int | None = None,
) -> int:  # fmt: skip
    """Receives into ``tensor`` from rank ``src``; returns it."""
    chosen = _member(group)
    if chosen is None:
        return -1
    source = -1 if src is None and group_src is None else _root(chosen, src, group_src)
    value = _host_message("receive", tensor, chosen, source=source, tag=tag)
    _write(tensor, _tensor(value, tensor))
    return source


def _host_message(kind: str, tensor: Tensor, chosen: Any, **attrs: Any) -> Any:
    return _host(kind, tensor, chosen, **attrs)


def isend(
    tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
    group_dst: int | None = None,
) -> Work:  # fmt: skip
    """Starts to send ``tensor``."""
    import numpy as np

    chosen = _member(group)
    array = np.array(engine.to_numpy(tensor.node), order="C")
    return Work(chosen.transport.start_send(array, _root(chosen, dst, group_dst), tag))


def irecv(
    tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
    group_src: int | None = None,
) -> Work:  # fmt: skip
    """Starts to receive; ``tensor`` is written by ``wait``."""
    import numpy as np

    chosen = _member(group)
    source = -1 if src is None and group_src is None else _root(chosen, src, group_src)
    out = np.empty(tuple(tensor.shape), tensor.dtype.np)
    request = chosen.transport.start_receive(out, source, tag)
    return Work(request, lambda: _write(tensor, _tensor(out, tensor)))


class P2POp:
    """One message of ``batch_isend_irecv``."""

    def __init__(
        self, op: Any, tensor: Tensor, peer: int | None = None, group: Any = None, tag: int = 0,
        group_peer: int | None = None,
    ) -> None:  # fmt: skip
        self.op, self.tensor, self.peer = op, tensor, peer
        self.group, self.tag, self.group_peer = group, tag, group_peer


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Starts several messages."""
    return [m.op(m.tensor, m.peer, m.group, m.tag, m.group_peer) for m in p2p_op_list]


# --- objects


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
) -> None:
    """The objects of rank ``src``, in place; they travel pickled."""
    chosen = _member(group)
    if chosen is not None:
        root = _root(chosen, src, group_src)
        with watch.collective("broadcast_object_list", chosen, (), None, {"root": root}):
            object_list[:] = chosen.transport.broadcast_object(list(object_list), root)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Every rank's object, into a list."""
    chosen = _member(group)
    if chosen is not None:
        with watch.collective("all_gather_object", chosen, (), None, {}):
            object_list[:] = chosen.transport.gather_objects(obj)


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int | None = None,
    group: Any = None,
    group_dst: int | None = None,
) -> None:
    """Every rank's object, into a list at rank ``dst``."""
    chosen = _member(group)
    if chosen is not None:
        root = _root(chosen, dst, group_dst)
        with watch.collective("gather_object", chosen, (), None, {"root": root}):
            every = chosen.transport.gather_objects(obj)
        if chosen.rank == root and object_gather_list is not None:
            object_gather_list[:] = every


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | None = None,
    group: Any = None,
    group_src: int | None = None,
) -> None:
    """Object number i of rank ``src``'s list, at rank i."""
    chosen = _member(group)
    if chosen is not None:
        root = _root(chosen, src, group_src)
        given = scatter_object_input_list if chosen.rank == root else None
        with watch.collective("scatter_object_list", chosen, (), None, {"root": root}):
            scatter_object_output_list[0] = chosen.transport.scatter_objects(given, root)
