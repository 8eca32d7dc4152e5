"""Devices that programs run on, and the switches that programs set under ``torch.backends``.

Only ``cuda`` imports cupy, and only when it is asked for.
"""

from cupola.backends import cuda
from cupola.backends.base import Backend
from cupola.backends.settings import (
    cudnn,
    matmul,
    mkl,
    mkldnn,
    mps,
    openmp,
    opt_einsum,
    quantized,
    xeon,
)

# torch.backends.cuda.matmul is a setting beside the backend's modules: none may have its name, for
# importing it would take the place.
cuda.matmul = matmul  # type: ignore[attr-defined]

__all__ = [
    "Backend",
    "cuda",
    "cudnn",
    "mkl",
    "mkldnn",
    "mps",
    "openmp",
    "opt_einsum",
    "quantized",
    "xeon",
]
