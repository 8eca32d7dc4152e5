"""Profiles (torch.profiler): regions are accepted; use cProfile for Python and Nsight for the
GPU.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from cupola.tensor.modes import _Decorator


class ProfilerActivity(enum.Enum):
    """What could be recorded."""

    CPU = 0
    CUDA = 2


class ProfilerAction(enum.Enum):
    """What a schedule asks for at a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


class record_function(_Decorator):
    """Names a region."""

    def __init__(self, name: str = "", args: Any = None) -> None:
        self.name = name

    def clone(self) -> record_function:
        return type(self)(self.name)

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class _Averages(list):
    def table(self, *args: Any, **kwargs: Any) -> str:
        """An empty table."""
        return ""

    def total_average(self) -> Any:
        """Nothing was recorded."""
        return self


class profile(_Decorator):
    """A region whose profile is empty."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._given = (args, kwargs)

    def clone(self) -> profile:
        return type(self)(*self._given[0], **self._given[1])

    def __enter__(self) -> profile:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def start(self) -> None:
        """Begins."""

    def stop(self) -> None:
        """Ends."""

    def step(self) -> None:
        """Marks a step."""

    def key_averages(self, *args: Any, **kwargs: Any) -> _Averages:
        """Nothing was recorded."""
        return _Averages()

    def events(self) -> _Averages:
        """Nothing was recorded."""
        return _Averages()

    def export_chrome_trace(self, path: str) -> None:
        """Writes an empty trace."""
        with open(path, "w") as f:
            f.write('{"traceEvents": []}')


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, **kwargs: Any
) -> Callable[[int], ProfilerAction]:
    """When to record; nothing is."""
    return lambda step: ProfilerAction.NONE


def tensorboard_trace_handler(dir_name: str, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
    """A handler that writes nothing."""
    return lambda prof: None
