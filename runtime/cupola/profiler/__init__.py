"""Profiles (torch.profiler): what the engine runs, how long it takes, and the Python line it comes
from.

    with cupola.profiler.profile() as prof:
        model(x).sum().backward()
    print(prof.key_averages().table())
    prof.export_chrome_trace("trace.json")
"""

from __future__ import annotations

import enum
import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cupola.engine.lines import user_line
from cupola.profiler.events import Average, Averages, Event, averages, chrome_trace
from cupola.profiler.memory import memory_page
from cupola.profiler.recorder import Recorder
from cupola.tensor.modes import _Decorator


class ProfilerActivity(enum.Enum):
    """What can be recorded; all devices that compute are."""

    CPU = 0
    CUDA = 2


class ProfilerAction(enum.Enum):
    """What a schedule asks for at a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


class record_function(_Decorator):
    """Names a region of the program; it is a row of its own in the table and in the trace."""

    def __init__(self, name: str = "", args: Any = None) -> None:
        self.name = name

    def clone(self) -> record_function:
        return type(self)(self.name)

    def __enter__(self) -> record_function:
        self._recorder = Recorder.active
        if self._recorder is not None:
            self._event = Event(self.name, "region", "cpu", self._recorder.now(), 0.0, user_line())
            self._recorder.events.append(self._event)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._recorder is not None:
            self._event.duration = self._recorder.now() - self._event.start


class profile(_Decorator):
    """Records what runs inside (torch.profiler.profile).

    The work is that which the engine does inside: values that nobody observes are not computed,
    and work recorded before is counted if it runs inside.

    Args:
        schedule: as made by ``schedule``; ``step()`` then ends each step.
        on_trace_ready: called with the profile when a scheduled recording, or the region, ends.
        profile_memory: notes the memory in use after each kernel.
        with_stack: finds the Python lines (the default; False saves a little time).
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = True,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        **kwargs: Any,
    ) -> None:
        self._given = {
            "schedule": schedule, "on_trace_ready": on_trace_ready,
            "profile_memory": profile_memory, "with_stack": with_stack,
        }  # fmt: skip
        self.schedule = schedule
        self.on_trace_ready = on_trace_ready
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.step_num = 0
        self._recorder: Recorder | None = None
        self._events: list[Event] = []

    def clone(self) -> profile:
        return type(self)(**self._given)  # type: ignore[arg-type]

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _action(self) -> ProfilerAction:
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def start(self) -> None:
        """Begins."""
        if self._action() in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE):
            self._recorder = Recorder(self.profile_memory, self.with_stack)
            self._recorder.start()

    def _finish(self, ready: bool) -> None:
        if self._recorder is not None:
            self._recorder.stop()
            self._events = self._recorder.events
            self._recorder = None
            if ready and self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def stop(self) -> None:
        """Ends."""
        self._finish(True)

    def step(self) -> None:
        """Ends a step of the schedule."""
        save = self._action() is ProfilerAction.RECORD_AND_SAVE
        self.step_num += 1
        recording = self._action() in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if save or not recording:
            self._finish(save)
        if recording and self._recorder is None:
            self.start()

    def events(self) -> list[Event]:
        """Everything that was recorded, in order."""
        return self._recorder.events if self._recorder is not None else self._events

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, **kwargs: Any
    ) -> Averages:
        """Events by name; by Python line too with ``group_by_stack_n``, by the shapes of their
        results with ``group_by_input_shape``.
        """
        return averages(self.events(), by_place=group_by_stack_n > 0, by_shape=group_by_input_shape)

    def export_chrome_trace(self, path: str) -> None:
        """Writes a trace for Perfetto or chrome://tracing, compressed where ``path`` ends in
        ``.gz``.
        """
        _write(path, chrome_trace(self.events()))

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Writes one line for each Python line: place and microseconds, for flame graphs."""
        rows = averages(self.events(), by_place=True)
        text = "".join(f"{a.place or 'unknown'};{a.key} {int(a.time)}\n" for a in rows)
        Path(path).write_text(text)

    def memory_timeline(self) -> list[tuple[float, str, int]]:
        """(microseconds, device, bytes in use) after each kernel, with ``profile_memory``."""
        return [
            (e.start + e.duration, e.device, e.memory)
            for e in self.events()
            if e.memory is not None
        ]

    def export_memory_timeline(self, path: str, device: str | None = None) -> None:
        """Writes the memory in use over time: a page with a chart where ``path`` ends in
        ``.html``, else JSON ``[[microseconds, ...], [bytes, ...]]``, compressed where it ends in
        ``.gz``. Needs ``profile_memory``.

        ``device`` defaults to a GPU if one was used.

        Raises:
            RuntimeError: no memory was recorded on the device.
        """
        rows = self.memory_timeline()
        if device is None:
            device = max((where for _, where, _ in rows), default="cpu")  # "cuda" after "cpu"
        found = sorted(
            (t, n) for t, where, n in rows if where.split(":")[0] == device.split(":")[0]
        )
        if not found:
            raise RuntimeError(
                f"no memory was recorded on {device}: profile(profile_memory=True) notes it after "
                "each kernel"
            )
        times, sizes = [t for t, _ in found], [n for _, n in found]
        page = str(path).endswith(".html")
        text = memory_page(times, sizes, device) if page else json.dumps([times, sizes])
        _write(path, text)


def _write(path: str, text: str) -> None:
    """Writes a file, compressed where its name says so."""
    data = text.encode()
    Path(path).write_bytes(gzip.compress(data) if str(path).endswith(".gz") else data)


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, **kwargs: Any
) -> Callable[[int], ProfilerAction]:
    """When to record: ``wait`` steps not, ``warmup`` not either, ``active`` steps, and again."""

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        length = wait + warmup + active
        if step < 0 or (repeat > 0 and step >= repeat * length):
            return ProfilerAction.NONE
        step %= length
        if step < wait:
            return ProfilerAction.NONE
        if step < wait + warmup:
            return ProfilerAction.WARMUP
        last = step == length - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[Any], None]:
    """A handler that writes each trace into a folder, under the names that TensorBoard expects."""

    def handle(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        prof.export_chrome_trace(os.path.join(dir_name, name))

    return handle


def supported_activities() -> set[ProfilerActivity]:
    """What can be recorded."""
    return set(ProfilerActivity)


def kineto_available() -> bool:
    """Whether PyTorch's own tracing library is there: never."""
    return False


__all__ = [
    "Average",
    "Averages",
    "Event",
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
