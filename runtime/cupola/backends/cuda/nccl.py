"""NCCL: collectives between GPUs, on CuPy arrays and on the current stream.

One communicator a process and group; a process has one GPU. Nothing here waits for the GPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from cupola.backends.cuda.device import available, current, require
from cupola.errors import BackendError

_TYPES = {
    "int8": "INT8",
    "uint8": "UINT8",
    "bool": "UINT8",
    "int32": "INT32",
    "uint32": "UINT32",
    "int64": "INT64",
    "uint64": "UINT64",
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "float32": "FLOAT32",
    "float64": "FLOAT64",
}
_OPS = {"add": "SUM", "mean": "AVG", "max": "MAX", "min": "MIN", "prod": "PROD"}


def module() -> Any:
    """CuPy's NCCL module, or None where NCCL cannot be loaded."""
    if not available():
        return None
    from cupy.cuda import nccl

    return nccl if nccl.available else None


def identity() -> tuple[str, str] | None:
    """(host, PCI address) of this process's GPU, or None without a GPU or NCCL."""
    if module() is None:
        return None
    return socket.gethostname(), require().cuda.runtime.deviceGetPCIBusId(current())


def new_id() -> tuple[Any, ...]:
    """What one process makes and all others need to join a communicator."""
    return module().get_unique_id()


def takes(dtype: Any, op: str = "add") -> bool:
    """Whether NCCL reduces this dtype with ``op``."""
    if dtype.name in ("complex64", "complex128"):
        return op == "add"
    return dtype.name in _TYPES and op in _OPS and (dtype.name != "bool" or op in ("max", "min"))


class Communicator:
    """``size`` processes, one GPU each.

    Arrays are C-contiguous CuPy arrays; ``op`` is add, mean, max, min or prod. A call only enqueues
    work on the current stream.

    Raises:
        BackendError: NCCL reports an error; the text names it.
    """

    def __init__(self, size: int, name: tuple[Any, ...], rank: int) -> None:
        self._nccl = module()
        self._xp = require()
        self.size, self.rank = size, rank
        with self._named("joining"):
            self._comm = self._nccl.NcclCommunicator(size, name, rank)
        # Never destroyed: NCCL would wait for CUDA graphs that Python has not destroyed before it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._comm))
        self._held: list[Any] = []
        # Made on the device that is current now.
        self._beside = self._xp.cuda.Stream(non_blocking=True)

    @contextlib.contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._nccl.NcclError as error:
            raise BackendError(
                f"NCCL failed while {what} ({error}). NCCL_DEBUG=INFO says more; "
                "CUPOLA_NCCL=0 uses MPI over host memory instead."
            ) from error

    def _stream(self) -> int:
        return int(self._xp.cuda.get_current_stream().ptr)

    def _typed(self, array: Any) -> tuple[int, int]:
        name, count = array.dtype.name, array.size
        if name in ("complex64", "complex128"):
            name, count = ("float32", "float64")[name == "complex128"], 2 * count
        return count, getattr(self._nccl, "NCCL_" + _TYPES[name])

    def _op(self, op: str) -> int:
        return int(getattr(self._nccl, "NCCL_" + _OPS[op]))

    def all_reduce(self, array: Any, op: str) -> Any:
        out = self._xp.empty_like(array)
        with self._named("all_reduce"):
            self._comm.allReduce(
                array.data.ptr, out.data.ptr, *self._typed(array), self._op(op), self._stream()
            )
        return out

    def all_reduce_many(self, arrays: Sequence[Any], outs: Sequence[Any], op: str) -> None:
        """Several at once, as one operation of NCCL's; their memory is kept until ``join``."""
        self._held.append((arrays, outs))
        kind, stream = self._op(op), self._stream()
        with self._named("all_reduce"):
            self._nccl.groupStart()
            for a, o in zip(arrays, outs):
                self._comm.allReduce(a.data.ptr, o.data.ptr, *self._typed(a), kind, stream)
            self._nccl.groupEnd()

    def reduce(self, array: Any, op: str, root: int) -> Any:
        out = self._xp.empty_like(array) if self.rank == root else self._xp.zeros_like(array)
        with self._named("reduce"):
            self._comm.reduce(
                array.data.ptr,
                out.data.ptr if self.rank == root else array.data.ptr,
                *self._typed(array),
                self._op(op),
                root,
                self._stream(),
            )
        return out

    def broadcast(self, array: Any, root: int) -> Any:
        out = self._xp.empty_like(array)
        with self._named("broadcast"):
            self._comm.broadcast(
                array.data.ptr, out.data.ptr, array.nbytes, self._nccl.NCCL_INT8, root,
                self._stream(),
            )  # fmt: skip
        return out

    def all_gather(self, array: Any) -> Any:
        out = self._xp.empty((self.size, *array.shape), array.dtype)
        with self._named("all_gather"):
            self._comm.allGather(
                array.data.ptr, out.data.ptr, array.nbytes, self._nccl.NCCL_INT8, self._stream()
            )
        return out

    def reduce_scatter(self, array: Any, op: str) -> Any:
        out = self._xp.empty(array.shape[1:], array.dtype)
        count, kind = self._typed(out)
        with self._named("reduce_scatter"):
            self._comm.reduceScatter(
                array.data.ptr, out.data.ptr, count, kind, self._op(op), self._stream()
            )
        return out

    def send(self, array: Any, to: int) -> None:
        with self._named("send"):
            self._comm.send(array.data.ptr, array.nbytes, self._nccl.NCCL_INT8, to, self._stream())

    def receive(self, like: Any, source: int) -> Any:
        out = self._xp.empty(like.shape, like.dtype)
        with self._named("recv"):
            self._comm.recv(out.data.ptr, out.nbytes, self._nccl.NCCL_INT8, source, self._stream())
        return out

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Work in the block runs beside the current stream, after what that stream holds now."""
        event = self._xp.cuda.Event(disable_timing=True)
        event.record(self._xp.cuda.get_current_stream())
        self._beside.wait_event(event)
        with self._beside:
            yield

    def join(self) -> None:
        """The current stream waits for the work that ran beside it."""
        event = self._xp.cuda.Event(disable_timing=True)
        event.record(self._beside)
        self._xp.cuda.get_current_stream().wait_event(event)
        self._held.clear()
