#!/usr/bin/env python3
"""Runs every script in benchmarks/ and writes docs/benchmarks.md from what they measured.

usage: bench.py [--docs-only] [NAME ...]
       bench.py --keep NAME@MACHINE FILE

Each script prints a table and, as its last line, one JSON object. The objects are kept in
docs/benchmarks/NAME.json; the page holds a section for each one kept there. Scripts that need
several GPUs or MPI are left out where there are none. --keep takes what a script has printed on
another machine. Ends with one plain line.
"""

from __future__ import annotations

import ast
import datetime
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench` from the JSON that the scripts in `benchmarks/` print; no figure here was
typed in. Both sides run in one process, in turn, on random data; results are compared before any
time is taken; times are medians.
"""


def missing(script: pathlib.Path) -> str:
    """What this machine lacks for a script; empty if it can run."""
    text = script.read_text()
    if script.stem.startswith(("gpu_", "nccl")) and not pathlib.Path("/dev/nvidia0").exists():
        return "a GPU"
    if "import _mpi" in text and importlib.util.find_spec("mpi4py") is None:
        return "mpi4py"
    return ""


def run(script: pathlib.Path) -> bool:
    """Runs one script and keeps its report; False if it failed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT / 'compat'}"}
    environment.pop("OMP_NUM_THREADS", None)  # a script sets its own number of threads
    done = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment
    )
    print(done.stdout, end="", flush=True)
    if done.returncode or not done.stdout.strip():
        return False
    keep(script.stem, done.stdout)
    return True


def keep(name: str, printed: str) -> None:
    """Keeps what a script has printed, its last line being the JSON object."""
    if tempfile.gettempdir() in printed:
        raise SystemExit(
            f"{name} not kept: it names folders of a machine; keep standard output only"
        )
    lines = printed.strip().splitlines()
    report = json.loads(lines[-1])
    report.setdefault("date", datetime.date.today().isoformat())
    report["printed"] = [line.rstrip() for line in lines[:-1] if not line.startswith("{")]
    (OUT / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")


def cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def section(name: str, report: dict[str, Any]) -> str:
    """One benchmark's part of the page."""
    script = ROOT / "benchmarks" / f"{name.partition('@')[0]}.py"
    about = (ast.get_docstring(ast.parse(script.read_text())) or name).splitlines()[0]
    versions = report.get("versions") or {
        k: v for k, v in report.items() if k in ("torch", "cupola", "cupy")
    }
    parts = report.get("parts") or [{}]
    device = report.get("device") or parts[0].get("device")
    facts = [report.get("date"), report.get("machine"), device]
    facts += [f"{k} {v}" for k, v in versions.items()]
    lines = [f"## {name}", "", about, "", ", ".join(str(f) for f in facts if f) + ".", ""]
    table = report.get("table")
    if table:
        columns = table["columns"]
        lines += ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
        lines += ["| " + " | ".join(map(cell, row)) + " |" for row in table["rows"]]
        lines += ["", *(note + "  " for note in report.get("notes", ()))]
    else:
        lines += ["```text", *report.get("printed", ()), "```"]
    return "\n".join(lines).rstrip() + "\n"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for path in sorted(OUT.glob("*.json")):
        if (ROOT / "benchmarks" / f"{path.stem.partition('@')[0]}.py").exists():
            parts.append(section(path.stem, json.loads(path.read_text())))
    return "\n".join(parts)


def main(given: list[str]) -> int:
    if {"-h", "--help"} & set(given):
        print(__doc__)
        return 0
    if given[:1] == ["--keep"]:
        OUT.mkdir(exist_ok=True)
        keep(given[1], pathlib.Path(given[2]).read_text())
        PAGE.write_text(page())
        print(f"{given[1]} kept; docs/benchmarks.md written")
        return 0
    names = [n for n in given if n != "--docs-only"]
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    scripts = [s for s in scripts if not s.stem.startswith("_") and (not names or s.stem in names)]
    unknown = sorted(set(names) - {s.stem for s in scripts})
    if unknown:
        print(f"make bench: no script benchmarks/{unknown[0]}.py; see --help")
        return 2
    OUT.mkdir(exist_ok=True)
    failed, left, ran = [], [], 0
    for number, script in enumerate([] if "--docs-only" in given else scripts, 1):
        lacking = missing(script)
        note = f": left out, it needs {lacking}" if lacking else ""
        print(f"[{number}/{len(scripts)}] {script.stem}{note}", flush=True)
        if lacking:
            left.append(script.stem)
        elif run(script):
            ran += 1
        else:
            failed.append(script.stem)
    PAGE.write_text(page())
    if failed:
        print(f"make bench: FAILED: {', '.join(failed)}")
    else:
        rest = f", {len(left)} left out" if left else ""
        print(f"make bench: {ran} benchmarks ran{rest}; docs/benchmarks.md written")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
