"""NVIDIA GPUs: generated CUDA C through NVRTC, vendor libraries, CuPy for memory and the rest.

Importing this package needs neither CuPy nor a GPU, and loads little; making a ``CUDABackend``
does.
"""

from typing import Any

from cupola.backends.cuda.device import available, device_count
from cupola.backends.cuda.flags import flags
from cupola.backends.cuda.sdp import (
    cudnn_sdp_enabled,
    enable_cudnn_sdp,
    enable_flash_sdp,
    enable_math_sdp,
    enable_mem_efficient_sdp,
    flash_sdp_enabled,
    math_sdp_enabled,
    mem_efficient_sdp_enabled,
    sdp_kernel,
)


def __getattr__(name: str) -> Any:
    if name == "CUDABackend":
        from cupola.backends.cuda.backend import CUDABackend

        return CUDABackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CUDABackend",
    "available",
    "cudnn_sdp_enabled",
    "device_count",
    "enable_cudnn_sdp",
    "enable_flash_sdp",
    "enable_math_sdp",
    "enable_mem_efficient_sdp",
    "flags",
    "flash_sdp_enabled",
    "math_sdp_enabled",
    "matmul",
    "mem_efficient_sdp_enabled",
    "sdp_kernel",
]
