"""Collectives over MPI beside mpi4py alone and torch gloo; what data parallelism costs and brings.

usage: distributed.py [--ranks N] [--largest BYTES] [--quick]

Latency and bus bandwidth of each collective from 1 KiB on, the same ranks and sizes in turn; the
overhead of data parallelism at one rank; the scaling efficiency of a small ResNet's training at N
ranks over one with the same samples a rank. Median of the slowest rank's times. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import _mpi
import _mpi_models

# Bytes moved a rank over bytes of the tensor, for n ranks: what bus bandwidth counts.
BUS = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "broadcast": lambda n: 1.0,
    "reduce": lambda n: 1.0,
    "all_gather": lambda n: (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--largest", type=int, default=256 << 20)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.largest = min(options.largest, 4 << 20)
    if _mpi.launched():
        measure(options)
        return
    arguments = [f"--largest={options.largest}"] + ["--quick"] * options.quick
    raise SystemExit(_mpi.start(options.ranks, __file__, *arguments, timeout=900))


def measure(options: argparse.Namespace) -> None:
    import torch

    from cupola import mpi

    torch.set_num_threads(1)
    theirs = _mpi.torch_group(mpi, "gloo")
    rank, size = mpi.rank(), mpi.size()
    rows = []
    if rank == 0:
        print(f"{size} ranks; microseconds (bus bandwidth in GB/s): cupola, mpi4py, torch gloo")
    for name in BUS:
        nbytes = 1 << 10
        while nbytes <= options.largest:
            row = compared(name, nbytes, theirs, mpi)
            if rank == 0:
                rows.append(row)
                print(line(row), flush=True)
            nbytes *= 4 if nbytes < 1 << 20 else 16
    theirs.destroy_process_group()
    result = {"benchmark": "distributed", "ranks": size, "collectives": rows}
    result["overhead_one_rank"] = overhead(options, mpi)
    result["scaling"] = scaling(options, mpi)
    if rank == 0:
        print(json.dumps(result))


def line(row: dict[str, Any]) -> str:
    cells = [f"{row['us'][k]:10.1f} ({row['GBps'][k]:6.2f})" for k in ("cupola", "mpi4py", "torch")]
    return f"  {row['name']:15} {row['bytes']:>10} B {' '.join(cells)}"


def compared(name: str, nbytes: int, theirs: Any, mpi: Any) -> dict[str, Any]:
    """One collective at one size, by all three."""
    import numpy as np
    import torch
    from mpi4py import MPI

    import cupola

    comm, size = MPI.COMM_WORLD, mpi.size()
    count = nbytes // 4
    shape = (size, count // size) if name == "reduce_scatter" else (count,)
    shape = (count // size,) if name == "all_gather" else shape
    array = np.ones(shape, np.float32)
    ours, torchs = cupola.from_numpy(array.copy()) + 0, torch.from_numpy(array.copy())
    ours.realize()
    out = np.empty((count,) if name == "all_gather" else shape[-1:], np.float32)
    torch_out = torch.empty(out.shape)
    runs = {
        "all_reduce": (
            lambda: ours.mpi_all_reduce(),
            lambda: comm.Allreduce(array, out),
            lambda: theirs.all_reduce(torchs),
        ),
        "broadcast": (
            lambda: ours.mpi_broadcast(),
            lambda: comm.Bcast(array),
            lambda: theirs.broadcast(torchs, 0),
        ),
        "reduce": (
            lambda: ours.mpi_reduce(),
            lambda: comm.Reduce(array, out),
            lambda: theirs.reduce(torchs, 0),
        ),
        "all_gather": (
            lambda: ours.all_gather(),
            lambda: comm.Allgather(array, out),
            lambda: theirs.all_gather_into_tensor(torch_out, torchs),
        ),
        "reduce_scatter": (
            lambda: ours.reduce_scatter(),
            lambda: comm.Reduce_scatter_block(array, out),
            lambda: theirs.reduce_scatter_tensor(torch_out, torchs.reshape(-1)),
        ),
    }[name]
    each = max(1, min(200, (8 << 20) // nbytes))
    seconds: dict[str, list[float]] = {k: [] for k in ("cupola", "mpi4py", "torch")}
    for turn in range(8):
        for who, run in zip(seconds, runs, strict=True):
            torchs.fill_(1.0)
            comm.Barrier()
            begun = time.perf_counter()
            for _ in range(each):
                run()
            took = comm.allreduce((time.perf_counter() - begun) / each, MPI.MAX)
            if turn:  # the first one warms up
                seconds[who].append(took)
    middle = {who: _mpi.median(times) for who, times in seconds.items()}
    factor = BUS[name](size)
    return {
        "name": name,
        "bytes": nbytes,
        "us": {who: t * 1e6 for who, t in middle.items()},
        "GBps": {who: nbytes * factor / t / 1e9 for who, t in middle.items()},
    }


def step_of(batch: int) -> Any:
    """A training step of a ResNet-18 on batches of 32 x 32 pixels, as a plain program has it."""
    import cupola as T

    T.manual_seed(0)
    net = _mpi_models.resnet18(T)
    optimizer = T.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x, y = T.randn(batch, 3, 32, 32), T.randint(0, 10, (batch,))
    loss_of = T.nn.CrossEntropyLoss()

    def step() -> None:
        loss = loss_of(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    for _ in range(3):
        step()
    return step


def overhead(options: argparse.Namespace, mpi: Any) -> float:
    """Time of a step under DistributedDataParallel with one rank over the step itself, less 1."""
    from cupola.distributed import world

    out = 0.0
    if mpi.rank() == 0:
        with mpi.single_process_scope(0):
            import cupola as T

            plain, group = step_of(8), world.current()
            wrapped = wrapped_step(T, group)
            times: dict[Any, list[float]] = {plain: [], wrapped: []}
            for _ in range(3 if options.quick else 9):
                for run, seconds in times.items():
                    seconds.append(_mpi.timed(run, lambda: None, lambda: None))
            out = _mpi.median(times[wrapped]) / _mpi.median(times[plain]) - 1
            print(f"overhead of data parallelism at one rank: {out * 100:.2f} %")
    mpi.barrier()
    return out


def wrapped_step(T: Any, group: Any) -> Any:
    T.manual_seed(0)
    net = T.nn.parallel.DistributedDataParallel(_mpi_models.resnet18(T), process_group=group)
    optimizer = T.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    x, y = T.randn(8, 3, 32, 32), T.randint(0, 10, (8,))
    loss_of = T.nn.CrossEntropyLoss()

    def step() -> None:
        loss = loss_of(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    for _ in range(3):
        step()
    return step


def scaling(options: argparse.Namespace, mpi: Any) -> dict[str, float]:
    """Samples a second of all ranks, over those of one alone times their number."""
    from cupola.distributed import world

    world.world().automatic = True  # the overhead's DistributedDataParallel had switched it off
    step, one, together = step_of(16), [], []
    for _ in range(3 if options.quick else 7):
        mpi.barrier()
        if mpi.rank() == 0:
            with mpi.single_process_scope(0):
                one.append(_mpi.timed(step, lambda: None, lambda: None))
        mpi.barrier()
        together.append(_mpi.timed(step, mpi.barrier, mpi.barrier))
    if mpi.rank():
        return {}
    a, b = _mpi.median(one), _mpi.median(together)
    print(f"scaling: one rank {a * 1e3:.1f} ms, {mpi.size()} ranks {b * 1e3:.1f} ms a step of 16 "
          f"samples each: efficiency {a / b:.3f}")  # fmt: skip
    return {"ms_one": a * 1e3, "ms_all": b * 1e3, "efficiency": a / b}


if __name__ == "__main__":
    main()
