"""The processor as a device like any other (torch.cpu)."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = [
    "Stream",
    "StreamContext",
    "current_device",
    "current_stream",
    "device_count",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """Whether tensors can be on the CPU: they can."""
    return True


def is_initialized() -> bool:
    """Whether the device is ready: it is."""
    return True


def device_count() -> int:
    """Number of CPU devices: 1."""
    return 1


def current_device() -> str:
    """The name of the current device."""
    return "cpu"


def set_device(device: Any) -> None:
    """Does nothing: there is one CPU device."""


def synchronize(device: Any = None) -> None:
    """Does nothing: values are complete when they are observed."""


class Stream:
    """A queue of work; the CPU has one, which is always done."""

    def __init__(self, priority: int = -1) -> None:
        self.priority = priority

    def wait_stream(self, stream: Any) -> None:
        """Does nothing."""

    def record_event(self) -> None:
        """Does nothing."""

    def wait_event(self, event: Any) -> None:
        """Does nothing."""


_stream = Stream()


def current_stream(device: Any = None) -> Stream:
    """The stream that work goes to."""
    return _stream


def stream(stream: Stream) -> contextlib.AbstractContextManager[Any]:
    """A context in which work goes to a stream."""
    return contextlib.nullcontext(stream)


StreamContext = stream
