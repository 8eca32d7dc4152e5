"""What benchmarks that compare cupola with torch share: turns, checks, machine, report."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runtime"))

PAUSE = 0.003
"""Seconds after which the other side's waiting threads have left the processor."""


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def least(
    call: Callable[[], Any], rounds: int, count: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Microseconds a call, in the fastest of ``rounds`` of ``count`` calls."""
    best = float("inf")
    for _ in range(rounds):
        begun = clock()
        for _ in range(count):
            call()
        best = min(best, (clock() - begun) / count)
    return 1e6 * best


def same(got: Any, want: Any, tolerance: float, what: str) -> None:
    """Checks two lists of arrays by relative Euclidean distance.

    Raises:
        SystemExit: they differ by more than ``tolerance``.
    """
    for k, (a, b) in enumerate(zip(got, want, strict=True)):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        distance = float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-30))
        if a.shape != b.shape or not distance <= tolerance:
            raise SystemExit(f"{what}, result {k}: off by {distance:.2e} (allowed {tolerance:.0e})")


def timed(sides: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each side's calls, all sides in turn: a call to wake up, then some timed."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    turns: dict[str, int] = {}
    for name, call in sides.items():
        call()
        start = time.perf_counter()
        call()
        turns[name] = max(2, min(50, math.ceil(0.03 / (time.perf_counter() - start))))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 9:
        for name, call in sides.items():
            time.sleep(PAUSE)
            call()
            for _ in range(turns[name]):
                start = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def row(name: str, times: dict[str, list[float]], sides: Sequence[str]) -> list[Any]:
    """A table's row: medians, and how often cupola's goes into the fastest other side's."""
    median = {k: statistics.median(v) for k, v in times.items()}
    best = min(v for k, v in median.items() if k != "cupola")
    cells = [round(median[k], 4) if k in median else None for k in sides]
    return [name, *cells, round(best / median["cupola"], 2)]


def report(
    benchmark: str, columns: list[str], rows: list[list[Any]], notes: list[str], **more: Any
) -> None:
    """Prints the table and, as the last line, one JSON object."""
    import numpy
    import torch

    table = [columns] + [[_cell(c) for c in r] for r in rows]
    widths = [max(len(r[k]) for r in table) for k in range(len(columns))]
    for line in table:
        print("  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in
                        enumerate(zip(line, widths, strict=True))))  # fmt: skip
    for note in notes:
        print(note)
    import cupola

    print(
        json.dumps(
            {
                "benchmark": benchmark,
                "date": datetime.date.today().isoformat(),
                "machine": f"{processor()}, {os.cpu_count()} cores",
                "versions": {
                    "cupola": cupola.__version__,
                    "torch": torch.__version__,
                    "numpy": numpy.__version__,
                    "python": platform.python_version(),
                },
                "table": {"columns": columns, "rows": rows},
                "notes": notes,
                **more,
            }
        )
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
