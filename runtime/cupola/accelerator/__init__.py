"""The GPU without its maker's name (torch.accelerator)."""

from __future__ import annotations

from typing import Any

from cupola import cuda
from cupola.ir.device import device

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "empty_cache",
    "is_available",
    "set_device_idx",
    "set_device_index",
    "synchronize",
]


def is_available() -> bool:
    """Whether there is a GPU."""
    return cuda.is_available()


def device_count() -> int:
    """Number of GPUs."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Any:
    """The kind of accelerator, or None."""
    return device("cuda") if is_available() else None


def current_device_index() -> int:
    """Index of the current GPU."""
    return cuda.current_device()


current_device_idx = current_device_index


def set_device_index(device: Any) -> None:
    """Makes a GPU the current one."""
    cuda.set_device(device)


set_device_idx = set_device_index


def synchronize(device: Any = None) -> None:
    """Waits for all work."""
    cuda.synchronize(device)


def current_stream(device: Any = None) -> Any:
    """The stream that work goes to."""
    return cuda.current_stream(device)


def empty_cache() -> None:
    """Returns unused memory to the driver."""
    cuda.empty_cache()
