"""NVIDIA GPUs: generated CUDA C through NVRTC, vendor libraries, CuPy for memory and the rest.

Importing this package needs neither CuPy nor a GPU, and loads little; making a ``CUDABackend``
does.
"""

from typing import Any

from cupola.backends.cuda.device import available, device_count
from cupola.backends.cuda.flags import flags


def __getattr__(name: str) -> Any:
    if name == "CUDABackend":
        from cupola.backends.cuda.backend import CUDABackend

        return CUDABackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["CUDABackend", "available", "device_count", "flags"]
