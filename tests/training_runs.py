"""The three repositories in fixtures/training as they are and converted, and how to run them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

import harness

HOME = harness.FIXTURES / "training"
NAMES = ("classifier", "gpt", "vae")
# The ResNet is compared in float64. In float32 its training is chaotic: torch itself, begun with
# weights moved by 1e-7, leaves its own curve by more than 1e-3 at step 8 and by up to 0.23.
DOUBLE = ("classifier",)
# Largest relative difference of a loss at any step.
TOLERANCE = 1e-3


def run(folder: pathlib.Path, log: pathlib.Path, *arguments: object, threads: int = 1) -> dict:
    """Runs `train.py` of a folder in a process of its own; returns what it logged.

    The dictionary has `losses` and `times` (seconds) by step, the result on held-out data, and
    `seconds`, the whole process included.

    Raises:
        AssertionError: the script failed; its output is the message.
    """
    if folder.name in DOUBLE:
        arguments = (*arguments, "--double")
    rooms = [str(harness.ROOT / room) for room in ("runtime", "compat")]
    path = os.pathsep.join([*rooms, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "train.py", "--log", str(log), *map(str, arguments)]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{folder}: {done.stdout}{done.stderr}"
    return {**json.loads(log.read_text()), "seconds": time.perf_counter() - began}


def outcome(log: dict) -> float:
    """The result on held-out data: accuracy, or test loss."""
    return log["accuracy"] if "accuracy" in log else log["test_loss"]


def errors(original: dict, converted: dict) -> list[float]:
    """Relative difference of the loss at each step."""
    pairs = zip(original["losses"], converted["losses"], strict=True)
    return [abs(got - want) / abs(want) for want, got in pairs]
