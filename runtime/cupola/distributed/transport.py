"""Collectives on arrays in host memory: MPI's, and those of a process that is alone.

Arrays are NumPy arrays; each method returns a new array. ``op`` is a name of ``OPS``. Half types,
which MPI does not know, travel as float32.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

OPS = ("add", "mean", "max", "min", "prod", "band", "bor", "bxor")

# Reductions of parts of at least so many bytes go round a ring.
_RING_PART = 1 << 18
# A tag that programs do not choose; MPI promises tags up to this one.
_NOTE = 32767
_RING = {"add": np.add, "mean": np.add, "max": np.maximum, "min": np.minimum}


def check(op: str, dtype: Any) -> None:
    """Raises what is wrong about reducing this dtype with ``op``.

    Raises:
        ValueError: there is no such operator.
        TypeError: it is not defined for the dtype.
    """
    if op not in OPS:
        raise ValueError(f"op={op!r} is not a reduction; choose one of {', '.join(OPS)}")
    whole, is_complex = dtype.category < 2, dtype.category > 2
    if op == "mean" and whole:
        raise TypeError(f"op='mean' needs floating-point values, not {dtype}; cast them first")
    if op in ("max", "min") and is_complex:
        raise TypeError(f"op={op!r} is not defined for complex values")
    if op[0] == "b" and not whole:
        raise TypeError(f"op={op!r} needs integers or bool, not {dtype}")


def _wide(array: np.ndarray) -> np.ndarray:
    """A C-contiguous array of a type that MPI knows."""
    if array.dtype.kind == "V" or array.dtype.name in ("bfloat16", "float16"):
        array = array.astype(np.float32)
    return np.ascontiguousarray(array).reshape(array.shape)


class Solo:
    """A group of one: nothing travels."""

    def reduce_in_place(self, buffer: np.ndarray, op: str) -> None:
        """Reduces ``buffer`` over the group, in place."""

    def all_reduce(self, array: np.ndarray, op: str) -> np.ndarray:
        return array.copy()

    def reduce(self, array: np.ndarray, op: str, root: int) -> np.ndarray:
        return array.copy()

    def broadcast(self, array: np.ndarray, root: int) -> np.ndarray:
        return array.copy()

    def all_gather(self, array: np.ndarray) -> np.ndarray:
        return array[None].copy()

    def gather(self, array: np.ndarray, root: int) -> np.ndarray | None:
        return array[None].copy()

    def scatter(self, array: np.ndarray | None, like: np.ndarray, root: int) -> np.ndarray:
        assert array is not None
        return array[0].copy()

    def reduce_scatter(self, array: np.ndarray, op: str) -> np.ndarray:
        return array[0].copy()

    def all_to_all(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def send(self, array: np.ndarray, to: int, tag: int = 0) -> None:
        raise ValueError("send needs another process: start the program with mpirun -np 2")

    def receive(self, like: np.ndarray, source: int, tag: int = 0) -> np.ndarray:
        raise ValueError("recv needs another process: start the program with mpirun -np 2")

    def barrier(self) -> None:
        pass

    def gather_objects(self, value: Any) -> list[Any]:
        return [value]

    def broadcast_object(self, value: Any, root: int) -> Any:
        return value

    def scatter_objects(self, values: Any, root: int) -> Any:
        return values[0]

    def split(self, ranks: Sequence[int], own: int, tag: int) -> Any:
        return self


class MPITransport:
    """MPI through mpi4py's buffer interface."""

    def __init__(self, mpi: Any, comm: Any) -> None:
        self.mpi = mpi
        self.comm = comm
        self._notes: list[Any] = []
        self._room = np.empty(0, np.uint8)  # kept: fresh memory costs more than the addition
        names = {"add": "SUM", "mean": "SUM", "max": "MAX", "min": "MIN", "prod": "PROD"}
        names |= {"band": "BAND", "bor": "BOR", "bxor": "BXOR"}
        self._ops = {op: getattr(mpi, name) for op, name in names.items()}
        self._logical = {"add": mpi.LOR, "prod": mpi.LAND, "max": mpi.LOR, "min": mpi.LAND}
        self._logical |= {"band": mpi.LAND, "bor": mpi.LOR, "bxor": mpi.LXOR}

    def _op(self, op: str, array: np.ndarray) -> Any:
        return (self._logical if array.dtype == np.bool_ else self._ops)[op]

    def _finish(self, out: np.ndarray, op: str, dtype: Any) -> np.ndarray:
        if op == "mean":
            out /= self.comm.size
        return out if out.dtype == dtype else out.astype(dtype)

    def reduce_in_place(self, buffer: np.ndarray, op: str) -> None:
        """Reduces a contiguous ``buffer`` of a type that MPI knows, in place."""
        size = self.comm.size
        if op in _RING and buffer.dtype != np.bool_ and buffer.nbytes // size >= _RING_PART:
            self._around(buffer.reshape(-1), _RING[op])
        else:
            self.comm.Allreduce(self.mpi.IN_PLACE, buffer, self._op(op, buffer))
        if op == "mean":
            buffer /= size

    def _around(self, flat: np.ndarray, add: Any) -> None:
        """A ring: each rank reduces one part, which then goes round. NumPy adds faster than MPI."""
        rank, size = self.comm.rank, self.comm.size
        after, before = (rank + 1) % size, (rank - 1) % size
        bounds = [flat.size * k // size for k in range(size + 1)]
        parts = [flat[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
        need = max(part.nbytes for part in parts)
        if self._room.size < need:
            self._room = np.empty(need, np.uint8)
        room = self._room[:need].view(flat.dtype)
        for step in range(size - 1):
            target = parts[(rank - step - 1) % size]
            come = room[: target.size]
            self.comm.Sendrecv(parts[(rank - step) % size], after, 0, come, before, 0)
            add(target, come, out=target)
        for step in range(size - 1):
            sent, target = parts[(rank + 1 - step) % size], parts[(rank - step) % size]
            self.comm.Sendrecv(sent, after, 0, target, before, 0)

    def all_reduce(self, array: np.ndarray, op: str) -> np.ndarray:
        out = _wide(array)
        out = out.copy() if out is array or out.base is not None else out
        self.reduce_in_place(out, op)
        return out if out.dtype == array.dtype else out.astype(array.dtype)

    def reduce(self, array: np.ndarray, op: str, root: int) -> np.ndarray:
        """The result at ``root``, zeros elsewhere."""
        sent = _wide(array)
        here = self.comm.rank == root
        out = np.empty_like(sent) if here else np.zeros_like(sent)
        self.comm.Reduce(sent, out if here else None, self._op(op, sent), root)
        return self._finish(out, op, array.dtype)

    def broadcast(self, array: np.ndarray, root: int) -> np.ndarray:
        out = np.ascontiguousarray(array).reshape(array.shape).copy()
        self.comm.Bcast([out.reshape(-1).view(np.uint8), self.mpi.BYTE], root)
        return out

    def all_gather(self, array: np.ndarray) -> np.ndarray:
        """Every rank's array, stacked along a new first dimension."""
        sent = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        out = np.empty((self.comm.size, *array.shape), array.dtype)
        self.comm.Allgather([sent, self.mpi.BYTE], [out.reshape(-1).view(np.uint8), self.mpi.BYTE])
        return out

    def gather(self, array: np.ndarray, root: int) -> np.ndarray | None:
        sent = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        out = None
        if self.comm.rank == root:
            out = np.empty((self.comm.size, *array.shape), array.dtype)
        space = None if out is None else [out.reshape(-1).view(np.uint8), self.mpi.BYTE]
        self.comm.Gather([sent, self.mpi.BYTE], space, root)
        return out

    def scatter(self, array: np.ndarray | None, like: np.ndarray, root: int) -> np.ndarray:
        """Row ``i`` of the root's array at rank ``i``."""
        out = np.empty(like.shape, like.dtype)
        sent = None
        if array is not None:
            sent = [np.ascontiguousarray(array).reshape(-1).view(np.uint8), self.mpi.BYTE]
        self.comm.Scatter(sent, [out.reshape(-1).view(np.uint8), self.mpi.BYTE], root)
        return out

    def reduce_scatter(self, array: np.ndarray, op: str) -> np.ndarray:
        """Row ``i`` of the reduced array at rank ``i``."""
        sent = _wide(array)
        out = np.empty(sent.shape[1:], sent.dtype)
        self.comm.Reduce_scatter_block(sent, out, self._op(op, sent))
        return self._finish(out, op, array.dtype)

    def all_to_all(self, array: np.ndarray) -> np.ndarray:
        """Row ``j`` of rank ``i`` becomes row ``i`` of rank ``j``."""
        sent = np.ascontiguousarray(array)
        out = np.empty_like(sent)
        pair = [[a.reshape(-1).view(np.uint8), self.mpi.BYTE] for a in (sent, out)]
        self.comm.Alltoall(*pair)
        return out

    def send(self, array: np.ndarray, to: int, tag: int = 0) -> None:
        self.comm.Send([self._bytes(array), self.mpi.BYTE], to, tag)

    def receive(self, like: np.ndarray, source: int, tag: int = 0) -> np.ndarray:
        out = np.empty(like.shape, like.dtype)
        self.comm.Recv([self._bytes(out), self.mpi.BYTE], self._source(source), tag)
        return out

    def start_send(self, array: np.ndarray, to: int, tag: int = 0) -> Any:
        """A request; the array must stay unchanged until it is complete."""
        return self.comm.Isend([self._bytes(array), self.mpi.BYTE], to, tag)

    def start_receive(self, out: np.ndarray, source: int, tag: int = 0) -> Any:
        """A request that fills ``out``."""
        return self.comm.Irecv([self._bytes(out), self.mpi.BYTE], self._source(source), tag)

    def _source(self, source: int) -> int:
        return self.mpi.ANY_SOURCE if source < 0 else source

    @staticmethod
    def _bytes(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def barrier(self) -> None:
        """Waits for all ranks; after a moment without keeping a core busy."""
        request, quick = self.comm.Ibarrier(), time.monotonic() + 0.002
        while not request.Test():
            if time.monotonic() > quick:
                time.sleep(0.0005)

    def gather_objects(self, value: Any) -> list[Any]:
        return self.comm.allgather(value)

    def broadcast_object(self, value: Any, root: int) -> Any:
        return self.comm.bcast(value, root)

    def scatter_objects(self, values: Any, root: int) -> Any:
        return self.comm.scatter(values, root)

    def tell_all(self, text: str) -> None:
        """Leaves a short message for every other rank, who may or may not read it."""
        self._notes = [r for r in self._notes if not r.Test()]
        others = (r for r in range(self.comm.size) if r != self.comm.rank)
        self._notes += [self.comm.isend(text, r, _NOTE) for r in others]

    def told(self) -> str | None:
        """The next message of ``tell_all`` from rank 0, if one has come."""
        return self.comm.recv(source=0, tag=_NOTE) if self.comm.iprobe(0, _NOTE) else None

    def abort(self, code: int) -> None:
        """Ends all processes of the job."""
        self.mpi.COMM_WORLD.Abort(code)

    def split(self, ranks: Sequence[int], own: int, tag: int) -> Any:
        """The transport of a subgroup; None for processes outside of it."""
        if own not in ranks:
            return None
        group = self.comm.Get_group().Incl(list(ranks))
        return MPITransport(self.mpi, self.comm.Create_group(group, tag))
