"""NumPy's BLAS: its number of threads, and its matrix products on the one team of threads.

NumPy's wheels bundle OpenBLAS with its own pthread pool, beside the OpenMP threads of oneDNN and of
generated kernels. The pools do not run at the same time, but after a call OpenBLAS's workers poll
for some tens of milliseconds, which costs the next OpenMP region a share of the cores. So products
are cut into slices, which the threads of the OpenMP team compute side by side (see
``codegen/llvm/product.py``).

Measured: with AVX2 alone OpenBLAS is up to 30 % faster than oneDNN 3.2 on transposed operands, and
twice where their rows are a power of two apart; with AVX-512 oneDNN is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cupola.backends.cpu.team import Team
from cupola.backends.cpu.threads import threads
from cupola.codegen.llvm import product

_SYMBOLS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads",
)


def _bundled_libraries() -> list[Path]:
    package = Path(np.__file__).resolve().parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    return [path for folder in folders if folder.is_dir() for path in folder.glob("*openblas*")]


def _setter() -> Callable[[int], object] | None:
    for path in _bundled_libraries():
        try:
            library = ctypes.CDLL(str(path))  # already loaded by NumPy: this only finds it again
        except OSError:
            continue
        for symbol in _SYMBOLS:
            function = getattr(library, symbol, None)
            if function is not None:
                function.argtypes = (ctypes.c_int,)
                function.restype = None
                return function
    return None


def set_blas_threads(count: int) -> bool:
    """Limit NumPy's bundled OpenBLAS to `count` threads; False where NumPy uses another BLAS."""
    setter = _setter()
    if setter is None:
        return False
    setter(count)
    return True


# Multiplications that are worth a thread of their own, and those that are worth the choice.
_GRAIN = 1 << 17
_LARGE = 1 << 22
_DEEP = 512
_ROW_MAJOR, _TRANSPOSED = 111, 112


@lru_cache(maxsize=1)
def _library() -> tuple[Any, Any, Any, dict[str, int]] | None:
    """Getter and setter of OpenBLAS's threads, and the addresses of its products by NumPy type."""
    for path in _bundled_libraries():
        try:
            library = ctypes.CDLL(str(path))
            get = library.scipy_openblas_get_num_threads64_
            put = library.scipy_openblas_set_num_threads64_
            found = {
                name: ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
                for name, symbol in (
                    ("float32", "scipy_cblas_sgemm64_"),
                    ("float64", "scipy_cblas_dgemm64_"),
                )
            }
        except (OSError, AttributeError):
            continue
        put.argtypes, put.restype = (ctypes.c_int,), None
        return library, get, put, found
    return None


class Products:
    """Matrix products of one process through OpenBLAS."""

    def __init__(self, team: Team) -> None:
        self.team = team

    def suits(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether ``matmul`` is the faster library here: see above."""
        if a.dtype != np.float32 or a.shape[:-2] != b.shape[:-2]:
            return False
        if a.size * b.shape[-1] < _LARGE or self.team.jit.target.vector_bytes != 32:
            return False
        item = a.itemsize
        deep = b.shape[-2] >= _DEEP and b.strides[-2] == item and b.strides[-1] != item
        return deep or (a.strides[-2] == item and a.strides[-1] != item)

    def matmul(self, a: np.ndarray, b: np.ndarray, out: np.ndarray, add: bool = False) -> bool:
        """out (..., M, N), C-contiguous, becomes a (..., M, K) @ b (..., K, N), or that is added.

        Leading dimensions are equal. False: nothing was done, for this BLAS or these strides.
        """
        library = _library()
        if library is None or a.dtype.name not in library[3]:
            return False
        left, right = _matrix(a), _matrix(b)
        if left is None or right is None or not out.flags.c_contiguous or 0 in out.shape:
            return False
        (layout_a, lead_a, batch_a), (layout_b, lead_b, batch_b) = left, right
        m, k = a.shape[-2:]
        n, batch = b.shape[-1], prod(out.shape[:-2])
        if batch > 1 and batch_b == 0 and layout_a == _ROW_MAJOR and batch_a == m * lead_a:
            m, batch = m * batch, 1  # one matrix for all: a single tall product
        work = batch * m * n * k
        team = max(1, min(threads.count, work // _GRAIN))
        words = {
            "gemm": library[3][a.dtype.name], "a": a.ctypes.data, "b": b.ctypes.data,
            "c": out.ctypes.data, "transposed_a": layout_a, "transposed_b": layout_b, "rows": m,
            "columns": n, "depth": k, "lead_a": lead_a, "lead_b": lead_b, "lead_c": n,
            "batch": batch, "batch_a": batch_a, "batch_b": batch_b, "batch_c": m * n, "beta": add,
            "slices": 1 if batch % team == 0 or batch >= 4 * team else team, "by_columns": n > m,
            "step_a": lead_a if layout_a == _ROW_MAJOR else 1,
            "step_b": 1 if layout_b == _ROW_MAJOR else lead_b,
            "team": team,
        }  # fmt: skip
        type_ = "float" if a.dtype == np.float32 else "double"
        _, get, put, _ = library
        before = get()
        if before != 1:
            put(1)
        try:
            self.team.call(type_, lambda: product.module(type_), product.ARGUMENTS, words)
        finally:
            if before != 1:
                put(before)
        return True


def _matrix(x: np.ndarray) -> tuple[int, int, int] | None:
    """CBLAS's layout, leading dimension and batch stride of stacked matrices, or None."""
    item = x.itemsize
    rows, columns = x.shape[-2:]
    s0, s1 = x.strides[-2] // item, x.strides[-1] // item
    step, span = 0, 1
    for n, s in zip(reversed(x.shape[:-2]), reversed(x.strides[:-2])):
        if n == 1:
            continue
        if span == 1:
            step = s
        elif s != step * span:
            return None
        span *= n
    if min(x.strides, default=0) < 0 or step % item:
        return None
    if (s1 == 1 or columns == 1) and (s0 >= columns or rows == 1):
        return _ROW_MAJOR, max(s0 if rows > 1 else columns, 1), step // item
    if (s0 == 1 or rows == 1) and (s1 >= rows or columns == 1):
        return _TRANSPOSED, max(s1 if columns > 1 else rows, 1), step // item
    return None
