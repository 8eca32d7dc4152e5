"""Matrix products through cuBLAS: any layout that it can read is passed as it is, without a copy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from cupola.backends.cuda.device import require
from cupola.backends.cuda.flags import flags

_KINDS = {"float16": 2, "bfloat16": 14, "float32": 0, "float64": 1, "complex64": 4, "complex128": 5}
_COMPUTE = {"float64": 70, "complex128": 70}  # CUBLAS_COMPUTE_64F; all others CUBLAS_COMPUTE_32F
_FP32, _TF32 = 68, 77


@lru_cache(maxsize=16)
def _factors(name: str) -> tuple[Any, int, int]:
    """One and zero in host memory, in the type in which cuBLAS computes."""
    kind = {"float64": np.float64, "complex64": np.complex64, "complex128": np.complex128}
    both = np.array([1, 0], kind.get(name, np.float32))
    return both, int(both.ctypes.data), int(both.ctypes.data) + both.itemsize


def _layout(x: Any) -> tuple[int, int] | None:
    """(operation, leading dimension) of the last two dimensions for column-major cuBLAS, or None: needs a copy.

    Operation 0 reads a row-major array (its transpose, to cuBLAS), 1 its transpose.
    """
    rows, columns = x.shape[-2:]
    size = x.dtype.itemsize
    s0, s1 = x.strides[-2] // size, x.strides[-1] // size
    if (s1 == 1 or columns == 1) and (s0 >= columns or rows == 1):
        return 0, max(s0 if rows > 1 else columns, 1)
    if (s0 == 1 or rows == 1) and (s1 >= rows or columns == 1):
        return 1, max(s1 if columns > 1 else rows, 1)
    return None


def _batch(x: Any) -> int | None:
    """The one stride, in elements, of all leading dimensions taken together, or None."""
    stride, span = 0, 1
    for n, s in zip(reversed(x.shape[:-2]), reversed(x.strides[:-2])):
        if n == 1:
            continue
        if span == 1:
            stride = s
        elif s != stride * span:
            return None
        span *= n
    return stride // x.dtype.itemsize


def matmul(a: Any, b: Any) -> Any:
    """a (..., M, K) @ b (..., K, N) with equal leading dimensions.

    Half types accumulate in float32; float32 uses TF32 only where ``flags.matmul_tf32`` is set.
    """
    xp = require()
    name = a.dtype.name
    shape = (*a.shape[:-1], b.shape[-1])
    kind = _KINDS.get(name)
    if kind is None:
        return _other(xp, a, b, shape)
    out = xp.empty(shape, a.dtype)
    if out.size == 0:
        return out
    m, k = a.shape[-2:]
    if k == 0:
        out.fill(0)
        return out
    n = b.shape[-1]
    if _layout(a) is None or _batch(a) is None:
        a = xp.ascontiguousarray(a)
    if _layout(b) is None or _batch(b) is None:
        b = xp.ascontiguousarray(b)
    (ta, lda), (tb, ldb) = _layout(a), _layout(b)  # type: ignore[misc]
    sa, sb = _batch(a), _batch(b)
    count = out.size // (m * n)
    if (
        count > 1 and sb == 0 and ta == 0 and sa == m * lda
    ):  # one matrix for all: a single tall product
        m, count = m * count, 1
    compute = _COMPUTE.get(name, _FP32)
    if name == "float32" and flags.matmul_tf32:
        compute = _TF32
    _, one, zero = _factors(name)
    from cupy_backends.cuda.libs import cublas

    handle = xp.cuda.device.get_cublas_handle()
    # cuBLAS is column-major: it computes the transpose, with the operands exchanged.
    sizes = (tb, ta, n, m, k, one)
    second, first = (b.data.ptr, kind, ldb), (a.data.ptr, kind, lda)
    if count == 1:
        cublas.gemmEx(handle, *sizes, *second, *first, zero, out.data.ptr, kind, n, compute, -1)
    else:
        cublas.gemmStridedBatchedEx(
            handle, *sizes, *second, sb, *first, sa, zero, out.data.ptr, kind, n, m * n, count,
            compute, -1,
        )  # fmt: skip
    return out


def _other(xp: Any, a: Any, b: Any, shape: tuple[int, ...]) -> Any:
    """Integers and bools: CuPy's own kernel."""
    if a.dtype == xp.bool_:
        return xp.matmul(a.astype(xp.int32), b.astype(xp.int32)) != 0
    return xp.matmul(a, b).astype(a.dtype, copy=False).reshape(shape)
