#!/usr/bin/env python3
"""Runs PyTorch's operator, module and optimizer databases against cupola; writes docs/operators.md.

usage: scoreboard.py [--dtypes float32,int64 | all] [--further DTYPES | all] [--samples N]
                     [--only PATTERN] [--jobs N] [--kinds forward,...] [--database NAME]
                     [--limit SECONDS] [--budget SECONDS] [--device cuda] [--output PAGE]
                     [--no-page] [--every N] [--again [failed]] [--keep FOLDER]

Each result is kept as a line of FOLDER/DEVICE.jsonl as soon as it is there, with the commit and
what was asked for: a run that is interrupted, or that its budget ends, is continued by the same
command. --again measures the chosen entries anew, --again failed those that did not pass. The page
is written from all that is kept of as many samples an entry, so that it can be completed by runs of
other columns and dtypes; the results stand beside it too, in a file that ends in `.json`.
With --only (a regular expression of entry names) no page is written unless --output names one, and
the reasons of failures are printed. torch runs on the CPU whatever the device; with --device cuda
it does not even see the GPU.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import json
import os
import pathlib
import re
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / room) for room in ("tests", "runtime", "compat", "transpiler")]
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

EVERY_DTYPE = "float32,float64,int64,bool,complex64,bfloat16,float16"


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of a run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dtypes", default="float32", help="dtypes to sample, or all")
    parser.add_argument("--further", default="", help="dtypes to sample forward only, or all")
    parser.add_argument("--samples", type=int, default=0, help="at most N of each kind; 0: all")
    parser.add_argument("--only", help="run the entries whose names match this")
    parser.add_argument("--database", help="operators, modules or optimizers; all by default")
    parser.add_argument("--kinds", help="columns to compare, separated by commas; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds an entry may take")
    parser.add_argument("--budget", type=float, default=0.0, help="seconds for everything; 0: any")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--every", type=int, default=1, help="run every N-th entry only")
    parser.add_argument(
        "--output", type=pathlib.Path, help="the page; docs/operators.md by default"
    )
    parser.add_argument("--no-page", action="store_true", help="write no page and no JSON")
    parser.add_argument(
        "--again", nargs="?", const="all", choices=("all", "failed"), help="measure anew"
    )
    parser.add_argument(
        "--keep", type=pathlib.Path, default=ROOT / "scoreboard-out", help="where results are kept"
    )
    options = parser.parse_args(arguments)
    options.dtypes = EVERY_DTYPE if options.dtypes == "all" else options.dtypes
    options.further = EVERY_DTYPE if options.further == "all" else options.further
    main_ones = options.dtypes.split(",")
    options.further = [d for d in options.further.split(",") if d and d not in main_ones]
    if options.output is None and not (
        options.only or options.no_page or options.every > 1 or options.database
    ):
        options.output = ROOT / "docs/operators.md"
    return options


def hide_gpus() -> str | None:
    """Keeps torch off the GPUs; returns the setting to restore."""
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    old = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return old


def show_gpus(visible: str | None) -> None:
    """Restores the setting that ``hide_gpus`` gave."""
    if visible is None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible


def begin(device: str, visible: str | None) -> None:
    """What a process does first: CuPy takes the GPU before torch is imported and told of none.

    So each library finds its own CUDA libraries, and neither meets a context made by the other.
    """
    if device == "cuda":
        show_gpus(visible)
        import cupy

        one = cupy.ones((2, 2), "float32")
        (one @ one).sum().item()
        hide_gpus()
    import torch

    from scoreboard.translate import set_target

    torch.set_num_threads(1)
    set_target(device)


def gpu_name(_: int) -> str | None:
    """The name of the GPU that CuPy uses."""
    import harness

    return harness.gpu()


@functools.cache
def chosen(only: str | None, every: int, database: str | None) -> list[Any]:
    """The entries of a run, in the databases' order."""
    from scoreboard import databases

    found = databases.entries(only)[::every]
    return [e for e in found if database in (None, e.database)]


def row_of(which: tuple[Any, ...], asked: Any, k: int) -> dict[str, Any]:
    """The row of one entry, with the seconds that it took."""
    started = time.monotonic()
    row = chosen(*which)[k].run(asked)
    return {**row, "seconds": round(time.monotonic() - started, 2)}


def spoiled(result: Any) -> bool:
    """Whether an error of the GPU stays with the process: every later call would report it."""
    text = str(result)
    lasting = ("ILLEGAL", "LAUNCHFAILURE", "MISALIGNED", "INVALIDPC", "HARDWARE", "ASSERT")
    codes = re.findall(r"(?:cudaError|CUDA_ERROR_|cudaErr)\w+", text)
    return any(word in code.upper().replace("_", "") for code in codes for word in lasting)


def measure(options: argparse.Namespace, first: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """(a row for each chosen entry, in the databases' order; the dtypes that were sampled)."""
    from scoreboard import page, workers
    from scoreboard.kept import Kept, commit
    from scoreboard.tally import Options

    which = (options.only, options.every, options.database)
    everything = chosen(*which)
    kinds = tuple(options.kinds.split(",")) if options.kinds else ()
    asked = Options(
        tuple(options.dtypes.split(",")), options.samples, kinds, tuple(options.further)
    )
    kept = Kept(options.keep / f"{options.device}.jsonl", dataclasses.asdict(asked))
    done = {} if options.again == "all" else kept.answers()
    if options.again == "failed":
        done = {key: row for key, row in done.items() if not page.failing(row)}
    keys = [(e.database, e.name) for e in everything]
    wanted = [k for k, e in enumerate(everything) if e.excluded is None and keys[k] not in done]
    results = workers.each(
        wanted,
        functools.partial(row_of, which, asked),
        jobs=options.jobs,
        limit=options.limit,
        budget=options.budget,
        begin=first,
        method="fork" if options.device == "cpu" else "spawn",
        spoiled=spoiled,
    )
    measured, rest = commit(ROOT), {}
    for number, (k, result) in enumerate(results, 1):
        e = everything[k]
        row = {"broken": result, "kinds": e.kinds} if isinstance(result, str) else result
        row = {**row, "database": e.database, "name": e.name}
        kept.add(row, measured)
        rest[keys[k]] = row
        if number % 50 == 0:
            print(f"[{number}/{len(wanted)}]", flush=True)
    joined = {**rest, **kept.joined()}
    for e, key in zip(everything, keys, strict=True):
        if e.excluded is not None:
            joined[key] = {"database": e.database, "name": e.name, "excluded": e.excluded}
    return [joined[key] for key in keys], kept.dtypes()


def reasons(rows: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    """(samples, kind and entry, reason) of all failures."""
    from scoreboard.page import COLUMNS

    found = []
    for row in rows:
        if "broken" in row:
            found.append((1, f"all {row['name']}", row["broken"]))
            continue
        for kind in COLUMNS[row["database"]]:
            given = row.get(kind, {})
            listed = {"": given} if "run" in given else given
            for dtype, tally in listed.items():
                where = f"{kind} {dtype} {row['name']}".replace("  ", " ")
                found += [(n, where, why) for why, n in tally["reasons"].items()]
    return found


def kinds_of(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """The most common kinds of failure, by entries."""
    seen: dict[str, set[str]] = collections.defaultdict(set)
    for _, where, why in reasons(rows):
        seen[re.sub(r"[:(\d].*", "", why).strip()].add(where)
    return sorted(((k, len(v)) for k, v in seen.items()), key=lambda x: -x[1])


def to_json(result: dict[str, Any]) -> str:
    """The results as text, one row a line."""
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in result["rows"])
    rest = {k: v for k, v in result.items() if k != "rows"}
    return json.dumps(rest, ensure_ascii=False)[:-1] + f', "rows": [\n{rows}\n]}}\n'


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    visible = hide_gpus()
    import torch

    from scoreboard import page, workers
    from scoreboard.kept import commits

    torch.set_num_threads(1)
    first = functools.partial(begin, options.device, visible)
    device = "CPU"
    if options.device == "cuda":
        (_, device), *_ = workers.each(
            [0], gpu_name, jobs=1, limit=120.0, begin=first, method="spawn"
        )
        if device is None or device.startswith(("crashed", "failed", "timed out")):
            print(f"make scoreboard: FAILED: there is no GPU that CuPy can use ({device})")
            return 1
    rows, dtypes = measure(options, first)
    main_ones = options.dtypes.split(",")
    said = {
        "dtypes": main_ones,
        "further": [dtype for dtype in dtypes if dtype not in main_ones],
        "samples": options.samples,
        "limit": options.limit,
        "seconds": sum(row.get("seconds", 0.0) for row in rows),
        "commits": commits(rows),
        "torch": torch.__version__.partition("+")[0],
        "backend": options.device
        if options.device == "cuda"
        else os.environ.get("CUPOLA_BACKEND", "cpu"),
        "device": device,
    }
    if options.output is not None and not options.no_page:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(page.page(rows, said), encoding="utf-8")
        result = {"options": said, "summary": page.summaries(rows), "rows": rows}
        options.output.with_suffix(".json").write_text(to_json(result), encoding="utf-8")
    if options.only:
        for count, where, why in reasons(rows):
            print(f"{where}: {count} × {why}")
    for kind, count in kinds_of(rows)[:15]:
        print(f"{count:5}  {kind}")
    print(f"make scoreboard: {page.summary(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
