"""Averages of many tensors over the ranks, in few messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola import engine
from cupola.distributed import collectives, watch
from cupola.distributed.world import Group, debug
from cupola.dtypes import float32
from cupola.functional.joining import cat
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ir.source import buffer, const, item
from cupola.tensor import Tensor

# Bytes a message; PyTorch's DistributedDataParallel has the same default.
BUCKET = 25 << 20
_ALIGN = 64


class Entry:
    """One tensor's share: ``read`` gives its node (None: nothing to share), ``write`` takes the
    average.
    """

    __slots__ = ("like", "read", "write")

    def __init__(
        self, like: Tensor, read: Callable[[], Node | None], write: Callable[[Node], None]
    ) -> None:
        self.like, self.read, self.write = like, read, write


def average(entries: Sequence[Entry], group: Group, size: int = BUCKET) -> None:
    """Averages, over the group, every entry that some rank shares; the others count as zeros.

    Every rank passes the same entries in the same order. Gradients come last first, as backward
    passes make them.
    """
    nodes = [entry.read() for entry in entries]
    if mode.held and _captured(entries, nodes, group, size):
        return
    shared = np.array([node is not None for node in nodes], np.uint8)
    with watch.collective("gradients", group, (len(entries),), None, {}):
        if debug():
            _compare(entries, group)
        group.transport.reduce_in_place(shared, "max")
    for k in np.flatnonzero(shared):
        if nodes[k] is None:
            like = entries[k].like
            nodes[k] = const(0, tuple(like.shape), like.dtype, like.device)
    for (device, _), pairs in _kinds(entries, nodes).items():
        fast = group.nccl() if device.type == "cuda" and group.size > 1 else None
        if fast is not None:
            _over_nccl(_filled(pairs, size), fast, group)
        else:
            engine.realize([node for _, node in pairs])
            for bucket in _filled(pairs, size):
                _over_mpi(bucket, group)


def _kinds(
    entries: Sequence[Entry], nodes: Sequence[Node | None]
) -> dict[tuple[Any, Any], list[tuple[Entry, Node]]]:
    """What is shared, by device and dtype, last first."""
    out: dict[tuple[Any, Any], list[tuple[Entry, Node]]] = {}
    for entry, node in zip(reversed(entries), reversed(nodes), strict=True):
        if node is not None:
            out.setdefault((node.device, node.dtype), []).append((entry, node))
    return out


def _captured(
    entries: Sequence[Entry], nodes: Sequence[Node | None], group: Group, size: int
) -> bool:
    """Within a captured call: records the averages as steps of it. Ranks share the same entries."""
    kinds = _kinds(entries, nodes)
    for device, _ in kinds:
        if device.type == "cuda" and group.size > 1 and group.nccl() is None:
            collectives.not_captured()
            return False
    for (device, _), pairs in kinds.items():
        for bucket in _filled(pairs, size):
            own = [node for _, node in bucket]
            shapes, dtypes = tuple(n.shape for n in own), tuple(n.dtype for n in own)
            after = collectives.before(own[0])
            gpu = device.type == "cuda" and group.size > 1
            attrs = {"group": group, "after": len(after), "dtype": dtypes[0], "gpu": gpu}
            # What it comes after is named first: so it begins as soon as its own gradients exist.
            begun = collectives.pinned(Node(BEGIN, (*after, *own), attrs, shapes, dtypes, device))
            parts = tuple(item(begun, k) for k in range(len(own)))
            # The gradients are named again: their memory is read until then.
            ended = Node(END, (*parts, *own), {"group": group, "gpu": gpu}, shapes, dtypes, device)
            for k, (entry, _) in enumerate(bucket):
                entry.write(item(ended, k))
    return True


def _begin(
    xp: Any, *arrays: Any, group: Group, after: int, dtype: Any, gpu: bool
) -> tuple[Any, ...]:
    """Averages of all but the first ``after`` arrays; on GPUs beside what the plan does next."""
    arrays = arrays[after:]
    fast = group.nccl() if gpu else None
    if fast is None:
        return tuple(_through_host(arrays, dtype, group))
    arrays = tuple(collectives.contiguous(a) for a in arrays)
    flat, outs = _flat(arrays, xp)
    with watch.collective("gradients", group, flat.shape, dtype, {}), fast.beside():
        fast.all_reduce_many(arrays, outs, "mean")
    return tuple(outs)


def _end(xp: Any, *arrays: Any, group: Group, gpu: bool) -> tuple[Any, ...]:
    """The averages, once they are there."""
    fast = group.nccl() if gpu else None
    if fast is not None:
        fast.join()
    return arrays[: len(arrays) // 2]


def _no_infer(*_: Any, **__: Any) -> Any:
    raise TypeError("averages are recorded by distributed.buckets")


BEGIN = Primitive("distributed_begin", "library", _no_infer, _begin, multi=True)
END = Primitive("distributed_end", "library", _no_infer, _end, multi=True)


def _compare(entries: Sequence[Entry], group: Group) -> None:
    own = [(tuple(e.like.shape), str(e.like.dtype)) for e in entries]
    every = group.transport.gather_objects(own)
    for rank, other in zip(group.ranks, every, strict=True):
        if other != every[0]:
            where = next(
                (k for k, (a, b) in enumerate(zip(every[0], other, strict=False)) if a != b),
                min(len(other), len(every[0])),
            )
            raise RuntimeError(
                f"rank {rank} averages {len(other)} tensors, rank {group.ranks[0]} "
                f"{len(every[0])}; the first difference is number {where}: "
                f"{other[where : where + 1]} against {every[0][where : where + 1]}"
            )


def _filled(pairs: list[tuple[Entry, Node]], size: int) -> list[list[tuple[Entry, Node]]]:
    """Pairs in buckets of about ``size`` bytes."""
    out: list[list[tuple[Entry, Node]]] = []
    held = size
    for pair in pairs:
        n = pair[1].numel * pair[1].dtype.itemsize
        if held + n > size and (not out or held > 0):
            out.append([])
            held = 0
        out[-1].append(pair)
        held += n
    return out


def _starts(arrays: Sequence[Any], itemsize: int) -> tuple[list[int], int]:
    """Where each array begins in a flat buffer, aligned; and the buffer's length."""
    step, starts, place = _ALIGN // itemsize or 1, [], 0
    for a in arrays:
        starts.append(place)
        place += -(-a.size // step) * step
    return starts, place


def _flat(arrays: Sequence[Any], xp: Any) -> tuple[Any, list[Any]]:
    """One array with room for several, and the room of each."""
    starts, length = _starts(arrays, arrays[0].dtype.itemsize)
    flat = xp.empty(length, arrays[0].dtype)
    return flat, [
        flat[start : start + a.size].reshape(a.shape)
        for a, start in zip(arrays, starts, strict=True)
    ]


def _through_host(arrays: Sequence[np.ndarray], dtype: Any, group: Group) -> list[np.ndarray]:
    """Averages of arrays in host memory, which share the memory of one message."""
    wide = float32 if dtype.itemsize < 4 else dtype
    starts, length = _starts(arrays, wide.itemsize)
    # From the backend's pool: fresh memory costs more than what is done with it.
    flat = engine.backend("cpu").empty((length,), wide)
    for a, start, end in zip(arrays, starts, [*starts[1:], length], strict=True):
        flat[start : start + a.size].reshape(a.shape)[...] = a
        flat[start + a.size : end] = 0
    with watch.collective("gradients", group, flat.shape, dtype, {}):
        group.transport.reduce_in_place(flat, "mean")
    parts = [flat[s : s + a.size].reshape(a.shape) for a, s in zip(arrays, starts, strict=True)]
    return parts if flat.dtype == dtype.np else [part.astype(dtype.np) for part in parts]


def _over_mpi(bucket: list[tuple[Entry, Node]], group: Group) -> None:
    nodes = [node for _, node in bucket]
    device = nodes[0].device
    backend = engine.backend(device.type)
    arrays = [backend.to_numpy(engine.array_of(node)) for node in nodes]
    parts = _through_host(arrays, nodes[0].dtype, group)
    for (entry, node), part in zip(bucket, parts, strict=True):
        if device.type == "cuda":
            part = backend.from_numpy(part, device.index or 0)
        entry.write(buffer(part, node.dtype, device))


def _over_nccl(buckets: list[list[tuple[Entry, Node]]], fast: Any, group: Group) -> None:
    """Each bucket travels beside the computation of the next one."""
    backend = engine.backend("cuda")
    xp = backend.xp
    done: list[tuple[Entry, Node, Any]] = []
    sent: list[Any] = []  # kept until the streams have joined
    watch.status.gpu = True
    for bucket in buckets:
        nodes = [node for _, node in bucket]
        engine.realize([node for node in nodes if node.value is None])
        arrays = [collectives.contiguous(engine.array_of(node)) for node in nodes]
        flat, outs = _flat(arrays, xp)
        with watch.collective("gradients", group, flat.shape, nodes[0].dtype, {}), fast.beside():
            fast.all_reduce_many(arrays, outs, "mean")
        sent.append((arrays, nodes))
        done += [(entry, node, out) for (entry, node), out in zip(bucket, outs, strict=True)]
    fast.join()
    for entry, node, out in done:
        entry.write(buffer(out, node.dtype, node.device))


def broadcast(tensors: Sequence[Tensor], group: Group, root: int = 0) -> None:
    """Tensors of one dtype and device at a time become those of rank ``root``, in few messages."""
    kinds: dict[tuple[Any, Any], list[Tensor]] = {}
    for t in tensors:
        kinds.setdefault((t.device, t.dtype), []).append(t)
    for chosen in kinds.values():
        flat = cat([t.detach().reshape(-1) for t in chosen])
        out, start = collectives.broadcast_from(flat, root, group), 0
        for t in chosen:
            t.assign(out[start : start + t.numel()].reshape(t.shape).node)
            start += t.numel()
