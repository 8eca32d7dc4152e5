#!/usr/bin/env python3
"""The checks behind `make test`, one after another; a failed one does not stop the next.

usage: check.py [STAGE ...]    stages: ruff, mypy, imports, docs, tests (all when none is named)

Ends with one plain line that says what happened; the exit code is 0 when every stage passed.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(sys.executable).parent
PYTHON = sys.executable


def stages() -> dict[str, tuple[str, list[str]]]:
    """Returns each stage's name with what it does and its command line."""
    workers = os.environ.get("CUPOLA_TEST_WORKERS", "2")
    return {
        "ruff": ("style", [str(BIN / "ruff"), "check", "."]),
        "mypy": ("types of cupola.ir, cupola.schedule, cupola.codegen", [str(BIN / "mypy")]),
        "imports": ("who may import whom", [str(BIN / "lint-imports"), "--no-cache"]),
        "docs": ("documentation examples", [PYTHON, str(ROOT / "scripts/docs.py"), "--check"]),
        "tests": (
            f"test suite, {workers} processes",
            [PYTHON, "-m", "pytest", "-q", "-n", workers, "--dist", "worksteal", "tests"],
        ),
    }


def main(chosen: list[str]) -> int:
    table = stages()
    unknown = [name for name in chosen if name not in table]
    if unknown:
        print(f"no such stage: {', '.join(unknown)} (choose from {', '.join(table)})")
        return 2
    names = chosen or list(table)
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    failed, started = [], time.perf_counter()
    for number, name in enumerate(names, 1):
        what, command = table[name]
        print(f"[{number}/{len(names)}] {name}: {what}", flush=True)
        begun = time.perf_counter()
        code = subprocess.run(command, cwd=ROOT, env=env).returncode
        if code:
            failed.append(name)
        verdict = "passed" if not code else f"FAILED (exit {code})"
        took = time.perf_counter() - begun
        print(f"[{number}/{len(names)}] {name}: {verdict} in {took:.0f} s", flush=True)
    took = time.perf_counter() - started
    if failed:
        print(f"make test: FAILED: {', '.join(failed)} ({len(names)} stages, {took:.0f} s)")
    else:
        print(f"make test: all {len(names)} stages passed ({', '.join(names)}; {took:.0f} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
