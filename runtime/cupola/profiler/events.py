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
    """All events of one name."""

    key: str
    count: int = 0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    places: dict[str, int] = field(default_factory=dict)
    kind: str = ""

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
    def place(self) -> str:
        """Where most of the events were recorded."""
        return max(self.places, key=lambda p: self.places[p]) if self.places else ""


_SORT = {
    "cpu_time_total": "self_cpu_time_total",
    "self_cpu_time_total": "self_cpu_time_total",
    "cuda_time_total": "device_time_total",
    "self_cuda_time_total": "device_time_total",
    "device_time_total": "device_time_total",
    "self_device_time_total": "device_time_total",
    "count": "count",
}


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
        """Rows of text, the dearest first: time, share, calls, and the Python line."""
        whole = sum(a.time for a in self if a.kind != "region") or 1.0
        by = _SORT.get(sort_by or "", "time")
        rows = sorted(self, key=lambda a: getattr(a, by), reverse=True)[:row_limit]
        width = max([4, *(min(len(a.key), max_name_column_width) for a in rows)])
        gpu = any(a.device_time_total for a in self)
        head = f"{'Name':<{width}} {'Share':>7} {'CPU total':>11} "
        head += f"{'CUDA total':>11} " if gpu else ""
        head += f"{'Average':>11} {'Calls':>7}  Source line"
        lines = [header] if header else []
        lines += ["-" * len(head), head, "-" * len(head)]
        for a in rows:
            name = a.key if len(a.key) <= width else a.key[: width - 1] + "…"
            share = "" if a.kind == "region" else f"{100 * a.time / whole:.1f}%"
            row = f"{name:<{width}} {share:>7} {_time(a.self_cpu_time_total):>11} "
            row += f"{_time(a.device_time_total):>11} " if gpu else ""
            row += f"{_time(a.time / max(a.count, 1)):>11} {a.count:>7}  {a.place}"
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


def averages(events: Iterable[Event], by_place: bool = False) -> Averages:
    """Events of one name (and, if asked for, one Python line) taken together."""
    found: dict[Any, Average] = {}
    for e in events:
        key = (e.name, e.kind, e.place if by_place else "")
        a = found.setdefault(key, Average(e.name, kind=e.kind))
        a.count += 1
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
