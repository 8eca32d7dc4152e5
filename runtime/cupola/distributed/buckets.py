"""Averages of many tensors over the ranks, in few messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola import engine
from cupola.distributed import collectives, watch
from cupola.distributed.world import Group, debug
from cupola.dtypes import float32
from cupola.ir.node import Node
from cupola.ir.source import buffer, const
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
    shared = np.array([node is not None for node in nodes], np.uint8)
    with watch.collective("gradients", group, (len(entries),), None, {}):
        if debug():
            _compare(entries, group)
        group.transport.reduce_in_place(shared, "max")
    chosen: dict[tuple[Any, Any], list[tuple[Entry, Node]]] = {}
    for k in reversed(np.flatnonzero(shared).tolist()):
        entry, node = entries[k], nodes[k]
        if node is None:
            like = entry.like
            node = const(0, tuple(like.shape), like.dtype, like.device)
        chosen.setdefault((node.device, node.dtype), []).append((entry, node))
    for (device, _), pairs in chosen.items():
        fast = group.nccl() if device.type == "cuda" and group.size > 1 else None
        if fast is not None:
            _over_nccl(_filled(pairs, size), fast, group)
        else:
            engine.realize([node for _, node in pairs])
            for bucket in _filled(pairs, size):
                _over_mpi(bucket, group)


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


def _over_mpi(bucket: list[tuple[Entry, Node]], group: Group) -> None:
    nodes = [node for _, node in bucket]
    device, dtype = nodes[0].device, nodes[0].dtype
    backend = engine.backend(device.type)
    arrays = [backend.to_numpy(engine.array_of(node)) for node in nodes]
    wide = float32 if dtype.itemsize < 4 else dtype
    starts, length = _starts(arrays, wide.itemsize)
    # From the backend's pool: fresh memory costs more than what is done with it.
    flat = engine.backend("cpu").empty((length,), wide)
    for a, start, end in zip(arrays, starts, [*starts[1:], length], strict=True):
        flat[start : start + a.size].reshape(a.shape)[...] = a
        flat[start + a.size : end] = 0
    with watch.collective("gradients", group, flat.shape, dtype, {}):
        group.transport.reduce_in_place(flat, "mean")
    for (entry, node), a, start in zip(bucket, arrays, starts, strict=True):
        part = flat[start : start + a.size].reshape(a.shape)
        part = part.astype(dtype.np) if part.dtype != dtype.np else part
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
        starts, length = _starts(arrays, arrays[0].dtype.itemsize)
        flat = xp.empty(length, arrays[0].dtype)
        outs = [
            flat[start : start + a.size].reshape(a.shape)
            for a, start in zip(arrays, starts, strict=True)
        ]
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
    for (device, dtype), chosen in kinds.items():
        xp = engine.backend(device.type).xp
        nodes = [t.node for t in chosen]
        engine.realize(nodes)
        flat = xp.concatenate([engine.array_of(node).reshape(-1) for node in nodes])
        out = collectives.run("broadcast", buffer(flat, dtype, device), group, "auto", root=root)
        start = 0
        for t in chosen:
            part = out[start : start + t.numel()].reshape(tuple(t.shape))
            t.assign(buffer(xp.ascontiguousarray(part), dtype, device))
            start += t.numel()
