"""Launching kernels through the driver's C interface, which costs less than CuPy's launch."""

from __future__ import annotations

import ctypes
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

    __slots__ = ("parameters", "_before", "_launch", "_values")

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
        sizes = [ctypes.c_uint(n) for n in (*grid, *block, shared)]
        self._before = (ctypes.c_void_p(function), *sizes)

    def __call__(self, stream: int) -> None:
        """Queues the kernel on a stream.

        Raises:
            RuntimeError: the driver refused; asynchronous faults surface at a later call, as always
                with CUDA.
        """
        code = self._launch(*self._before, _handle(stream), self._values, None)
        if code in _NO_CONTEXT:
            import cupy

            cupy.cuda.Device().use()
            cupy.cuda.runtime.free(0)
            code = self._launch(*self._before, _handle(stream), self._values, None)
        check(code, "launching a kernel")


def check(code: int, doing: str) -> None:
    """Raises RuntimeError where the driver has refused to do something."""
    if code:
        raise RuntimeError(f"CUDA error {code} ({_name(code)}) when {doing}")


def _name(code: int) -> str:
    text = ctypes.c_char_p()
    library().cuGetErrorName(code, ctypes.byref(text))
    return (text.value or b"unknown").decode()
