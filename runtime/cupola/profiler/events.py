"""What a profile holds, its table and its trace."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Event:
    """One piece of work.

    Attributes:
        name: the operators of a generated kernel, a library call, or a region's name.
        kind: ``kernel``, ``library``, ``graph`` (a captured call) or ``region``.
        device: ``cpu`` or ``cuda:0``.
        start, duration: microseconds; the start is counted from the profile's.
        place: file and line of the Python program that recorded the result.
        shapes: of the results.
        memory: bytes in use on the device afterwards, or None.
    """

    name: str
    kind: str
    device: str
    start: float
    duration: float = 0.0
    place: str = ""
    shapes: tuple[Any, ...] = ()
    memory: int | None = None

    @property
    def key(self) -> str:
        return self.name

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


@dataclass
class Average:
    """All events of one name; memory in bytes, times in microseconds."""

    key: str
    count: int = 0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    places: dict[str, int] = field(default_factory=dict)
    kind: str = ""
    cpu_memory_usage: int = 0
    device_memory_usage: int = 0
    shapes: tuple[Any, ...] = ()

    @property
    def cpu_time_total(self) -> float:
        return self.self_cpu_time_total

    @property
    def cuda_time_total(self) -> float:
        return self.device_time_total

    @property
    def self_device_time_total(self) -> float:
        return self.device_time_total

    @property
    def time(self) -> float:
        """Microseconds on either device."""
        return self.self_cpu_time_total + self.device_time_total

    @property
    def cpu_time(self) -> float:
        return self.self_cpu_time_total / max(self.count, 1)

    @property
    def device_time(self) -> float:
        return self.device_time_total / max(self.count, 1)

    @property
    def self_cpu_memory_usage(self) -> int:
        return self.cpu_memory_usage

    @property
    def self_device_memory_usage(self) -> int:
        return self.device_memory_usage

    @property
    def place(self) -> str:
        """Where most of the events were recorded."""
        return max(self.places, key=lambda p: self.places[p]) if self.places else ""


class Averages(list[Average]):
    """Averages by name, with a table."""

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_name_column_width: int = 55,
        header: str | None = None,
        top_level_events_only: bool = False,
        **kwargs: Any,
    ) -> str:
        """Rows of text, the dearest first: time, share, calls, and the Python line; memory and
        shapes where they are known.

        Raises:
            AttributeError: ``sort_by`` is none of an average's numbers.
        """
        whole = sum(a.time for a in self if a.kind != "region") or 1.0
        by = (sort_by or "time").replace("cuda", "device")
        rows = sorted(self, key=lambda a: getattr(a, by), reverse=True)[:row_limit]
        width = max([4, *(min(len(a.key), max_name_column_width) for a in rows)])
        gpu = any(a.device_time_total for a in self)
        kept = {
            f"{title} mem": which
            for title, which in (("CPU", "cpu_memory_usage"), ("CUDA", "device_memory_usage"))
            if any(getattr(a, which) for a in self)
        }
        shaped = [str([list(s) for s in a.shapes]) for a in rows]
        wide = max(map(len, ("Shapes", *shaped))) + 2 if any(a.shapes for a in rows) else 0
        head = f"{'Name':<{width}} {'Share':>7} {'CPU total':>11} "
        head += f"{'CUDA total':>11} " if gpu else ""
        head += f"{'Average':>11} " + "".join(f"{title:>11} " for title in kept)
        head += f"{'Calls':>7}  " + ("Shapes".ljust(wide) if wide else "") + "Source line"
        lines = [header] if header else []
        lines += ["-" * len(head), head, "-" * len(head)]
        for a, shapes in zip(rows, shaped, strict=True):
            name = a.key if len(a.key) <= width else a.key[: width - 1] + "…"
            share = "" if a.kind == "region" else f"{100 * a.time / whole:.1f}%"
            row = f"{name:<{width}} {share:>7} {_time(a.self_cpu_time_total):>11} "
            row += f"{_time(a.device_time_total):>11} " if gpu else ""
            row += f"{_time(a.time / max(a.count, 1)):>11} "
            row += "".join(f"{_size(getattr(a, which)):>11} " for which in kept.values())
            row += f"{a.count:>7}  " + (shapes.ljust(wide) if wide else "") + a.place
            lines.append(row.rstrip())
        cpu = sum(a.self_cpu_time_total for a in self if a.kind != "region")
        lines += ["-" * len(head), f"CPU time total: {_time(cpu)}"]
        if gpu:
            lines.append(f"CUDA time total: {_time(sum(a.device_time_total for a in self))}")
        return "\n".join(lines) + "\n"

    def total_average(self) -> Average:
        """Everything as one."""
        out = Average("Total")
        for a in self:
            if a.kind != "region":
                out.count += a.count
                out.self_cpu_time_total += a.self_cpu_time_total
                out.device_time_total += a.device_time_total
        return out


def _time(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _size(count: int) -> str:
    for unit, size in (("Gb", 2**30), ("Mb", 2**20), ("Kb", 2**10)):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} b"


def averages(events: Iterable[Event], by_place: bool = False, by_shape: bool = False) -> Averages:
    """Events of one name (and, if asked for, one Python line, or one shape of results) taken
    together. An event's memory is what is in use after it and was not after the one before.
    """
    found: dict[Any, Average] = {}
    used: dict[str, int] = {}
    for e in events:
        shapes = tuple(map(tuple, e.shapes)) if by_shape else ()
        key = (e.name, e.kind, e.place if by_place else "", shapes)
        a = found.setdefault(key, Average(e.name, kind=e.kind, shapes=shapes))
        a.count += 1
        if e.memory is not None:
            more = e.memory - used.get(e.device, e.memory)
            used[e.device] = e.memory
            a.cpu_memory_usage += 0 if e.on_gpu else more
            a.device_memory_usage += more if e.on_gpu else 0
        if e.on_gpu:
            a.device_time_total += e.duration
        else:
            a.self_cpu_time_total += e.duration
        if e.place:
            a.places[e.place] = a.places.get(e.place, 0) + 1
    return Averages(found.values())


def chrome_trace(events: Iterable[Event]) -> str:
    """The events in the trace format of Chrome and Perfetto."""
    rows: dict[str, int] = {}
    out: list[dict[str, Any]] = []
    for e in events:
        row = "Python regions" if e.kind == "region" else e.device
        tid = rows.setdefault(row, len(rows))
        arguments = {"line": e.place, "shapes": [list(s) for s in e.shapes], "device": e.device}
        out.append({
            "ph": "X", "cat": e.kind, "name": e.name, "pid": 0, "tid": tid, "ts": e.start,
            "dur": e.duration, "args": arguments,
        })  # fmt: skip
        if e.memory is not None:
            out.append({
                "ph": "C", "name": f"memory {e.device}", "pid": 0, "ts": e.start + e.duration,
                "args": {"bytes": e.memory},
            })  # fmt: skip
    for row, tid in rows.items():
        out.append({"ph": "M", "name": "thread_name", "pid": 0, "tid": tid, "args": {"name": row}})
    return json.dumps({"traceEvents": out, "displayTimeUnit": "ms"})
