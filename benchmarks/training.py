#!/usr/bin/env python3
"""Training steps, captured whole or (--uncompiled) as written; cupola and torch in one run.

usage: training.py [--device cpu|cuda] [--models NAME ...] [--modes MODE ...] [--batch N]
                   [--no-compiled] [--uncompiled] [--rounds N] [--threads N]

A step is zero_grad, forward, cross entropy, backward and an optimizer step (SGD with momentum for
ResNets, AdamW for the GPT). Both sides begin with the same weights; the first losses are compared
before anything is timed. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import statistics
import sys
import tempfile
import time

import forward

ROOT = pathlib.Path(__file__).resolve().parent.parent
_GPT2 = {"vocabulary": 50304, "context": 1024, "layers": 12, "heads": 12}
MODELS = {
    "resnet50": ("resnet", "resnet50", {}),
    "gpt": ("gpt", "gpt", {"vocabulary": 4096, "context": 256, "layers": 4, "heads": 4}),
    "gpt124m": ("gpt", "gpt", _GPT2),
    "gpt124m-fused": ("gpt", "gpt", {**_GPT2, "fused": True}),  # scaled_dot_product_attention
}
WIDTH = {"gpt": 256, "gpt124m": 768, "gpt124m-fused": 768}
TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "bf16": 5e-2}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--models", nargs="+", choices=list(MODELS))
    parser.add_argument("--modes", nargs="+")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int, help="pixels a side, or tokens")
    parser.add_argument("--no-compiled", action="store_true", help="leave torch.compile out")
    parser.add_argument("--uncompiled", action="store_true", help="cupola without compile, too")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    found = parser.parse_args()
    cuda = found.device == "cuda"
    found.models = found.models or (["resnet50", "gpt124m", "gpt124m-fused"] if cuda else ["gpt"])
    found.modes = found.modes or (["tf32"] if cuda else ["float32"])
    return found


class Side:
    """One framework's model, optimizer and step."""

    def __init__(self, framework, module, name: str, device: str, cast: bool) -> None:
        self.framework, self.device, self.cast = framework, device, cast
        self.model = module.to(device).train()
        parameters = self.model.parameters()
        optim = framework.optim
        if name.startswith("gpt"):
            self.optimizer = optim.AdamW(parameters, lr=3e-4, weight_decay=0.1)
        else:
            self.optimizer = optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step(self, x, y):
        """One training step; gives the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        region = (
            self.framework.autocast(self.device, dtype=self.framework.bfloat16)
            if self.cast
            else contextlib.nullcontext()
        )
        with region:
            scores = self.model(x)
            loss = self.framework.nn.functional.cross_entropy(
                scores.float().reshape(-1, scores.shape[-1]), y.reshape(-1)
            )
        loss.backward()
        self.optimizer.step()
        return loss


def materials(found: argparse.Namespace, name: str, mode: str, converted: pathlib.Path):
    """torch's model, ours with its weights, and random inputs and targets as arrays."""
    import numpy as np
    import torch

    import cupola
    import harness

    cuda = found.device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
    cupola.backends.cuda.matmul.allow_tf32 = cupola.backends.cudnn.allow_tf32 = mode == "tf32"
    file, builder, arguments = MODELS[name]
    if name in WIDTH:
        arguments = {**arguments, "width": WIDTH[name], "dropout": 0.0}
    torch.manual_seed(0)
    here = harness.load(ROOT / "fixtures/models", file, f"original_{file}")
    there = harness.load(converted, file, f"converted_{file}")
    original = getattr(here, builder)(**arguments)
    model = getattr(there, builder)(**arguments)
    harness.copy_weights(original, model)
    if name not in WIDTH:
        original = original.to(memory_format=torch.channels_last)
    rng = np.random.default_rng(0)
    if name in WIDTH:
        batch, size = found.batch or (8 if cuda else 2), found.size or arguments["context"]
        tokens = rng.integers(0, arguments["vocabulary"], (batch, size + 1))
        x, y = tokens[:, :-1].copy(), tokens[:, 1:].copy()
    else:
        batch, size = found.batch or (64 if cuda else 8), found.size or (224 if cuda else 64)
        x = rng.standard_normal((batch, 3, size, size), dtype=np.float32)
        y = rng.integers(0, 1000, batch)
    return original, model, x, y


def measure(found: argparse.Namespace, name: str, mode: str, converted: pathlib.Path) -> dict:
    import torch

    import cupola

    cuda = found.device == "cuda"
    original, model, x, y = materials(found, name, mode, converted)
    ours = Side(cupola, model, name, found.device, mode == "bf16")
    theirs = Side(torch, original, name, found.device, mode == "bf16")
    mine = [cupola.from_numpy(a).to(found.device).clone() for a in (x, y)]
    other = [torch.from_numpy(a).to(found.device) for a in (x, y)]
    if name not in WIDTH:
        other[0] = other[0].contiguous(memory_format=torch.channels_last)

    def sync():
        if cuda:
            torch.cuda.synchronize()
            cupola.cuda.synchronize()

    start = time.perf_counter()
    captured = ours.step if found.uncompiled else cupola.compile(ours.step)
    got = [captured(*mine).item() for _ in range(3)]
    ready = time.perf_counter() - start
    if not found.uncompiled and captured.reason:
        print("not captured:", captured.reason, file=sys.stderr)
    want = [theirs.step(*other).item() for _ in range(3)]
    error = max(abs(a - b) / abs(b) for a, b in zip(got, want, strict=True))
    if not error < TOLERANCE[mode]:
        raise SystemExit(f"{name} {mode}: losses {got}, torch's {want}")
    calls = {
        "cupola": lambda: captured(*mine),
        "eager": lambda: theirs.step(*other),
    }
    compiling = None
    if not found.no_compiled:
        start = time.perf_counter()
        compiled = torch.compile(theirs.model, dynamic=False)
        plain, theirs_compiled = theirs.model, Side.__new__(Side)
        theirs_compiled.__dict__ |= {**theirs.__dict__, "model": compiled}
        del plain
        for _ in range(3):
            theirs_compiled.step(*other)
        sync()
        compiling = time.perf_counter() - start
        calls["compiled"] = lambda: theirs_compiled.step(*other)
    times: dict[str, list[float]] = {k: [] for k in calls}
    counts = {k: forward.burst(c, sync) for k, c in calls.items()}
    for _ in range(found.rounds):
        for k, call in calls.items():
            times[k].append(forward.timed(call, sync, counts[k]))
    row = {"model": name, "batch": len(x), "mode": mode, "error": error}
    row |= {k: statistics.median(v) for k, v in times.items()}
    return row | {"cupola_seconds": ready, "torch_seconds": compiling}


def main() -> int:
    found = options()
    import torch

    import cupola
    import harness

    torch.set_num_threads(found.threads)
    cupola.set_num_threads(found.threads)
    rows = []
    print(forward.HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        converted = harness.convert(ROOT / "fixtures/models", pathlib.Path(folder) / "models")
        for mode in found.modes:
            for name in found.models:
                row = measure(found, name, mode, converted)
                rows.append(row)
                forward.show(row)
    device = forward.machine(torch, found.device)
    print(json.dumps({"device": device, "torch": torch.__version__, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
