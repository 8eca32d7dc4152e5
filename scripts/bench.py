#!/usr/bin/env python3
"""Runs every script in benchmarks/; each prints a table and, as its last line, one JSON object.

usage: bench.py [NAME ...]

The JSON objects are kept in bench-out/NAME.json. Ends with one plain line.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main(names: list[str]) -> int:
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    scripts = [s for s in scripts if not s.stem.startswith("_") and (not names or s.stem in names)]
    out = ROOT / "bench-out"
    out.mkdir(exist_ok=True)
    failed = []
    for number, script in enumerate(scripts, 1):
        print(f"[{number}/{len(scripts)}] {script.stem}", flush=True)
        command = [sys.executable, str(script)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        print(done.stdout, end="", flush=True)
        if done.returncode:
            failed.append(script.stem)
            continue
        last = done.stdout.strip().splitlines()[-1]
        (out / f"{script.stem}.json").write_text(json.dumps(json.loads(last), indent=1) + "\n")
    if failed:
        print(f"make bench: FAILED: {', '.join(failed)}")
    else:
        print(f"make bench: {len(scripts)} benchmarks ran; results in bench-out/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
