#!/usr/bin/env python3
"""A long training of a small model: memory and caches stay as they are.

usage: soak.py [--device cpu|cuda] [--steps 20000]

Prints resident memory and the caches that changed at each tenth, and one JSON object at the end.
The exit code is 1 where memory at the end is more than 1 % above that after the second tenth.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import sys
import time
from collections.abc import Sized
from typing import Any

import cupola
from cupola import engine, nn

GROWTH = 0.01
CONTAINERS = (dict, list, set, frozenset)


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _sizes(prefix: str, names: dict[str, Any]) -> dict[str, int]:
    found = {}
    for name, value in list(names.items()):
        if name.startswith("__"):
            continue
        if isinstance(value, functools._lru_cache_wrapper):
            found[f"{prefix}.{name}"] = value.cache_info().currsize
        elif isinstance(value, CONTAINERS) or "Cache" in type(value).__name__:
            if isinstance(value, Sized):
                found[f"{prefix}.{name}"] = len(value)
    return found


def caches(device: str) -> dict[str, int]:
    """How much each of cupola's module-level containers and memoized functions holds, and those
    of the backend.
    """
    found: dict[str, int] = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "cupola" and module is not None:
            found |= _sizes(name, vars(module))
    backend = engine.backend(device)
    found |= _sizes(f"backend {device}", vars(backend))
    for name, part in vars(backend).items():
        if type(part).__module__.startswith("cupola"):
            found |= _sizes(f"backend {device}.{name}", getattr(part, "__dict__", {}))
    return found


def model(device: str) -> nn.Module:
    """Convolution, batch norm, dropout and a classifier."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 32), nn.GELU(), nn.Linear(32, 10)),
    ).to(device)


def run(device: str, steps: int) -> dict[str, Any]:
    """Trains, and observes ten times."""
    cupola.manual_seed(0)
    net = model(device)
    optimizer = cupola.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = cupola.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    data = cupola.utils.data.TensorDataset(cupola.rand(500, 1, 8, 8), cupola.randint(0, 10, (500,)))
    # The last batch of a pass is smaller.
    loader = cupola.utils.data.DataLoader(data, 32, shuffle=True)
    every, rows, step, begun = max(steps // 10, 1), [], 0, time.monotonic()
    before: dict[str, int] = {}
    total = 0.0
    while step < steps:
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x.to(device)), y.to(device))
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 50 == 0:
                total += loss.item()
            if step % every == 0:
                gc.collect()
                now = caches(device)
                changed = {k: n for k, n in now.items() if n != before.get(k, 0)}
                before = now
                gpu = cupola.cuda.memory_allocated() if device == "cuda" else 0
                rows.append({"step": step, "resident": resident(), "gpu": gpu, "caches": now})
                print(f"{step:8d} steps  {resident() / 2**20:9.2f} MiB  gpu {gpu / 2**20:.2f} MiB")
                for name, n in sorted(changed.items()):
                    print(f"{'':18}{name}: {n}")
            if step >= steps:
                break
    return {
        "device": device,
        "steps": step,
        "seconds": round(time.monotonic() - begun, 1),
        "loss": total,
        "rows": rows,
    }


def verdict(result: dict[str, Any]) -> dict[str, Any]:
    """Growth of memory from the second observation to the last, and the caches that grew."""
    rows = result["rows"]
    first, last = rows[1], rows[-1]
    grown = {
        name: [first["caches"].get(name, 0), n]
        for name, n in last["caches"].items()
        if n > first["caches"].get(name, 0)
    }
    growth = last["resident"] / first["resident"] - 1
    on_gpu = last["gpu"] / first["gpu"] - 1 if first["gpu"] else 0.0
    return {
        **{key: value for key, value in result.items() if key != "rows"},
        "resident": [row["resident"] for row in rows],
        "gpu": [row["gpu"] for row in rows],
        "growth": growth,
        "gpu_growth": on_gpu,
        "grown_caches": grown,
        "flat": growth <= GROWTH and on_gpu <= GROWTH,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, default=20000)
    options = parser.parse_args()
    if options.steps < 20:
        parser.error("--steps: at least 20, for ten observations")
    found = verdict(run(options.device, options.steps))
    print(json.dumps(found))
    return 0 if found["flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
