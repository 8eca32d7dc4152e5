#!/usr/bin/env python3
"""Memory that training takes of a GPU: the steps of training.py, one process for each side.

usage: gpu_memory.py [--models NAME ...] [--modes MODE ...] [--batch N] [--steps N]

Each side trains in a process that has the GPU to itself, and says how much less memory is free
after its steps than before the model came there: arrays, recorded graphs and the libraries' own.
All sides begin with the same weights; their losses are compared. The last line printed is a JSON
object.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import _compare
import training

SIDES = ("cupola", "torch eager", "torch.compile")
COLUMNS = ["model", "bs", "mode", *(f"{side} MiB" for side in SIDES), "torch.compile / cupola"]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet50"], choices=list(training.MODELS))
    parser.add_argument("--modes", nargs="+", default=["tf32", "bf16"])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int, help="pixels a side, or tokens")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    found = parser.parse_args()
    found.device = "cuda"
    return found


def alone(found: argparse.Namespace) -> dict:
    """One side's steps in this process: bytes and losses."""
    import torch

    import cupola
    import harness

    (name,), (mode,) = found.models, found.modes
    with tempfile.TemporaryDirectory() as folder:
        source = training.ROOT / "fixtures/models"
        converted = harness.convert(source, pathlib.Path(folder) / "models")
        original, model, x, y = training.materials(found, name, mode, converted)
    if found.side == "cupola":
        lib, module = cupola, model
        del original
    else:
        lib, module = torch, original
        del model
    cuda = lib.cuda
    before, _ = cuda.mem_get_info()
    side = training.Side(lib, module, name, "cuda", mode == "bf16")
    given = [lib.from_numpy(a).to("cuda") for a in (x, y)]
    step = side.step
    if found.side == "cupola":
        step = cupola.compile(side.step)
    elif name not in training.WIDTH:
        given[0] = given[0].contiguous(memory_format=torch.channels_last)
    if found.side == "torch.compile":
        side.model = torch.compile(side.model, dynamic=False)
    losses = [step(*given).item() for _ in range(found.steps)]
    cuda.synchronize()
    after, _ = cuda.mem_get_info()
    return {"bytes": before - after, "losses": losses, "batch": len(x)}


def measured(found: argparse.Namespace, name: str, mode: str) -> list:
    """A row of the table."""
    results = {}
    for side in SIDES:
        command = [sys.executable, __file__, "--side", side, "--models", name, "--modes", mode]
        for option in ("batch", "size", "steps"):
            if getattr(found, option) is not None:
                command += [f"--{option}", str(getattr(found, option))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[side] = json.loads(done.stdout.splitlines()[-1])
        print(f"{name} {mode}: {side} done", file=sys.stderr, flush=True)
    first = results[SIDES[0]]
    for side in SIDES[1:]:
        # Steps amplify rounding: the first losses show that both train the same model.
        losses = [[r["losses"][:3]] for r in (first, results[side])]
        _compare.same(*losses, training.TOLERANCE[mode], f"{name} {mode}: losses of {side}")
    sizes = [results[side]["bytes"] / 2**20 for side in SIDES]
    return [name, first["batch"], mode, *sizes, sizes[2] / sizes[0]]


def main() -> None:
    found = options()
    if found.side:
        print(json.dumps(alone(found)))
        return
    rows = [measured(found, name, mode) for mode in found.modes for name in found.models]
    import torch

    _compare.report("gpu_memory", COLUMNS, rows, [], device=torch.cuda.get_device_name())


if __name__ == "__main__":
    main()
