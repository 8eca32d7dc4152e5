"""How this build is made, in the words that programs look for (torch.__config__)."""

from __future__ import annotations

from cupola.settings import get_num_interop_threads
from cupola.threads import get_num_threads
from cupola.version import __version__, torch_version


def show() -> str:
    """What the build has: no CUDA, MKL or OpenMP is compiled in, kernels are compiled as needed."""
    return (
        f"cupola {__version__} (follows PyTorch {torch_version}):\n  - Build settings: "
        "USE_CUDA=OFF, USE_CUDNN=OFF, USE_MKL=OFF, USE_MKLDNN=OFF, USE_OPENMP=OFF\n"
    )


def parallel_info() -> str:
    """The numbers of threads."""
    return (
        f"ATen/Parallel:\n\tat::get_num_threads() : {get_num_threads()}\n"
        f"\tat::get_num_interop_threads() : {get_num_interop_threads()}\n"
    )
