#!/usr/bin/env python3
"""How fast repositories are converted, beside PaConvert and LibCST's codemod runner.

usage: convert.py [--tree DIR] [--jobs N] [--repeats N]

The tree is a folder of Python sources that use torch (kornia 0.9.0 by default, downloaded into
.cache); every tool gets a fresh copy of it. The peers are measured where they are installed or can
be installed into .cache; one that cannot is left out and named. Prints a table, and one JSON object
as its last line. Lines are those of all Python files, whether they mention torch or not.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench-convert"
TARGET = 250_000  # lines a minute on two cores
PIP = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]


def default_tree() -> pathlib.Path:
    """kornia's sources, as its wheel has them."""
    folder = CACHE / "kornia"
    if not (folder / "kornia").is_dir():
        command = [*PIP, "--no-deps", "--target", str(folder), "kornia==0.9.0"]
        subprocess.run(command, check=True)
    return folder / "kornia"


def size(tree: pathlib.Path) -> tuple[int, int]:
    """Files and lines of the Python sources of a tree."""
    files = sorted(tree.rglob("*.py"))
    return len(files), sum(f.read_bytes().count(b"\n") for f in files)


def cupola(copy: pathlib.Path, jobs: int) -> list[str]:
    return [sys.executable, "-m", "cupola_transpiler", "convert", str(copy), "--force",
            "-j", str(jobs)]  # fmt: skip


def libcst(copy: pathlib.Path, jobs: int) -> list[str]:
    """LibCST's own runner with its RenameCommand, which renames a module."""
    (copy.parent / ".libcst.codemod.yaml").write_text(
        "modules: ['libcst.codemod.commands']\nrepo_root: '.'\n"
    )
    return [sys.executable, "-m", "libcst.tool", "codemod", "rename.RenameCommand",
            "--old_name=torch", "--new_name=cupola", "-j", str(jobs), "--no-format",
            str(copy)]  # fmt: skip


def paconvert(copy: pathlib.Path, jobs: int) -> list[str] | None:
    """PaConvert 3.3.1 (PyTorch to Paddle); it has one process and writes to another folder."""
    folder = CACHE / "paconvert"
    if not (folder / "paconvert").is_dir():
        if subprocess.run([*PIP, "--target", str(folder), "paconvert==3.3.1"]).returncode:
            return None
    out = copy.with_name("out")
    start = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); from paconvert.main import main; "
        f"sys.argv = ['paconvert', '--in_dir', {str(copy)!r}, '--out_dir', {str(out)!r}]; main()"
    )
    return [sys.executable, "-c", start]


def measure(tool, tree: pathlib.Path, jobs: int) -> dict[str, object] | None:
    """One run on a fresh copy: seconds, exit code, greatest memory of a process."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, tree.name)
        shutil.copytree(tree, copy)
        command = tool(copy, jobs)
        if command is None:
            return None
        started = time.perf_counter()
        with open(pathlib.Path(folder, "log.txt"), "wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            # Of this process and of those that it waited for, unlike getrusage of all children.
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        out = copy.with_name("out") if copy.with_name("out").exists() else copy
        left = sum(
            any(line.lstrip().startswith(("import torch", "from torch"))
                for line in f.read_text("utf-8", "replace").splitlines())
            for f in out.rglob("*.py")
        )  # fmt: skip
        return {
            "seconds": seconds,
            "exit": os.waitstatus_to_exitcode(status),
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mb": usage.ru_maxrss / 1024,
            "files_still_importing_torch": left,
            "files_written": sum(1 for _ in out.rglob("*.py")),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", action="append", help="measure this tool only (repeatable)")
    args = parser.parse_args()
    tree = (args.tree or default_tree()).resolve()
    files, lines = size(tree)
    tools = {"cupola": cupola, "libcst": libcst, "paconvert": paconvert}
    tools = {n: t for n, t in tools.items() if not args.only or n in args.only}
    runs: dict[str, list[dict]] = {name: [] for name in tools}
    for number in range(args.repeats):
        for name, tool in tools.items():  # interleaved: the machine's moods meet all alike
            print(f"[{number + 1}/{args.repeats}] {name}", file=sys.stderr, flush=True)
            run = measure(tool, tree, args.jobs)
            if run is None:
                print(f"{name} cannot be installed here: left out", file=sys.stderr)
                continue
            runs[name].append(run)
    print(f"{tree.name}: {files:,} files, {lines:,} lines, {args.jobs} processes")
    print(f"{'tool':<10} {'lines/min':>10} {'seconds':>8} {'CPU s':>7} {'MB':>6} {'exit':>4}"
          f" {'files with torch':>17}")  # fmt: skip
    best = {}
    for name, found in runs.items():
        if not found:
            continue
        run = min(found, key=lambda r: r["seconds"])
        best[name] = {**run, "lines_a_minute": 60 * lines / run["seconds"]}
        print(f"{name:<10} {best[name]['lines_a_minute']:>10,.0f} {run['seconds']:>8.1f}"
              f" {run['cpu_seconds']:>7.1f} {run['peak_mb']:>6.0f} {run['exit']:>4}"
              f" {run['files_still_importing_torch']:>17}")  # fmt: skip
    print(json.dumps({"benchmark": "convert", "tree": tree.name, "files": files, "lines": lines,
                      "jobs": args.jobs, "target": TARGET, "load": os.getloadavg()[0],
                      "runs": best}))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
