#!/usr/bin/env python3
"""Compares every model of cupola.models with torchvision's and writes docs/models.md.

usage: zoo.py [--only PATTERN ...] [--device cpu|cuda] [--jobs N] [--minutes M] [--out FOLDER]
              [--again] [--page]

Each model is compared in a process of its own: initial weights from the same seed, state dicts,
outputs in evaluation mode, loss and gradients in training mode, and files that each side loads from
the other. Small models come first; one that needs more memory than there is waits for the others
to end, or is left for a larger machine. A result is kept as a line of FOLDER/DEVICE.jsonl as soon
as it is there, so that a run can be interrupted and continued. The page is written from what is
kept, once every model has a result, or when asked for with --page. Needs torch and torchvision.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import resource
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/models.md"
FORWARD, BACKWARD = 1e-4, 1e-3
ROOMS = ("tests", "runtime", "compat", "transpiler")
# What a comparison takes beside the models, and for each parameter: both sides' weights and
# gradients, their copies as arrays, a file in memory, some of it in float64.
BASE, EACH = 1.2e9, 60
sys.path[:0] = [str(ROOT / room) for room in ROOMS]


def exactly_float32() -> None:
    """Keeps both sides from rounding products on a GPU to TF32."""
    import torch

    import cupola

    for library in (torch, cupola):
        library.backends.cudnn.allow_tf32 = False
        library.backends.cuda.matmul.allow_tf32 = False


def one(name: str, device: str) -> dict:
    """Returns what the comparison of one model found."""
    import harness
    import zoo

    found: dict = {"name": name, "device": device, "input": zoo.inputs_text(name)}
    begun = time.perf_counter()
    harness.import_torchvision()
    exactly_float32()
    found["parameters"], found["gflop"] = zoo.size(name)
    zoo.compare_layout(name)
    pair = zoo.Pair.make(name, device=device)
    found["initial"] = pair.initial_error()
    pair.files()
    found["files"] = "both ways"
    pair.to("float32")
    found["forward"] = pair.forward_error()
    found["loss"], found["backward"] = pair.backward_error()
    found["precision"] = found["forward_precision"] = "float32"
    if not within(found):
        # A rounding at a kink disappears in float64, a mistake does not.
        found["float32"] = [found["forward"], found["loss"], found["backward"]]
        pair.to("float64")
        if found["forward"] > FORWARD:
            found["forward"] = pair.forward_error("float64")
            found["forward_precision"] = "float64"
        found["loss"], found["backward"] = pair.backward_error("float64")
        found["precision"] = "float64"
    found["seconds"] = round(time.perf_counter() - begun, 1)
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return found


def within(row: dict) -> bool:
    """Tells whether a model's errors are within the bounds; NaN is not."""
    errors = (row["forward"] <= FORWARD, row["loss"] <= BACKWARD, row["backward"] <= BACKWARD)
    return all(errors) and row["initial"] <= 1e-6


def passed(row: dict) -> bool:
    """Tells whether a model was compared and agrees."""
    return "error" not in row and within(row)


def work(name: str, device: str, answer) -> None:
    """Sends what the comparison found, or how it failed; runs in a process of its own."""
    import warnings

    warnings.simplefilter("ignore")
    try:
        answer.send(one(name, device))
    except BaseException as error:
        traceback.print_exc()
        said = " ".join(f"{type(error).__name__}: {error}".split())
        answer.send({"name": name, "device": device, "error": said[:300]})


def memory() -> float:
    """Returns the bytes that can be taken without swapping."""
    with contextlib.suppress(OSError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024.0
    return float("inf")


def compared(sizes: dict[str, int], device: str, jobs: int, limit: float, end: float):
    """Yields each model's result, several running at a time; those that found no time or no memory
    are left out.
    """
    # Processes start as copies of one that has imported everything and opened no device.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "zoo"])
    waiting = sorted(sizes, key=lambda name: sizes[name])
    running: dict = {}

    def fits(name: str) -> bool:
        # What has begun may not have taken its memory yet.
        taken = sum(BASE + EACH * sizes[n] for _, n, begun in running.values()
                    if time.monotonic() - begun < 20)  # fmt: skip
        return BASE + EACH * sizes[name] + taken < memory()

    while waiting or running:
        while waiting and len(running) < jobs and time.monotonic() < end and fits(waiting[0]):
            name = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(name, device, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = (process, name, time.monotonic())
        if not running:  # no time, or not enough memory although nothing runs
            return
        for answer in multiprocessing.connection.wait(list(running), timeout=1.0):
            process, name, _ = running.pop(answer)
            try:
                yield answer.recv()
            except EOFError:
                process.join()
                said = f"the process ended with {process.exitcode}"
                yield {"name": name, "device": device, "error": said}
            process.join(10)
            process.kill()
        for answer, (process, name, begun) in list(running.items()):
            if time.monotonic() > min(begun + limit, end + 30):
                process.kill()
                del running[answer]
                took = time.monotonic() - begun
                if took > limit:  # else the whole run's time is over: no fault of the model
                    yield {"name": name, "device": device, "error": f"not done after {took:.0f} s"}


def kept(folder: pathlib.Path, device: str) -> dict[str, dict]:
    """Returns the results in a folder by name; a later line stands for an earlier one."""
    found = {}
    path = folder / f"{device}.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):  # the run was interrupted there
            row = json.loads(line)
            found[row["name"]] = row
    return found


def cells(row: dict | None) -> str:
    """Returns a device's columns: errors forward and backward, and the precision of each."""
    if row is None:
        return "| | |"
    if "error" in row:
        return f"| {row['error'][:60].replace('|', '/')} | |"
    # Rows of an older run do not say: errors in float64 are far below float32's rounding.
    kind = "float64" if 0 < row["forward"] < 1e-9 else "float32"
    kinds = row.get("forward_precision", kind), row["precision"]
    forward, backward = ("" if kind == "float32" else " ᵈ" for kind in kinds)
    return f"| {row['forward']:.0e}{forward} | {row['backward']:.0e}{backward} |"


def page(names: list[str], rows: dict[str, dict[str, dict]]) -> str:
    """Returns the page docs/models.md from the results of each device."""
    both = {name: [rows[d][name] for d in rows if name in rows[d]] for name in names}
    lines = [
        "# Models",
        "",
        "Generated by `make zoo`. Each row compares a model of `cupola.models` with torchvision's",
        "(Res2Net, which it has not, with its authors' network written in PyTorch): the same seed",
        "gives the same initial weights, state dicts load strictly both ways, and the errors are",
        "the worst relative difference of outputs (evaluation mode, normalisations with the",
        "statistics of the images, detectors with heads that find something) and of gradients",
        "(training mode, after the same loss). Where a ᵈ stands, float32 results differ by",
        "rounding, mostly at a kink, and the comparison was repeated in float64; see",
        "[design.md](design.md). Boxes of the same score may come in any order. GFLOP are",
        "for one image or clip of the published size, two for a multiplication with addition;",
        "the input is what was compared. On a GPU dropout and stochastic depth are off, for torch",
        "draws there from a generator of the GPU's own.",
        "",
        "| model | parameters | GFLOP | input | files | CPU forward | backward | GPU forward | "
        "backward |",
        "|---|---:|---:|---|---|---:|---:|---:|---:|",
    ]
    for name in names:
        some = next((row for row in both[name] if "parameters" in row), {})
        gflop = "" if some.get("gflop") is None else f"{some['gflop']:.2f}"
        count = f"{some['parameters']:,}" if some else ""
        start = f"| `{name}` | {count} | {gflop} | {some.get('input', '')} | "
        ends = cells(rows["cpu"].get(name)) + cells(rows["cuda"].get(name))[1:]
        lines.append(f"{start}{some.get('files', '')} {ends}")
    lines.append("")
    for device, place in (("cpu", "CPU"), ("cuda", "GPU")):
        good = sum(map(passed, rows[device].values()))
        missing = [name for name in names if name not in rows[device]]
        text = f"{place}: {good} of {len(names)} models agree within {FORWARD:.0e} and "
        text += f"{BACKWARD:.0e}"
        if missing and len(missing) < 20:
            text += "; not compared there: " + ", ".join(f"`{m}`" for m in missing)
        lines += [text + ".", ""]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--jobs", type=int, default=1, help="models compared at a time")
    parser.add_argument("--minutes", type=float, default=600, help="start no model after these")
    parser.add_argument("--limit", type=float, default=15, help="minutes for one model")
    parser.add_argument("--largest", type=float, help="millions of parameters; larger ones wait")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "zoo-out")
    parser.add_argument("--again", action="store_true", help="also what has been compared before")
    parser.add_argument("--page", action="store_true", help="write the page whatever is missing")
    args = parser.parse_args()
    import cupola.models
    import zoo

    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, sys.path[: len(ROOMS)]))
    names = cupola.models.list_models()
    args.out.mkdir(parents=True, exist_ok=True)
    before = {} if args.again else kept(args.out, args.device)
    wanted = [n for n in names if not (n in before and passed(before[n]))]
    if args.only:
        wanted = [n for n in wanted if any(fnmatch.fnmatch(n, p) for p in args.only)]
    sizes = {n: zoo.parameters(n) for n in wanted}
    if args.largest is not None:
        sizes = {n: size for n, size in sizes.items() if size <= args.largest * 1e6}
    failed, left, begun = [], set(sizes), time.monotonic()
    results = compared(sizes, args.device, args.jobs, 60 * args.limit, begun + 60 * args.minutes)
    with open(args.out / f"{args.device}.jsonl", "a", encoding="utf-8") as file:
        for row in results:
            left.discard(row["name"])
            print(json.dumps(row), file=file, flush=True)
            if passed(row):
                verdict = (
                    f"forward {row['forward']:.1e}, backward {row['backward']:.1e} "
                    f"({row['precision']}, {row['seconds']:.0f} s, {row['memory']:,} MB)"
                )
            else:
                failed.append(row["name"])
                verdict = f"FAILED: {row.get('error') or row}"
            print(f"[{len(sizes) - len(left)}/{len(sizes)}] {row['name']}: {verdict}", flush=True)
    rows = {device: kept(args.out, device) for device in ("cpu", "cuda")}
    if args.page or all(name in rows["cpu"] or name in rows["cuda"] for name in names):
        PAGE.write_text(page(names, rows), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    if left:
        print(f"no time or memory was left for {', '.join(sorted(left))}")
    print(
        f"make zoo: {len(sizes) - len(failed) - len(left)} of {len(sizes)} models agree, "
        f"{sum(map(passed, rows[args.device].values()))} of {len(names)} in all "
        f"({time.monotonic() - begun:.0f} s)" + (f"; FAILED: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
