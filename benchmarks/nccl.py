"""Bus bandwidth of ``cupola.nccl_all_reduce`` beside torch's NCCL, on all GPUs of this host.

usage: nccl.py [--gpus N] [--bytes N] [--rounds N] [--quick]

The same ranks, the same sizes, in turn; the median over the rounds of the slowest rank. Bus
bandwidth is 2 (N - 1) / N times bytes over time. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json

import _mpi


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--bytes", type=int, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 5
    if _mpi.launched():
        measure(options)
        return
    found = options.gpus or _mpi.gpus()
    if found < 1:
        _mpi.skip("no NVIDIA GPU")
    arguments = [f"--{name}={getattr(options, name)}" for name in ("bytes", "rounds", "each")]
    raise SystemExit(_mpi.start(found, __file__, *arguments, timeout=120))


def measure(options: argparse.Namespace) -> None:
    import cupola
    from cupola import engine, mpi

    rank, size = mpi.rank(), mpi.size()
    ours = cupola.ones(options.bytes // 4, device="cuda") * (rank + 1)
    ours.realize()
    import torch

    theirs_group = _mpi.torch_group(mpi, "nccl")
    theirs = torch.full((options.bytes // 4,), float(rank + 1), device="cuda")
    stream = engine.backend("cuda")

    def our_run(each: int = options.each) -> None:
        for _ in range(each):
            cupola.nccl_all_reduce(ours)

    def their_run(each: int = options.each) -> None:
        for _ in range(each):
            theirs_group.all_reduce(theirs)

    ends = {"cupola": stream.synchronize, "torch": torch.cuda.synchronize}
    runs = {"cupola": our_run, "torch": their_run}
    expected = size * (size + 1) / 2
    result = float(cupola.nccl_all_reduce(ours)[-1])
    assert result == expected, f"all_reduce gave {result}, expected {expected}"
    for name, run in runs.items():
        run(2)
        ends[name]()
    theirs.fill_(0.0)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(options.rounds):
        names = list(runs) if turn % 2 == 0 else list(runs)[::-1]
        for name in names:
            took = _mpi.timed(runs[name], mpi.barrier, ends[name]) / options.each
            slowest = cupola.tensor(took, dtype=cupola.float64).mpi_all_reduce("max").item()
            seconds[name].append(slowest)
    theirs_group.destroy_process_group()
    if rank:
        return
    moved = options.bytes * (2 * (size - 1) / size if size > 1 else 1)
    speed = {name: moved / _mpi.median(times) / 1e9 for name, times in seconds.items()}
    spread = {
        name: [moved / max(times) / 1e9, moved / min(times) / 1e9]
        for name, times in seconds.items()
    }
    print(f"{size} x {_mpi.device_name()}, all_reduce of {options.bytes / 2**30:g} GiB float32")
    for name in runs:
        low, high = spread[name]
        print(f"  {name:7} {speed[name]:7.1f} GB/s of bus bandwidth ({low:.1f} to {high:.1f})")
    print(f"  cupola / torch {speed['cupola'] / speed['torch']:.4f}")
    print(
        json.dumps(
            {
                "benchmark": "nccl_all_reduce",
                "device": _mpi.device_name(),
                "gpus": size,
                "bytes": options.bytes,
                "bus_GBps": speed,
                "range_GBps": spread,
                "ratio": speed["cupola"] / speed["torch"],
            }
        )
    )


if __name__ == "__main__":
    main()
