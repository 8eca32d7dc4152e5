"""Matrix products of cuBLASLt through ctypes: CuPy's own cuBLAS cannot be captured into a graph.

The numbers are those of ``cublasLt.h`` and ``library_types.h``, which NVIDIA keeps stable between
major versions.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from cupola.backends.cuda.device import current, require, stream
from cupola.backends.cuda.scratch import scratch

KINDS = {"float16": 2, "bfloat16": 14, "float32": 0, "float64": 1, "complex64": 4, "complex128": 5}
"""cudaDataType of the element types that cuBLASLt multiplies."""

EPILOGUES = {"": 1, "relu": 2, "gelu_tanh": 32}
"""What may be done to the result (``cublasLtEpilogue_t``); 4 more with a bias."""

_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_TF32 = 68, 70, 77
_TRANS_A, _TRANS_B, _EPILOGUE, _BIAS = 3, 4, 7, 8  # cublasLtMatmulDescAttributes_t
_BATCH_COUNT, _BATCH_STRIDE = 5, 6  # cublasLtMatrixLayoutAttribute_t
_WORKSPACE, _ALIGN_A, _ALIGN_B, _ALIGN_C, _ALIGN_D = (
    1,
    5,
    6,
    7,
    8,
)  # cublasLtMatmulPreferenceAttributes_t
_ROOM = 32 << 20  # what NVIDIA recommends for Hopper


class Unavailable(Exception):
    """The library is missing, or has no algorithm for a product."""


@dataclass(frozen=True)
class Operand:
    """A batch of column-major matrices: operation 1 transposes them; strides in elements."""

    operation: int
    rows: int
    columns: int
    lead: int
    batch_stride: int


class _Found(ctypes.Structure):
    """``cublasLtMatmulHeuristicResult_t``."""

    _fields_ = (
        ("algo", ctypes.c_uint64 * 8),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@cache
def library() -> Any:
    """The library that CuPy has loaded.

    Raises:
        Unavailable: it cannot be found.
    """
    require().cuda.device.get_cublas_handle()  # loads cuBLAS from wherever it is installed
    major = require().cuda.runtime.runtimeGetVersion() // 1000
    for name in (f"libcublasLt.so.{major}", "libcublasLt.so.13", "libcublasLt.so.12"):
        try:
            return ctypes.PyDLL(name)
        except OSError:
            continue
    raise Unavailable


@cache
def _handle(device: int) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    _check(library().cublasLtCreate(ctypes.byref(handle)))
    return handle


def _check(status: int) -> None:
    if status:
        raise Unavailable(f"cuBLASLt status {status}")


@cache
def _factors(name: str) -> Any:
    kind = {"float64": np.float64, "complex64": np.complex64, "complex128": np.complex128}
    return np.array([1, 0], kind.get(name, np.float32))


class Product:
    """out = activation(first @ second + bias + residual), prepared; column-major; ``out`` and the
    residual dense.

    Raises:
        Unavailable: cuBLASLt has no algorithm for it.
    """

    def __init__(
        self,
        name: str,
        first: Operand,
        second: Operand,
        rows: int,
        columns: int,
        count: int,
        align: int,
        tf32: bool = False,
        bias: bool = False,
        activation: str = "",
        residual: bool = False,
    ) -> None:
        kind = KINDS[name]
        compute = _COMPUTE_64F if name in ("float64", "complex128") else _COMPUTE_32F
        if tf32 and name in ("float32", "complex64"):
            compute = _COMPUTE_TF32
        scale = kind if kind not in (2, 14) else 0
        self._library = library()
        self._handle = _handle(current())
        self._work = self._created("cublasLtMatmulDescCreate", compute, scale)
        work = self._library.cublasLtMatmulDescSetAttribute
        self._set(work, self._work, _TRANS_A, ctypes.c_int32(first.operation))
        self._set(work, self._work, _TRANS_B, ctypes.c_int32(second.operation))
        self._set(work, self._work, _EPILOGUE, ctypes.c_int32(_epilogue(bias, activation)))
        self._bias = bias
        shapes = (first, second, Operand(0, rows, columns, rows, rows * columns))
        self._layouts = [self._layout(kind, s, count) for s in shapes]
        algo, room = self._choose(align)
        both = _factors(name)
        one, zero = (ctypes.c_void_p(both.ctypes.data + k * both.itemsize) for k in (0, 1))
        self._found = algo
        self._algo = ctypes.byref(algo)
        self._room = room
        self._size = ctypes.c_size_t(room)
        self._one, self._kept = one, one if residual else zero
        self._lock = threading.Lock()

    def _created(self, function: str, *args: int) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        wide = [
            ctypes.c_uint64(a) if k in (1, 2) and len(args) == 4 else a for k, a in enumerate(args)
        ]
        if len(args) == 4:  # a layout: type, rows, columns, leading dimension
            wide[3] = ctypes.c_int64(args[3])
        _check(getattr(self._library, function)(ctypes.byref(made), *wide))
        return made

    @staticmethod
    def _set(function: Any, target: ctypes.c_void_p, name: int, value: Any) -> None:
        size = ctypes.c_size_t(ctypes.sizeof(value))
        _check(function(target, name, ctypes.byref(value), size))

    def _layout(self, kind: int, operand: Operand, count: int) -> ctypes.c_void_p:
        args = (kind, operand.rows, operand.columns, operand.lead)
        made = self._created("cublasLtMatrixLayoutCreate", *args)
        if count > 1:
            function = self._library.cublasLtMatrixLayoutSetAttribute
            self._set(function, made, _BATCH_COUNT, ctypes.c_int32(count))
            self._set(function, made, _BATCH_STRIDE, ctypes.c_int64(operand.batch_stride))
        return made

    def _choose(self, align: int) -> tuple[Any, int]:
        wish = self._created("cublasLtMatmulPreferenceCreate")
        function = self._library.cublasLtMatmulPreferenceSetAttribute
        self._set(function, wish, _WORKSPACE, ctypes.c_size_t(_ROOM))
        for name in (_ALIGN_A, _ALIGN_B, _ALIGN_C, _ALIGN_D):
            self._set(function, wish, name, ctypes.c_uint32(align))
        found, count = _Found(), ctypes.c_int(0)
        a, b, c = self._layouts
        status = self._library.cublasLtMatmulAlgoGetHeuristic(
            self._handle, self._work, a, b, c, c, wish, 1, ctypes.byref(found), ctypes.byref(count)
        )
        self._library.cublasLtMatmulPreferenceDestroy(wish)
        _check(status or found.state or (count.value == 0))
        return found, int(found.workspace)

    def __call__(self, first: int, second: int, out: int, bias: int = 0, residual: int = 0) -> None:
        """Queues the product on the current stream; addresses of device memory.

        Raises:
            RuntimeError: cuBLASLt refused.
        """
        pointer = ctypes.c_void_p
        a, b, c = self._layouts
        room = scratch.address(self._room) if self._room else 0
        with self._lock:  # the bias is part of the shared description
            if self._bias:
                function = self._library.cublasLtMatmulDescSetAttribute
                self._set(function, self._work, _BIAS, pointer(bias))
            target, added = pointer(out), pointer(residual or out)
            status = self._library.cublasLtMatmul(
                self._handle, self._work, self._one, pointer(first), a, pointer(second), b,
                self._kept, added, c, target, c, self._algo, pointer(room), self._size,
                pointer(stream()),
            )  # fmt: skip
        if status:
            raise RuntimeError(f"cuBLASLt refused a matrix product (status {status})")


def _epilogue(bias: bool, activation: str) -> int:
    if not bias:
        return EPILOGUES[activation]
    return 4 if not activation else EPILOGUES[activation] + 4
