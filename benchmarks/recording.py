#!/usr/bin/env python3
"""What recording costs: microseconds of Python for an operator that nothing is computed for yet.

usage: recording.py [--rounds N]

Each row records an operator 200 times on small tensors and forgets the results, so that no kernel
runs; the figure is the least of the rounds, an operator. torch's column is what the same call costs
there, computation included (4 x 4 elements). "realize" is the time from a recorded graph to its
launches: a chain of 200 additions, a node. The aim is 8 us an operator. The last line printed is
one JSON object.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import _compare
import numpy as np
import torch

import cupola

COUNT = 200
AIM = 8.0
COLUMNS = ["operator", "cupola us", "torch us", "within the aim"]


def operators(lib: Any, grad: bool) -> dict[str, Callable[[], Any]]:
    """Calls to measure, by name."""
    x = lib.ones(4, 4, requires_grad=grad)
    y, row = lib.ones(4, 4), lib.ones(4)
    image = lib.ones(1, 4, 8, 8)
    weight = lib.ones(4, 4, 3, 3, requires_grad=grad)
    f = lib.nn.functional
    return {
        "add": lambda: x + y,
        "add a number": lambda: x + 0.5,
        "broadcast mul": lambda: x * row,
        "matmul": lambda: x @ y,
        "linear": lambda: f.linear(y, x),
        "relu": lambda: f.relu(x),
        "sum": lambda: x.sum(0),
        "reshape": lambda: x.reshape(2, 8),
        "softmax": lambda: f.softmax(x, -1),
        "layer_norm": lambda: f.layer_norm(x, (4,)),
        "conv2d": lambda: f.conv2d(image, weight),
        "index": lambda: x[1],
        "cat": lambda: lib.cat([x, y]),
    }


def realizing(rounds: int) -> float:
    """Microseconds a node from a recorded chain to its launched kernels."""
    best = float("inf")
    x = cupola.ones(4, 4)
    for k in range(rounds + 2):
        y = x
        for _ in range(COUNT):
            y = y + x
        begun = time.process_time()
        value = y.numpy()
        if k >= 2:
            best = min(best, (time.process_time() - begun) / COUNT)
    _compare.same([value], [np.full((4, 4), COUNT + 1.0)], 1e-6, "a chain of additions")
    return 1e6 * best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rows = []
    for grad in (False, True):
        ours, theirs = operators(cupola, grad), operators(torch, grad)
        for name, call in ours.items():
            time_here, time_there = (
                _compare.least(f, rounds, COUNT, time.process_time) for f in (call, theirs[name])
            )
            title = f"{name}, with gradient" if grad else name
            rows.append([title, time_here, time_there, "yes" if time_here <= AIM else "no"])
    rows.append(["realize, a node", realizing(rounds), None, "-"])
    missed = sum(row[3] == "no" for row in rows)
    notes = [f"{missed} of {len(rows) - 1} operators above {AIM:g} us"]
    _compare.report("recording", COLUMNS, rows, notes)


if __name__ == "__main__":
    main()
