#!/usr/bin/env python3
"""Forward passes of five image models, cupola and torch interleaved in one run.

usage: forward.py [--device cpu|cuda] [--models NAME ...] [--batches N ...] [--modes MODE ...]
                  [--no-compiled] [--rounds N] [--threads N]

Modes are float32 on the CPU, tf32 and bf16 on a GPU. Both sides have the same weights and inputs;
outputs are compared before anything is timed. torch runs channels-last, eagerly and under
torch.compile (on a GPU with mode="reduce-overhead", everywhere with inductor's freezing). The last
line printed is a JSON object: milliseconds a call (median), and the seconds that compiling took.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import _compare

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

MODELS = {
    "alexnet": ("alexnet", "alexnet"),
    "vgg16": ("vgg", "vgg16"),
    "resnet50": ("resnet", "resnet50"),
    "wide_resnet50_2": ("resnet", "wide_resnet50_2"),
    "squeezenet1_1": ("squeezenet", "squeezenet1_1"),
    "vit_b_16": ("vit", "vit_b_16"),
}
USUAL = [name for name in MODELS if name != "vit_b_16"]  # what means are taken over
HEAD = (
    f"{'model':16} {'bs':>3} {'mode':7}  cupola  no comp.     eager  compiled"
    "  /eager  /comp.  (ms; then seconds to compile)"
)
# Operations a second of dense products, by mode, and bytes a second: the maker's data sheets.
PEAKS = {
    "NVIDIA H100 80GB HBM3": {"tf32": 494.7e12, "bf16": 989.4e12, "bytes": 3.35e12},
    "NVIDIA H200": {"tf32": 494.7e12, "bf16": 989.4e12, "bytes": 4.8e12},
}
TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bf16": 2e-2}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--models", nargs="+", default=USUAL, choices=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int)
    parser.add_argument("--modes", nargs="+")
    parser.add_argument("--no-compiled", action="store_true", help="leave torch.compile out")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    found = parser.parse_args()
    found.batches = found.batches or ([1, 8] if found.device == "cpu" else [1, 8, 64])
    found.modes = found.modes or (["float32"] if found.device == "cpu" else ["tf32", "bf16"])
    return found


class Sides:
    """One model on both sides with equal weights."""

    def __init__(self, name: str, mode: str, device: str, converted: pathlib.Path) -> None:
        import torch

        import cupola
        import harness

        file, builder = MODELS[name]
        self.torch, self.cupola, self.device = torch, cupola, device
        torch.manual_seed(0)
        here = harness.load(ROOT / "fixtures/models", file, f"original_{file}")
        there = harness.load(converted, file, f"converted_{file}")
        original = getattr(here, builder)().eval()
        model = getattr(there, builder)().eval()
        harness.copy_weights(original, model)
        self.dtype = torch.bfloat16 if mode == "bf16" else torch.float32
        self.ours = model.to(device)
        if mode == "bf16":
            self.ours = self.ours.bfloat16()
        self.theirs = original.to(device, self.dtype, memory_format=torch.channels_last)

    def inputs(self, batch: int):
        """The same random images for both sides."""
        torch, cupola = self.torch, self.cupola
        x = torch.randn(batch, 3, 224, 224)
        mine = cupola.from_numpy(x.numpy()).to(self.device, getattr(cupola, str(self.dtype)[6:]))
        return mine, x.to(self.device, self.dtype, memory_format=torch.channels_last)


def timed(call, sync, count: int) -> float:
    sync()
    start = time.perf_counter()
    for _ in range(count):
        call()
    sync()
    return (time.perf_counter() - start) / count * 1e3


def burst(call, sync) -> int:
    """How many calls fill about 30 ms."""
    once = min(timed(call, sync, 1) for _ in range(3))
    return max(1, min(50, round(30 / once)))


def measure(found: argparse.Namespace, name: str, mode: str, converted: pathlib.Path) -> list[dict]:
    import torch

    import cupola

    cuda = found.device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
    cupola.backends.cuda.matmul.allow_tf32 = cupola.backends.cudnn.allow_tf32 = mode == "tf32"
    sides = Sides(name, mode, found.device, converted)
    rows = []
    for batch in found.batches:
        mine, theirs = sides.inputs(batch)
        sync = (
            (lambda: (torch.cuda.synchronize(), cupola.cuda.synchronize())) if cuda else (lambda: 0)
        )
        with torch.no_grad(), cupola.no_grad():
            want = sides.theirs(theirs).float().cpu().numpy()
            start = time.perf_counter()
            ours = cupola.compile(sides.ours)
            got = ours(mine).float().cpu().numpy()
            got = ours(mine).float().cpu().numpy()
            ready = time.perf_counter() - start
            error = _error(got, want)
            if not error < TOLERANCE[mode]:
                plain = sides.ours(mine).float().cpu().numpy()
                again = ours(mine).float().cpu().numpy()
                print(
                    f"{name} batch {batch} {mode}: WRONG by {error:.1e}; uncompiled by "
                    f"{_error(plain, want):.1e}, replayed again by {_error(again, want):.1e}",
                    flush=True,
                )
                rows.append({"model": name, "batch": batch, "mode": mode, "wrong": error})
                continue
            if ours._replayed.reason:
                print("not captured:", ours._replayed.reason, file=sys.stderr)
            calls = {
                "cupola": lambda ours=ours, mine=mine: cupola_run(ours(mine)),
                "uncompiled": lambda mine=mine: cupola_run(sides.ours(mine)),
                "eager": lambda theirs=theirs: sides.theirs(theirs),
            }
            compiling = None
            if not found.no_compiled:
                torch._dynamo.reset()
                start = time.perf_counter()
                kind = {"mode": "reduce-overhead"} if cuda else {}
                compiled = torch.compile(sides.theirs, dynamic=False, **kind)
                for _ in range(3):
                    compiled(theirs)
                sync()
                compiling = time.perf_counter() - start
                calls["compiled"] = lambda compiled=compiled, theirs=theirs: compiled(theirs)
            counts = {k: burst(c, sync) for k, c in calls.items()}
            times: dict[str, list[float]] = {k: [] for k in calls}
            for _ in range(found.rounds):
                for k, call in calls.items():
                    times[k].append(timed(call, sync, counts[k]))
        row = {"model": name, "batch": batch, "mode": mode, "error": error}
        row |= {k: statistics.median(v) for k, v in times.items()}
        row |= {"cupola_seconds": ready, "torch_seconds": compiling}
        least = bound(cupola.explain(sides.ours), mine, machine(torch, found.device), mode)
        if least is not None:
            row["roofline"] = least / row["cupola"]
        rows.append(row)
        show(row)
    return rows


def bound(explained, x, device: str, mode: str) -> float | None:
    """Milliseconds that the launches of a call need at least: each moves its bytes or does its
    operations at the device's peak, whichever takes longer.
    """
    import cupola

    peak = PEAKS.get(device)
    if peak is None or mode not in peak:
        return None
    with cupola.no_grad():
        steps = explained(x).steps
    moved = ((s.read + s.written) / peak["bytes"] for s in steps)
    return 1e3 * sum(max(m, s.flop / peak[mode]) for m, s in zip(moved, steps))


def _error(got, want) -> float:
    import numpy as np

    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def machine(torch, device: str) -> str:
    """The device's name."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{_compare.processor()}, {os.cpu_count()} cores"


def cupola_run(value):
    """Starts the work of a recorded result."""
    value.data_ptr()
    return value


def show(row: dict) -> None:
    cells = [f"{row['model']:16} {row['batch']:3} {row['mode']:7}"]
    for key in ("cupola", "uncompiled", "eager", "compiled"):
        cells.append(f"{row[key]:9.3f}" if key in row else " " * 9)
    for key in ("eager", "compiled"):
        cells.append(f"{row[key] / row['cupola']:6.2f}x" if key in row else "")
    seconds = row["torch_seconds"]
    cells.append(
        f"{row['cupola_seconds']:6.1f}s" + ("" if seconds is None else f" {seconds:6.1f}s")
    )
    if "roofline" in row:
        cells.append(f"{row['roofline']:.0%} of the roofline")
    print(" ".join(cells), f"err {row['error']:.0e}", flush=True)


def main() -> int:
    found = options()
    os.environ.setdefault("TORCHINDUCTOR_FREEZING", "1")
    import torch

    import cupola
    import harness

    torch.set_num_threads(found.threads)
    cupola.set_num_threads(found.threads)
    print(HEAD, flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        converted = harness.convert(ROOT / "fixtures/models", pathlib.Path(folder) / "models")
        for mode in found.modes:
            for name in found.models:
                rows += measure(found, name, mode, converted)
    timed_rows = [r for r in rows if "cupola" in r]
    ratios = {
        side: statistics.geometric_mean(r[side] / r["cupola"] for r in timed_rows)
        for side in ("eager", "compiled")
        if timed_rows and side in timed_rows[0]
    }
    for side, ratio in ratios.items():
        least = min(r[side] / r["cupola"] for r in timed_rows)
        print(
            f"against torch {side}: {ratio:.2f} times as fast (geometric mean), least {least:.2f}"
        )
    device = machine(torch, found.device)
    print(
        json.dumps({"device": device, "torch": torch.__version__, "rows": rows, "ratios": ratios})
    )
    return 1 if len(timed_rows) < len(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
