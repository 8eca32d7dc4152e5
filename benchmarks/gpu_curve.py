"""The loss curve of ResNet-50 at a fixed global batch: all GPUs of this host against one.

usage: gpu_curve.py [--gpus N] [--steps N] [--batch N] [--image N] [--quick] [--device cpu]

First rank 0 trains alone, then all ranks together from the same weights, with synchronised batch
normalization, on parts of the same batches; float32 without TF32. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import _mpi
import _mpi_models


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--image", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--net", default="resnet50", choices=("resnet50", "resnet18"))
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
    names = ("steps", "batch", "image", "lr", "net", "device", "dtype")
    arguments = [f"--{name}={getattr(options, name)}" for name in names]
    raise SystemExit(_mpi.start(found, __file__, *arguments, timeout=150))


def measure(options: argparse.Namespace) -> None:
    import cupola
    from cupola import mpi

    cupola.backends.cudnn.allow_tf32 = False
    rank, size = mpi.rank(), mpi.size()
    curves, seconds = [], []
    if rank == 0:
        with mpi.single_process_scope(0):
            begun = time.perf_counter()
            curves.append(train(cupola, options, 0, 1))
            seconds.append(time.perf_counter() - begun)
    mpi.barrier()
    begun = time.perf_counter()
    curve = train(cupola, options, rank, size)
    seconds.append(time.perf_counter() - begun)
    together = cupola.tensor(curve, dtype=cupola.float64).mpi_all_reduce("mean").tolist()
    if rank:
        return
    alone = curves[0]
    far = [abs(a - b) / abs(a) for a, b in zip(alone, together, strict=True)]
    where = _mpi.device_name() if options.device == "cuda" else "CPU"
    print(f"{size} x {where}, {options.net}, global batch {options.batch}, {options.dtype}")
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
                "batch": options.batch,
                "dtype": options.dtype,
                "largest_relative_difference": max(far),
                "one": alone,
                "all": together,
                "seconds": seconds,
            }
        )
    )


def train(T, options: argparse.Namespace, rank: int, size: int) -> list[float]:
    """This rank's losses; the mean over the ranks is the loss of the whole batch."""
    T.manual_seed(0)
    dtype = getattr(T, options.dtype)
    net = getattr(_mpi_models, options.net)(T, 100)
    if size > 1:
        net = T.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    net = net.to(options.device, dtype)
    optimizer = T.optim.SGD(net.parameters(), lr=options.lr, momentum=0.9)
    loss_of = T.nn.CrossEntropyLoss()
    random = T.Generator().manual_seed(1)
    share = options.batch // size
    batches = []
    for _ in range(8):
        x = T.randn(options.batch, 3, options.image, options.image, generator=random)
        y = T.randint(0, 100, (options.batch,), generator=random)
        part = slice(rank * share, (rank + 1) * share)
        batches.append((x[part].to(options.device, dtype), y[part].to(options.device)))
    losses = []
    for step in range(options.steps):
        x, y = batches[step % len(batches)]
        loss = loss_of(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [float(v) for v in losses]


if __name__ == "__main__":
    main()
