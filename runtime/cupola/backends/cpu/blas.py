"""The number of threads of NumPy's BLAS.

NumPy's wheels bundle OpenBLAS with its own pthread pool, beside the OpenMP threads of oneDNN and of
generated kernels. The pools do not run at the same time, but after a call OpenBLAS's workers poll
for some tens of milliseconds, which costs the next OpenMP region a share of the cores. float32
therefore goes to oneDNN, and only float64, integers and tiny products to BLAS.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import numpy as np

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
