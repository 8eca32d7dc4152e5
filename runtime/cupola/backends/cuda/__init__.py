"""NVIDIA GPUs: generated CUDA C through NVRTC, vendor libraries, CuPy for memory and the rest.

Importing this package needs neither CuPy nor a GPU; making a ``CUDABackend`` does.
"""

from cupola.backends.cuda.backend import CUDABackend
from cupola.backends.cuda.device import available, device_count
from cupola.backends.cuda.flags import flags

__all__ = ["CUDABackend", "available", "device_count", "flags"]
