"""Training throughput at all GPUs of this host over one, beside torch DDP under torch.compile.

usage: gpu_scaling.py [--gpus N] [--only NET] [--side cupola|torch] [--limit SECONDS] [--quick]

ResNet-50 (batch 64 a GPU) and a GPT of 124 million parameters (8 x 1,024 tokens a GPU), both under
bfloat16 autocast. The same ranks measure, in turn: rank 0 alone, without exchange, while the others
wait; then all together. Efficiency is the throughput of N GPUs over N times that of one. A JSON
line follows each part; the last one holds all.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import _mpi
import _mpi_models


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--only", default="", choices=("", "resnet50", "gpt"))
    parser.add_argument("--side", default="", choices=("", "cupola", "torch"))
    parser.add_argument("--plain", action="store_true", help="without compile")
    parser.add_argument("--limit", type=float, default=240)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.rounds = 10, 3
    if _mpi.launched():
        measure(options)
        return
    os.environ.setdefault("CUPOLA_MPI_TIMEOUT", "120")  # torch compiles in other processes
    found = options.gpus or _mpi.gpus()
    if found < 1:
        _mpi.skip("no NVIDIA GPU")
    names = ("only", "side", "limit", "steps", "rounds")
    arguments = [f"--{name}={getattr(options, name)}" for name in names if getattr(options, name)]
    arguments += ["--plain"] * options.plain
    raise SystemExit(_mpi.start(found, __file__, *arguments, timeout=options.limit + 20))


class Cupola:
    """cupola: a plain program, made data-parallel by mpirun; the whole step is compiled."""

    def __init__(self, mpi: Any) -> None:
        import cupola

        self.T, self._mpi = cupola, mpi

    def wrap(self, net: Any) -> Any:
        return net

    def whole(self, step: Any, plain: bool) -> Any:
        return step if plain else self.T.compile(step)

    def alone(self, net: Any) -> Any:
        return self._mpi.single_process_scope(0)

    def wait(self) -> None:
        self.T.cuda.synchronize()

    def close(self) -> None:
        pass


class Torch:
    """torch: DistributedDataParallel; the network is compiled."""

    def __init__(self, mpi: Any) -> None:
        import torch

        self.T = torch
        self._group = _mpi.torch_group(mpi, "nccl")
        torch.set_float32_matmul_precision("high")

    def wrap(self, net: Any) -> Any:
        from torch.nn.parallel import DistributedDataParallel

        self._wrapped = DistributedDataParallel(net, device_ids=[0], broadcast_buffers=False)
        return self.T.compile(self._wrapped)

    def whole(self, step: Any, plain: bool) -> Any:
        return step

    def alone(self, net: Any) -> Any:
        return self._wrapped.no_sync()

    def wait(self) -> None:
        self.T.cuda.synchronize()

    def close(self) -> None:
        self._group.destroy_process_group()


def job(side: Any, name: str, rank: int, plain: bool) -> tuple[Any, Any, int]:
    """A training step, the network, and how many samples (or tokens) it takes."""
    T = side.T
    T.manual_seed(rank)
    if name == "resnet50":
        net = _mpi_models.resnet50(T).to("cuda").to(memory_format=T.channels_last)
        x = T.randn(64, 3, 224, 224).to("cuda").to(memory_format=T.channels_last)
        y, count = T.randint(0, 1000, (64,)).to("cuda"), 64
        optimizer = T.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    else:
        net = _mpi_models.gpt(T).to("cuda")
        x = T.randint(0, 50304, (8, 1024)).to("cuda")
        y, count = T.randint(0, 50304, (8 * 1024,)).to("cuda"), 8 * 1024
        optimizer = T.optim.AdamW(net.parameters(), lr=1e-4)
    net = side.wrap(net)
    loss_of = T.nn.CrossEntropyLoss()

    def step() -> None:
        with T.autocast("cuda", dtype=T.bfloat16):
            scores = net(x)
            loss = loss_of(scores.reshape(-1, scores.shape[-1]), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return side.whole(step, plain), net, count


def measure(options: argparse.Namespace) -> None:
    from cupola import mpi

    rank, size = mpi.rank(), mpi.size()
    begun = time.perf_counter()
    device = _mpi.device_name()
    sides = {"cupola": Cupola, "torch": Torch}
    if options.side:
        sides = {options.side: sides[options.side]}
    parts: list[dict[str, Any]] = []
    for label, kind in sides.items():
        side = kind(mpi)
        for name in (options.only,) if options.only else ("resnet50", "gpt"):
            if mpi.broadcast_object(time.perf_counter() - begun) > 0.75 * options.limit:
                if rank == 0:
                    print(f"{label} {name}: left out, the time limit is near", flush=True)
                continue
            started = time.perf_counter()
            step, net, count = job(side, name, rank, options.plain)
            for _ in range(4):
                step()
            side.wait()
            ready = time.perf_counter() - started
            one, together = timings(side, step, net, options, mpi)
            if rank == 0:
                why = getattr(step, "reason", "")
                if why:
                    print(f"{label} {name} is not captured: {why}", flush=True)
                parts.append(told(label, name, device, size, count, one, together, ready))
            del step, net
        side.close()
    if rank == 0:
        print(json.dumps({"benchmark": "gpu_scaling", "gpus": size, "parts": parts}), flush=True)


def timings(
    side: Any, step: Any, net: Any, options: argparse.Namespace, mpi: Any
) -> tuple[list[float], list[float]]:
    """Seconds a step of rank 0 alone, and of all ranks together, in turn."""
    one, together = [], []

    def several() -> None:
        for _ in range(options.steps):
            step()

    for _ in range(options.rounds):
        mpi.barrier()
        if mpi.rank() == 0:
            with side.alone(net):
                step()
                one.append(_mpi.timed(several, lambda: None, side.wait) / options.steps)
        mpi.barrier()
        step()
        took = _mpi.timed(several, mpi.barrier, side.wait)
        together.append(slowest(mpi, took) / options.steps)
    return one, together


def slowest(mpi: Any, seconds: float) -> float:
    """The largest of the ranks' times."""
    import cupola

    return float(mpi.mpi_all_reduce(cupola.tensor(seconds, dtype=cupola.float64), "max"))


def told(
    label: str,
    name: str,
    device: str,
    size: int,
    count: int,
    one: list[float],
    together: list[float],
    ready: float,
) -> dict[str, Any]:
    """Prints a part's result as a line and as JSON."""
    a, b = _mpi.median(one), _mpi.median(together)
    part = {
        "side": label,
        "net": name,
        "device": device,
        "gpus": size,
        "ms_one": a * 1e3,
        "ms_all": b * 1e3,
        "per_second_one": count / a,
        "per_second_all": size * count / b,
        "efficiency": a / b,
        "seconds_to_first_steps": ready,
    }
    print(
        f"{label:7} {name:9} one {a * 1e3:8.2f} ms, {size} GPUs {b * 1e3:8.2f} ms a step: "
        f"{size * count / b:10.0f} a second, efficiency {a / b:.3f} (ready in {ready:.0f} s)",
        flush=True,
    )
    print(json.dumps(part), flush=True)
    return part


if __name__ == "__main__":
    main()
