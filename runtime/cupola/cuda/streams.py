"""Streams, events and timing (torch.cuda.Stream, torch.cuda.Event)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from cupola import engine


def _wait() -> None:
    if "cuda" in engine._backends:
        engine.backend("cuda").synchronize(0)


class Stream:
    """A queue of GPU work. The engine orders its own work, so that streams need no waiting."""

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        self.device = device
        self.priority = priority
        self.cuda_stream = 0

    def synchronize(self) -> None:
        """Waits for all work."""
        _wait()

    def query(self) -> bool:
        """Whether all work is done; waits for it, and so it always is."""
        _wait()
        return True

    def wait_event(self, event: Any) -> None:
        """Later work of this stream follows the event: the engine keeps that order anyway."""

    def wait_stream(self, stream: Any) -> None:
        """Later work of this stream follows that of another: the engine keeps that order anyway."""

    def record_event(self, event: Any = None) -> Event:
        """Marks this point."""
        event = event or Event(True)
        event.record(self)
        return event

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class Event:
    """A point in time of the GPU's work."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._time: float | None = None

    def record(self, stream: Any = None) -> None:
        """Marks now, after the work that was started."""
        _wait()
        self._time = time.perf_counter()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another.

        Raises:
            RuntimeError: one of them was not recorded.
        """
        if self._time is None or end_event._time is None:
            raise RuntimeError(
                "Both events must be recorded before calculating elapsed time: call record()."
            )
        return (end_event._time - self._time) * 1e3

    def query(self) -> bool:
        """Whether the work before the event is done."""
        return True

    def wait(self, stream: Any = None) -> None:
        """Later work of a stream follows this event."""

    def synchronize(self) -> None:
        """Waits for the work before this event."""
        _wait()


def current_stream(device: Any = None) -> Stream:
    """The stream that work goes to."""
    return Stream(device)


default_stream = current_stream


@contextlib.contextmanager
def stream(stream: Any) -> Iterator[Any]:
    """Selects a stream in a ``with`` block (torch.cuda.stream)."""
    yield stream


def set_stream(stream: Any) -> None:
    """Selects a stream; the engine keeps one order of work."""


StreamContext = stream
