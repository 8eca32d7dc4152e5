"""The loss curve of ResNet-50 at a fixed global batch: all GPUs of this host against one.

usage: gpu_curve.py [--gpus N] [--steps N] [--batch N] [--image N] [--norm sync|local] [--quick]
       [--device cpu]

First rank 0 trains alone, then all ranks together from the same weights, on parts of the same
batches; float32 without TF32. With synchronised batch normalization one process takes the whole
batch; with local statistics it takes the ranks' parts one after another. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import _mpi
import _mpi_models

NETS = ("resnet50", "resnet18", "resnet18_small")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--image", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--net", default="resnet50", choices=NETS)
    parser.add_argument("--norm", default="sync", choices=("sync", "local"))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.image = 64
    if _mpi.launched():
        measure(options)
        return
    found = options.gpus or (_mpi.gpus() if options.device == "cuda" else 2)
    if found < 1:
        _mpi.skip("no NVIDIA GPU")
    names = ("steps", "batch", "image", "lr", "net", "norm", "width", "device", "dtype")
    arguments = [f"--{name}={getattr(options, name)}" for name in names]
    raise SystemExit(
        _mpi.start(found, __file__, *arguments, timeout=150 if options.device == "cuda" else 1800)
    )


def measure(options: argparse.Namespace) -> None:
    import cupola
    from cupola import mpi

    cupola.backends.cudnn.allow_tf32 = False
    rank, size = mpi.rank(), mpi.size()
    curves, seconds = [], []
    if rank == 0:
        with mpi.single_process_scope(0):
            begun = time.perf_counter()
            curves.append(train(cupola, options, 0, 1, size))
            seconds.append(time.perf_counter() - begun)
    mpi.barrier()
    begun = time.perf_counter()
    curve = train(cupola, options, rank, size, size)
    seconds.append(time.perf_counter() - begun)
    together = cupola.tensor(curve, dtype=cupola.float64).mpi_all_reduce("mean").tolist()
    if rank:
        return
    alone = curves[0]
    far = [abs(a - b) / abs(a) for a, b in zip(alone, together, strict=True)]
    where = _mpi.device_name() if options.device == "cuda" else "CPU"
    print(
        f"{size} x {where}, {options.net}, global batch {options.batch}, {options.dtype}, "
        f"{options.norm} batch normalization"
    )
    print("  step      one       all       relative difference")
    for k in sorted({0, 1, 4, 9, 19, 29, 39, len(alone) - 1}):
        if k < len(alone):
            print(f"  {k + 1:4} {alone[k]:9.5f} {together[k]:9.5f}   {far[k]:.2e}")
    print(f"  largest of {len(far)} steps: {max(far):.2e}")
    print(
        json.dumps(
            {
                "benchmark": "gpu_curve",
                "device": where,
                "ranks": size,
                "net": options.net,
                "norm": options.norm,
                "width": options.width,
                "batch": options.batch,
                "dtype": options.dtype,
                "largest_relative_difference": max(far),
                "one": alone,
                "all": together,
                "seconds": seconds,
            }
        )
    )


def train(T, options: argparse.Namespace, rank: int, ranks: int, parts: int) -> list[float]:
    """This rank's losses; the mean over the ranks is the loss of the whole batch."""
    T.manual_seed(0)
    dtype = getattr(T, options.dtype)
    net = getattr(_mpi_models, options.net)(T, 100, options.width)
    if ranks > 1 and options.norm == "sync":
        net = T.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    net = net.to(options.device, dtype)
    optimizer = T.optim.SGD(net.parameters(), lr=options.lr, momentum=0.9)
    loss_of = T.nn.CrossEntropyLoss()
    random = T.Generator().manual_seed(1)
    share = options.batch // parts
    # Which parts of a batch this process takes, one after another.
    mine = [rank] if ranks > 1 else list(range(parts))
    ends = [(k * share, (k + 1) * share) for k in mine]
    if ranks == 1 and options.norm == "sync":
        ends = [(0, options.batch)]
    batches = []
    for _ in range(8):
        x = T.randn(options.batch, 3, options.image, options.image, generator=random)
        y = T.randint(0, 100, (options.batch,), generator=random)
        batches.append(
            [(x[a:b].to(options.device, dtype), y[a:b].to(options.device)) for a, b in ends]
        )
    losses = []
    for step in range(options.steps):
        optimizer.zero_grad()
        total = 0.0
        for x, y in batches[step % len(batches)]:
            loss = loss_of(net(x), y) / len(ends)
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        losses.append(total)
    return [float(v) for v in losses]


if __name__ == "__main__":
    main()
