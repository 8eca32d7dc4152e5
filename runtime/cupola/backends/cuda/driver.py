"""Launching kernels through the driver's C interface, which costs less than CuPy's launch."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from cupola.errors import BackendError

_NO_CONTEXT = (201, 3, 400)  # a thread that has not used CUDA yet


@lru_cache(maxsize=1)
def library() -> Any:
    """The driver, loaded so that calls keep the interpreter's lock: cheaper for short ones.

    Raises:
        BackendError: the NVIDIA driver is not installed.
    """
    for name in ("libcuda.so.1", "libcuda.so", "nvcuda.dll"):
        try:
            return ctypes.PyDLL(name)
        except OSError:
            continue
    raise BackendError(
        "the NVIDIA driver's library (libcuda.so.1) was not found: install the driver"
    )


@lru_cache(maxsize=64)
def _handle(address: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(address)


class Call:
    """One prepared launch: function, grid and block, with a parameter block to be filled."""

    __slots__ = ("parameters", "_before", "_function", "_launch", "_sizes", "_values")

    def __init__(
        self,
        function: int,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared: int,
        parameters: Any,
    ) -> None:
        self.parameters = parameters
        self._values = (ctypes.c_void_p * 1)(ctypes.addressof(parameters))
        self._launch = library().cuLaunchKernel
        self._function, self._sizes = function, (*grid, *block, shared)
        sizes = [ctypes.c_uint(n) for n in self._sizes]
        self._before = (ctypes.c_void_p(function), *sizes)

    def __call__(self, stream: int) -> None:
        """Queues the kernel on a stream.

        Raises:
            RuntimeError: the driver refused; asynchronous faults surface at a later call, as always
                with CUDA.
        """
        if _taker is not None and _taker[0] == threading.get_ident():
            _taker[1](self, stream)
            return
        self.launch(stream)

    def launch(self, stream: int) -> None:
        """Queues the kernel, whoever takes launches."""
        code = self._launch(*self._before, _handle(stream), self._values, None)
        if code in _NO_CONTEXT:
            import cupy

            cupy.cuda.Device().use()
            cupy.cuda.runtime.free(0)
            code = self._launch(*self._before, _handle(stream), self._values, None)
        check(code, "launching a kernel")

    def change(self, graph: Any, node: int) -> None:
        """Gives a recorded launch of this kernel the present parameters.

        Raises:
            RuntimeError: the driver refuses.
        """
        values = ctypes.cast(self._values, ctypes.c_void_p)
        parameters = _NodeParameters(self._function, self._sizes, values, None)
        code = library().cuGraphExecKernelNodeSetParams(
            graph, ctypes.c_void_p(node), ctypes.byref(parameters)
        )
        check(code, "changing a recorded launch")


class _NodeParameters(ctypes.Structure):
    """The driver's CUDA_KERNEL_NODE_PARAMS: function, grid, block and shared memory, parameters."""

    _fields_ = (
        ("function", ctypes.c_void_p),
        ("sizes", ctypes.c_uint * 7),
        ("values", ctypes.c_void_p),
        ("extra", ctypes.c_void_p),
    )


# Who is told of launches instead of their being queued, and in which thread.
_taker: tuple[int, Callable[[Call, int], None]] | None = None


@contextlib.contextmanager
def taking(take: Callable[[Call, int], None]) -> Iterator[None]:
    """While it is open, ``take(call, stream)`` stands in for this thread's launches of kernels."""
    global _taker
    _taker = (threading.get_ident(), take)
    try:
        yield
    finally:
        _taker = None


def last_recorded(stream: int) -> int:
    """The graph's node of the launch that was recorded last on a stream that is being captured."""
    status, count = ctypes.c_int(), ctypes.c_size_t()
    serial, graph = ctypes.c_ulonglong(), ctypes.c_void_p()
    nodes = ctypes.POINTER(ctypes.c_void_p)()
    code = library().cuStreamGetCaptureInfo_v2(
        ctypes.c_void_p(stream), ctypes.byref(status), ctypes.byref(serial), ctypes.byref(graph),
        ctypes.byref(nodes), ctypes.byref(count),
    )  # fmt: skip
    check(code, "reading a recording")
    if count.value != 1:
        raise RuntimeError(f"a launch was recorded with {count.value} ends")
    return int(nodes[0] or 0)


def check(code: int, doing: str) -> None:
    """Raises RuntimeError where the driver has refused to do something."""
    if code:
        raise RuntimeError(f"CUDA error {code} ({_name(code)}) when {doing}")


def _name(code: int) -> str:
    text = ctypes.c_char_p()
    library().cuGetErrorName(code, ctypes.byref(text))
    return (text.value or b"unknown").decode()
