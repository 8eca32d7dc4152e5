#!/usr/bin/env python3
"""Three training scripts, converted, against torch: every loss, the final result, the time.

usage: parity_training.py [--steps N] [--threads N] [NAME ...]      names: classifier, gpt, vae

Runs each repository of fixtures/training as it is under torch, then converted, each in a process
of its own; then the converted one goes on from the checkpoint that it wrote half-way. Times are of
a step (median after the first ten) and of all steps. Exits with 1 if a loss is more than 1e-3 off
or the resumed run differs from the uninterrupted one. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import pathlib
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / room) for room in ("tests", "transpiler", "compat", "runtime")]

import _compare  # noqa: E402

import harness  # noqa: E402
import training_runs  # noqa: E402

WARM = 10
COLUMNS = [
    "repository", "worst loss error", "at step", "torch result", "cupola result", "resumed",
    "torch ms", "cupola ms", "times faster", "torch total s", "cupola total s",
]  # fmt: skip


def measure(name: str, steps: int, threads: int, folder: pathlib.Path) -> tuple[list, bool]:
    """Runs one repository; returns its row and whether it agrees."""
    before = training_runs.HOME / name
    with contextlib.redirect_stdout(io.StringIO()):
        after = harness.convert(before, folder / name)
    common = ["--steps", steps]

    def run(place: pathlib.Path, *more: object) -> dict:
        log = folder / f"{name}.json"
        return training_runs.run(place, log, *common, *more, threads=threads)

    half, saved = steps // 2, folder / f"{name}.pt"
    want, got = run(before), run(after, "--save", saved, "--save-at", half)
    errors = training_runs.errors(want, got)
    worst = max(range(steps), key=errors.__getitem__)
    resumed = run(after, "--resume", saved)["losses"] == got["losses"][half:]
    ours, theirs = (1e3 * statistics.median(side["times"][WARM:]) for side in (got, want))
    row = [
        name, float(f"{errors[worst]:.2e}"), worst + 1, training_runs.outcome(want),
        training_runs.outcome(got), "exact" if resumed else "DIFFERS", theirs, ours,
        round(theirs / ours, 2), sum(want["times"]), sum(got["times"]),
    ]  # fmt: skip
    return row, resumed and errors[worst] < training_runs.TOLERANCE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="classifier, gpt, vae")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    found = parser.parse_args()
    unknown = set(found.names) - set(training_runs.NAMES)
    if unknown:
        parser.error(f"no such repository: {', '.join(unknown)}")
    if found.steps <= WARM:
        parser.error(f"--steps must be more than {WARM}")
    rows, agreed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in found.names or training_runs.NAMES:
            row, good = measure(name, found.steps, found.threads, pathlib.Path(folder))
            rows.append(row)
            agreed.append(good)
    notes = [
        f"{found.steps} steps, {found.threads} thread(s); float64: "
        f"{', '.join(training_runs.DOUBLE)} (chaotic in float32), the others float32",
        "a result is the accuracy on held-out data, of the VAE its test loss",
    ]
    if not all(agreed):
        notes.append(f"NOT within {training_runs.TOLERANCE} at every step, or not resumed exactly")
    _compare.report("parity_training", COLUMNS, rows, notes, agreed=all(agreed))
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
