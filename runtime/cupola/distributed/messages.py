"""Messages between two ranks, and Python objects, in PyTorch's spelling (torch.distributed)."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from cupola import engine
from cupola.distributed import watch
from cupola.distributed.process_group import Work, member, root_of
from cupola.functional._register import write_into
from cupola.ir.source import buffer
from cupola.tensor import Tensor, no_grad
from cupola.tensor.core import wrap

_OBJECTS = 32766  # a tag that programs do not choose


def write_back(target: Tensor, result: Tensor) -> None:
    """Writes a result into the tensor that the caller gave."""
    with no_grad():
        write_into(target, result if result.shape == target.shape else result.reshape(target.shape))


def tensor_of(array: Any, like: Tensor) -> Tensor:
    """An array in host memory as a tensor beside ``like``."""
    return wrap(buffer(engine.from_numpy(array, like.device), like.dtype, like.device))


def host(kind: str, tensor: Tensor, chosen: Any, **attrs: Any) -> Any:
    """A transport's method on a tensor's value in host memory."""
    array = engine.to_numpy(tensor.node)
    with watch.collective(kind, chosen, tensor.shape, tensor.dtype, attrs):
        return getattr(chosen.transport, kind)(array, **attrs)


# --- from one rank to another


def send(
    tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
    group_dst: int | None = None,
) -> None:  # fmt: skip
    """Sends ``tensor`` to rank ``dst``."""
    chosen = member(group)
    if chosen is not None:
        host("send", tensor, chosen, to=root_of(chosen, dst, group_dst), tag=tag)


def recv(
    tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
    group_src: int | None = None,
) -> int:  # fmt: skip
    """Receives into ``tensor`` from rank ``src``; returns it."""
    chosen = member(group)
    if chosen is None:
        return -1
    source = -1 if src is None and group_src is None else root_of(chosen, src, group_src)
    value = host("receive", tensor, chosen, source=source, tag=tag)
    write_back(tensor, tensor_of(value, tensor))
    return source


def isend(
    tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0,
    group_dst: int | None = None,
) -> Work:  # fmt: skip
    """Starts to send ``tensor``."""
    chosen = member(group)
    array = np.array(engine.to_numpy(tensor.node), order="C")
    return Work(chosen.transport.start_send(array, root_of(chosen, dst, group_dst), tag))


def irecv(
    tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0,
    group_src: int | None = None,
) -> Work:  # fmt: skip
    """Starts to receive; ``tensor`` is written by ``wait``."""
    chosen = member(group)
    source = -1 if src is None and group_src is None else root_of(chosen, src, group_src)
    out = np.empty(tuple(tensor.shape), tensor.dtype.np)
    request = chosen.transport.start_receive(out, source, tag)
    return Work(request, lambda: write_back(tensor, tensor_of(out, tensor)))


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
    chosen = member(group)
    if chosen is not None:
        root = root_of(chosen, src, group_src)
        with watch.collective("broadcast_object_list", chosen, (), None, {"root": root}):
            object_list[:] = chosen.transport.broadcast_object(list(object_list), root)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Every rank's object, into a list."""
    chosen = member(group)
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
    chosen = member(group)
    if chosen is not None:
        root = root_of(chosen, dst, group_dst)
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
    chosen = member(group)
    if chosen is not None:
        root = root_of(chosen, src, group_src)
        given = scatter_object_input_list if chosen.rank == root else None
        with watch.collective("scatter_object_list", chosen, (), None, {"root": root}):
            scatter_object_output_list[0] = chosen.transport.scatter_objects(given, root)


def send_object_list(
    object_list: list[Any],
    dst: int | None = None,
    group: Any = None,
    device: Any = None,
    group_dst: int | None = None,
    use_batch: bool = False,
) -> None:
    """Sends Python objects to rank ``dst``; they travel pickled."""
    chosen = member(group)
    if chosen is not None:
        data = np.frombuffer(pickle.dumps(list(object_list)), np.uint8)
        to = root_of(chosen, dst, group_dst)
        chosen.transport.send(np.array([data.size]), to, _OBJECTS)
        chosen.transport.send(data, to, _OBJECTS)


def recv_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
    use_batch: bool = False,
) -> int:
    """Receives Python objects from rank ``src``, in place; returns it."""
    chosen = member(group)
    if chosen is None:
        return -1
    source = root_of(chosen, src, group_src)
    size = chosen.transport.receive(np.zeros(1, np.int64), source, _OBJECTS)
    data = chosen.transport.receive(np.empty(int(size[0]), np.uint8), source, _OBJECTS)
    object_list[:] = pickle.loads(data.tobytes())
    return chosen.ranks[source]
