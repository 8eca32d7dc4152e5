"""Finding CuPy and the GPU, and saying what to install where one is missing."""

from __future__ import annotations

import os
from functools import cache, lru_cache
from typing import Any

from cupola.errors import BackendError


@lru_cache(maxsize=1)
def _found() -> tuple[Any, int, str]:
    """CuPy, the number of devices, and what is missing in words."""
    try:
        import cupy
    except ImportError as error:
        return (
            None,
            0,
            (
                f"CUDA was asked for, but CuPy cannot be imported ({error}). Install it with the "
                "runtime: pip install 'cupola[cuda13]' (for drivers of CUDA 12: 'cupola[cuda12]')."
            ),
        )
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # the exception's type depends on which library is missing
        return (
            cupy,
            0,
            (
                f"CUDA was asked for, but CuPy {cupy.__version__} cannot reach a GPU ({error}). "
                "Check that `nvidia-smi` lists one and that its driver is at least as new as the "
                "CUDA version of the CuPy package; pip install 'cupola[cuda13]' or "
                "'cupola[cuda12]' chooses it."
            ),
        )
    if count == 0:
        return (
            cupy,
            0,
            "CUDA was asked for, but this machine has no NVIDIA GPU that is visible to CUDA.",
        )
    return cupy, count, ""


_FORKED = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must "
    "use the 'spawn' start method. (In a data loader's worker: make tensors on the CPU and move "
    "batches with .to('cuda') in the training loop, or pass multiprocessing_context='spawn'.)"
)
_inherited: list[bool] = []


def _after_fork_in_child() -> None:
    if _found.cache_info().currsize and _found()[1] > 0:
        _inherited.append(True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def available() -> bool:
    """Whether CuPy and at least one GPU are there (torch.cuda.is_available)."""
    return _found()[1] > 0


def device_count() -> int:
    """How many GPUs are visible (torch.cuda.device_count)."""
    return _found()[1]


def require() -> Any:
    """The ``cupy`` module.

    Raises:
        BackendError: CuPy or a GPU is missing; the text says what to install. Or this process was
            forked from one that uses the GPU.
    """
    if _inherited:
        raise BackendError(_FORKED)
    cupy, _, problem = _found()
    if problem:
        raise BackendError(problem)
    return cupy


@cache
def processors(index: int) -> int:
    """Multiprocessors of a device."""
    return int(require().cuda.runtime.getDeviceProperties(index)["multiProcessorCount"])


@cache
def capability(index: int) -> int:
    """Compute capability, such as 90."""
    return int(require().cuda.Device(index).compute_capability)


def capturing() -> bool:
    """Whether the current stream's work is being recorded into a graph."""
    return bool(require().cuda.get_current_stream().is_capturing())


def current() -> int:
    """Number of the current device."""
    return int(require().cuda.device.get_device_id())


def stream() -> int:
    """The current stream, as CUDA's handle."""
    return int(require().cuda.get_current_stream().ptr)
