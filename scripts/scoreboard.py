#!/usr/bin/env python3
"""Runs PyTorch's operator database against cupola and writes docs/operators.md.

usage: scoreboard.py [--dtypes float32,int64] [--samples N] [--only PATTERN] [--jobs N]
                     [--limit SECONDS] [--no-page]

With --only (a regular expression of entry names) the page is not written and the reasons of
failures are printed. The results of every run are kept in build/scoreboard.json.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import re
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dtypes", default="float32", help="dtypes to sample, separated by commas")
    parser.add_argument("--samples", type=int, default=0, help="at most N an entry; 0: all")
    parser.add_argument("--only", help="run the entries whose names match this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds an entry may take")
    parser.add_argument("--no-page", action="store_true", help="do not write docs/operators.md")
    return parser.parse_args(arguments)


def broken(op: Any, how: str) -> dict[str, Any]:
    """The row of an entry whose process crashed or was stopped."""
    kinds = ["gradient"] * bool(op.supports_autograd)
    kinds += ["errors"] * (op.error_inputs_func is not None)
    return {"name": "", "broken": how, "kinds": kinds}


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each entry, in the database's order."""
    from torch.testing._internal.common_methods_invocations import op_db

    from scoreboard import entry, exclusions, workers

    names = [entry.title(op) for op in op_db]
    rows: dict[int, dict[str, Any]] = {}
    for k, op in enumerate(op_db):
        if options.only and not re.fullmatch(options.only, names[k]):
            continue
        reason = exclusions.excluded(op.name)
        rows[k] = {"name": names[k], "excluded": reason} if reason else {}
    wanted = [k for k, row in rows.items() if not row]
    asked = entry.Options(tuple(options.dtypes.split(",")), options.samples)

    def work(k: int) -> dict[str, Any]:
        return entry.run(op_db[k], asked)

    for done, (k, result) in enumerate(workers.each(wanted, work, options.jobs, options.limit), 1):
        rows[k] = broken(op_db[k], result) if isinstance(result, str) else result
        rows[k]["name"] = names[k]
        if done % 50 == 0:
            print(f"[{done}/{len(wanted)}]", flush=True)
    return [rows[k] for k in sorted(rows)]


def reasons(rows: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """(samples, kind and entry, reason) of all failures."""
    found = []
    for row in rows:
        if "broken" in row:
            found.append((1, f"all {row['name']}", row["broken"]))
        tallies = [(kind, t) for kind in ("forward", "gradient") for t in row.get(kind, {}).items()]
        listed = [(f"{kind} {d}", t) for kind, (d, t) in tallies]
        listed += [("errors", row["errors"])] if "errors" in row else []
        for kind, tally in listed:
            found += [(n, f"{kind} {row['name']}", why) for why, n in tally["reasons"].items()]
    return found


def kinds(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """The most common kinds of failure, by entries."""
    seen: dict[str, set[str]] = collections.defaultdict(set)
    for _, where, why in reasons(rows):
        seen[re.sub(r"[:(\d].*", "", why).strip()].add(where)
    return sorted(((k, len(v)) for k, v in seen.items()), key=lambda x: -x[1])


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    import torch

    from scoreboard import page

    rows = measure(options)
    backend = os.environ.get("CUPOLA_BACKEND") or "cpu"
    said = {
        "dtypes": options.dtypes.split(","),
        "samples": options.samples,
        "limit": options.limit,
        "torch": torch.__version__.partition("+")[0],
        "backend": backend,
        "device": "cpu",
    }
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    result = {"options": said, "summary": page.summary(rows), "rows": rows}
    (folder / "scoreboard.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.only:
        for count, where, why in reasons(rows):
            print(f"{where}: {count} × {why}")
    elif not options.no_page:
        text = page.page(rows, said)
        (ROOT / "docs/operators.md").write_text(text, encoding="utf-8")
    for kind, count in kinds(rows)[:15]:
        print(f"{count:5}  {kind}")
    print(f"make scoreboard: {page.summary(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
