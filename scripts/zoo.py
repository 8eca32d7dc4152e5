#!/usr/bin/env python3
"""Compares every model of cupola.models with torchvision's and writes docs/models.md.

usage: zoo.py [--only PATTERN ...] [--device cpu|cuda|both] [--jobs N] [--minutes M]
              [--out FOLDER] [--again] [--page]

Each model is compared in a process of its own: initial weights from the same seed, state dicts,
files that each side loads from the other, outputs in evaluation mode, loss and gradients in
training mode. (On a GPU only the last two: the others are of the CPU alone.) Float64 is asked where
float32 disagrees, and once for torch's own error in float32.

Small models come first; one that needs more memory than there is waits for the others to end, or is
left for a larger machine. A result is kept as a line of FOLDER/DEVICE.jsonl as soon as it is there,
so that a run can be interrupted and continued: results of this version of the comparison are not
made again, failed ones neither; --again makes them again. With several jobs each has one thread.
The page is written from what is kept, once every model has a result, or when asked for with --page.
Needs torch and torchvision.

In slices, on a machine with 16 cores, 128 GB and a GPU of 80 GB, until "left: 0" is printed:
    zoo.py --device both --jobs 15 --minutes 8 --out OUT
then OUT/cpu.jsonl and OUT/cuda.jsonl into zoo-out/, and: zoo.py --only '' --page
A model that was cut off by the end of a slice comes first in the next one; the second time, or
after --limit minutes, it counts as failed.
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
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/models.md"
DEVICES = ("cpu", "cuda")
FORWARD, BACKWARD, DEPENDS = 1e-4, 1e-3, 1e-2
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

    found: dict = {"name": name, "device": device, "version": zoo.VERSION, "commit": commit()}
    found["input"] = zoo.inputs_text(name)
    begun = time.perf_counter()
    harness.import_torchvision()
    exactly_float32()
    pair = zoo.Pair.make(name, device=device)
    if device == "cpu":
        found["parameters"], found["gflop"] = zoo.size(name)
        zoo.compare_layout(name)
        found["initial"] = pair.initial_error()
        pair.files()
        found["files"] = "both ways"
    pair.to("float32")
    found.update(pair.forward_errors())
    found["loss"], found["backward"] = pair.backward_error()
    found["precision"] = found["forward_precision"] = "float32"
    if not within(found):
        # A rounding at a kink disappears in float64, a mistake does not.
        found["float32"] = [found["forward"], found["loss"], found["backward"]]
        pair.to("float64")
        if not found["forward"] <= FORWARD:
            found["forward"] = pair.forward_error("float64")
            found["forward_precision"] = "float64"
        found["loss"], found["backward"] = pair.backward_error("float64")
        found["precision"] = "float64"
    found["seconds"] = round(time.perf_counter() - begun, 1)
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return found


def commit() -> str:
    """Returns the commit that runs, with a + where files differ from it; empty outside of git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return ""


def within(row: dict) -> bool:
    """Tells whether a model's errors are within the bounds; NaN is not. What it gives must depend
    on the picture.
    """
    errors = (row["forward"] <= FORWARD, row["loss"] <= BACKWARD, row["backward"] <= BACKWARD)
    return all(errors) and row.get("initial", 0) <= 1e-6 and row.get("depends", 1) > DEPENDS


def passed(row: dict) -> bool:
    """Tells whether a model was compared and agrees."""
    return "error" not in row and within(row)


def narrow(row: dict) -> bool:
    """Tells whether it agrees with its outputs in float32."""
    return passed(row) and precision(row) == "float32"


def precision(row: dict) -> str:
    """Returns that of the outputs; older rows do not say: float64's errors are far smaller."""
    return row.get("forward_precision", "float64" if 0 < row["forward"] < 1e-9 else "float32")


def work(name: str, device: str, answer) -> None:
    """Sends what the comparison found, or how it failed; runs in a process of its own."""
    import warnings

    warnings.simplefilter("ignore")
    try:
        answer.send(one(name, device))
    except BaseException as error:
        traceback.print_exc()
        said = " ".join(f"{type(error).__name__}: {error}".split())
        answer.send({**failure(name, device), "error": said[:300]})


def failure(name: str, device: str) -> dict:
    """Returns what the row of a failed comparison begins with."""
    import zoo

    return {"name": name, "device": device, "version": zoo.VERSION, "commit": commit()}


def memory() -> float:
    """Returns the bytes that can be taken without swapping."""
    with contextlib.suppress(OSError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024.0
    return float("inf")


def gpu_memory() -> float:
    """Returns the free bytes of the first GPU."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", "0"]
    with contextlib.suppress(OSError, ValueError, IndexError):
        said = subprocess.run(command, capture_output=True, text=True).stdout
        return int(said.split()[0]) * 2.0**20
    return float("inf")


Task = tuple[str, str]  # a model's name, a device


def compared(sizes: dict[Task, int], waiting: list[Task], jobs: int, limit: float, end: float):
    """Yields each result, several running at a time; what found no time or no memory is left out.

    Tasks begin in the order of `waiting`; what does not fit waits without holding up what does.
    """
    # Processes start as copies of one that has imported everything and opened no device.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "zoo"])
    waiting, running = list(waiting), {}

    def fits(task: Task) -> bool:
        # What has begun may not have taken its memory yet.
        new = [t for _, t, begun in running.values() if time.monotonic() - begun < 30] + [task]
        need = sum(BASE + EACH * sizes[t] for t in new)
        on_gpu = sum(BASE + EACH * sizes[t] for t in new if t[1] == "cuda")
        return need < memory() and (task[1] != "cuda" or on_gpu < gpu_memory())

    while waiting or running:
        while waiting and len(running) < jobs and time.monotonic() < end:
            task = next((t for t in waiting if fits(t)), None)
            if task is None:
                break
            waiting.remove(task)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(*task, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = (process, task, time.monotonic())
        if not running:  # no time, or not enough memory although nothing runs
            return
        for answer in multiprocessing.connection.wait(list(running), timeout=1.0):
            process, task, _ = running.pop(answer)
            try:
                yield answer.recv()
            except EOFError:
                process.join()
                yield {**failure(*task), "error": f"the process ended with {process.exitcode}"}
            process.join(10)
            process.kill()
        for answer, (process, task, begun) in list(running.items()):
            now = time.monotonic()
            if now > min(begun + limit, end + 30):
                process.kill()
                del running[answer]
                row = {**failure(*task), "error": f"not done after {now - begun:.0f} s"}
                # At the end of the run it is no fault of the model: it is tried once more.
                yield {**row, **({"cut_off": 1} if now - begun <= limit else {})}


def kept(folder: pathlib.Path, device: str) -> dict[str, dict]:
    """Returns the results in a folder by name; a later line stands for an earlier one."""
    found = {}
    path = folder / f"{device}.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):  # the run was interrupted there
            row = json.loads(line)
            if row.get("cut_off"):
                row["cut_off"] += found.get(row["name"], {}).get("cut_off", 0)
            found[row["name"]] = row
    return found


def settled(row: dict | None) -> bool:
    """Tells whether a result stands: of this version of the comparison, and not merely cut off."""
    import zoo

    return row is not None and row.get("version") == zoo.VERSION and row.get("cut_off", 2) >= 2


def cells(row: dict | None) -> str:
    """Returns a device's columns: error forward, torch's own, error backward."""
    if row is None:
        return "| | | |"
    if "error" in row:
        return f"| {row['error'][:60].replace('|', '/')} | | |"
    kinds = precision(row), row["precision"]
    forward, backward = ("" if kind == "float32" else " ᵈ" for kind in kinds)
    own = f"{row['forward_torch']:.0e}" if "forward_torch" in row else ""
    return f"| {row['forward']:.0e}{forward} | {own} | {row['backward']:.0e}{backward} |"


def page(names: list[str], rows: dict[str, dict[str, dict]]) -> str:
    """Returns the page docs/models.md from the results of each device."""
    both = {name: [rows[d][name] for d in rows if name in rows[d]] for name in names}
    lines = [
        "# Models",
        "",
        "Generated by `make zoo`. Each row compares a model of `cupola.models` with torchvision's",
        "(Res2Net, which it has not, with its authors' network written in PyTorch): the same seed",
        "gives the same initial weights, state dicts load strictly both ways, and the errors are",
        "the worst relative difference of outputs (evaluation mode) and of gradients (training",
        "mode, after the same loss). Beside the outputs' error stands *torch's own*: how far its",
        "float32 outputs are from its float64 outputs on the same network.",
        "",
        "Both sides compute with the same network, made over so that rounding stays rounding:",
        "normalisations have the statistics of other pictures and small weights at the ends of",
        "residual branches, as in trained networks, heads of zeros are drawn at random, detectors",
        "have heads that find something and keep the 20 best boxes. Outputs must depend on the",
        "picture. Where a ᵈ stands, float32 results differ by rounding, mostly gradients at a",
        "kink, and the comparison was repeated in float64; see [design.md](design.md). Boxes of",
        "the same score may come in any order. GFLOP are for one image or clip of the published",
        "size, two for a multiplication with addition; the input is what was compared. On a GPU",
        "dropout and stochastic depth are off, for torch draws there from a generator of its own.",
        "",
        "| model | parameters | GFLOP | input | files | CPU forward | torch's own | backward "
        "| GPU forward | torch's own | backward |",
        "|---|---:|---:|---|---|---:|---:|---:|---:|---:|---:|",
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
        text += f"{BACKWARD:.0e}, {sum(map(narrow, rows[device].values()))} of them with outputs "
        text += "in float32"
        older = sum(not settled(row) for row in rows[device].values())
        text += f"; {older} rows are of an earlier comparison" if older else ""
        if missing and len(missing) < 20:
            text += "; not compared there: " + ", ".join(f"`{m}`" for m in missing)
        lines += [text + ".", ""]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--device", default="cpu", choices=(*DEVICES, "both"))
    parser.add_argument("--jobs", type=int, default=1, help="models compared at a time")
    parser.add_argument("--minutes", type=float, default=600, help="start no model after these")
    parser.add_argument("--limit", type=float, default=15, help="minutes for one model")
    parser.add_argument("--largest", type=float, help="millions of parameters; larger ones wait")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "zoo-out")
    parser.add_argument("--again", action="store_true", help="also what has been compared before")
    parser.add_argument("--page", action="store_true", help="write the page whatever is missing")
    args = parser.parse_args()
    if args.jobs > 1:
        for kind in ("OMP", "MKL", "OPENBLAS"):
            os.environ.setdefault(f"{kind}_NUM_THREADS", "1")
    import cupola.models
    import zoo

    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, sys.path[: len(ROOMS)]))
    names = cupola.models.list_models()
    chosen = [n for n in names if not args.only or any(fnmatch.fnmatch(n, p) for p in args.only)]
    devices = DEVICES if args.device == "both" else (args.device,)
    args.out.mkdir(parents=True, exist_ok=True)
    before = {device: kept(args.out, device) for device in devices}
    known = {n: zoo.parameters(n) for n in chosen}
    sizes = {
        (n, device): known[n]
        for n in chosen
        for device in devices
        if (args.again or not settled(before[device].get(n)))
        and (args.largest is None or known[n] <= args.largest * 1e6)
    }
    # What an earlier run cut off has all the time of this one.
    cut = {task for task in sizes if before[task[1]].get(task[0], {}).get("cut_off")}
    waiting = sorted(sizes, key=lambda task: (task not in cut, sizes[task], task))
    failed, left, begun = [], set(sizes), time.monotonic()
    results = compared(sizes, waiting, args.jobs, 60 * args.limit, begun + 60 * args.minutes)
    for row in results:
        task = row["name"], row["device"]
        with open(args.out / f"{row['device']}.jsonl", "a", encoding="utf-8") as file:
            print(json.dumps(row), file=file, flush=True)
        if not row.get("cut_off") or task in cut:
            left.discard(task)
            if not passed(row):
                failed.append(" ".join(task))
        if passed(row):
            verdict = (
                f"forward {row['forward']:.1e} (torch {row['forward_torch']:.1e}; "
                f"{row['forward_precision']}), backward {row['backward']:.1e} "
                f"({row['precision']}, {row['seconds']:.0f} s, {row['memory']:,} MB)"
            )
        else:
            said = "CUT OFF" if row.get("cut_off") and task not in cut else "FAILED"
            verdict = f"{said}: {row.get('error') or row}"
        count = f"[{len(sizes) - len(left)}/{len(sizes)}]"
        print(f"{count} {' '.join(task)}: {verdict}", flush=True)
    rows = {device: kept(args.out, device) for device in DEVICES}
    if args.page or all(name in rows["cpu"] or name in rows["cuda"] for name in names):
        PAGE.write_text(page(names, rows), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}")
    if left:
        print(f"no time or memory was left for {', '.join(map(' '.join, sorted(left)))}")
    for device in devices:
        good = [row for row in rows[device].values() if passed(row) and settled(row)]
        narrowly = sum(map(narrow, good))
        print(f"{device}: {len(good)} of {len(names)} models agree, {narrowly} of them in float32")
    print(
        f"make zoo: {len(sizes) - len(failed) - len(left)} of {len(sizes)} comparisons agree; "
        f"left: {len(left)} ({time.monotonic() - begun:.0f} s)"
        + (f"; FAILED: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
