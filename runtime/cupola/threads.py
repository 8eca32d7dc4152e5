"""Process-wide settings: number of CPU threads, default device."""

from __future__ import annotations

from typing import Any

from cupola.ir.device import CPU, default_stack
from cupola.ir.device import device as Device


def get_num_threads() -> int:
    """Most threads that one CPU operator uses (torch.get_num_threads)."""
    from cupola.backends.cpu.threads import threads

    return threads.count


def set_num_threads(count: int) -> None:
    """Sets the most threads that one CPU operator uses (torch.set_num_threads)."""
    from cupola.backends.cpu.heavy import heavy_ops
    from cupola.backends.cpu.threads import threads

    threads.set(count)
    heavy_ops().set_num_threads(count)


def set_num_interop_threads(count: int) -> None:
    """Accepted; operators run one after another (torch.set_num_interop_threads)."""


def set_default_device(device: Any) -> None:
    """Where new tensors live when no device is named (torch.set_default_device)."""
    default_stack[0] = CPU if device is None else Device(device)


def get_default_device() -> Device:
    """Where new tensors live when no device is named (torch.get_default_device)."""
    return default_stack[-1]
