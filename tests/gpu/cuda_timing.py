"""Times generated kernels and library calls on a GPU and prints a table: run it by hand, it is no
test.

Every figure is the median over replays of a CUDA graph of many launches, which rotate among buffers
larger than the second-level cache. Usage: python tests/gpu/cuda_timing.py [--sweep] [--torch]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cupy
import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "runtime")]

from codegen import cuda_kernels as k  # noqa: E402
from cupola import dtypes as dt  # noqa: E402
from cupola.backends.cuda import convolution as conv  # noqa: E402
from cupola.backends.cuda.gemm import matmul  # noqa: E402
from cupola.backends.cuda.launch import KernelLaunch  # noqa: E402
from cupola.codegen.cuda import Choice  # noqa: E402

STREAM = cupy.cuda.Stream(non_blocking=True)


def time_graph(calls: list[Callable[[], object]], repeats: int = 15) -> float:
    """Seconds of one call; the calls are captured one after the other, about 30 in a graph."""
    many = calls * max(1, 30 // len(calls))
    with STREAM:
        for c in calls:
            c()
        STREAM.synchronize()
        pool = cupy.get_default_memory_pool()
        STREAM.begin_capture()
        kept = [c() for c in many]
        graph = STREAM.end_capture()
        graph.launch(STREAM)
        STREAM.synchronize()
        spans = []
        for _ in range(repeats):
            a, b = cupy.cuda.Event(), cupy.cuda.Event()
            a.record(STREAM)
            graph.launch(STREAM)
            b.record(STREAM)
            b.synchronize()
            spans.append(cupy.cuda.get_elapsed_time(a, b) / 1e3 / len(many))
        del kept, graph
        pool.free_all_blocks()
    return float(np.median(spans))


def sets_of(sample: k.Sample, total: int = 300 << 20) -> list[list[cupy.ndarray]]:
    size = sum(a.nbytes for a in sample.arrays)
    out = []
    for _ in range(max(1, min(8, -(-total // size)))):
        arrays = []
        for a in sample.arrays:
            x = cupy.random.standard_normal(a.size, dtype=cupy.float32).astype(a.dtype)
            arrays.append(x.reshape(a.shape))
        out.append(arrays)
    return out


def kernel_time(sample: k.Sample, sets, choice: Choice | None = None) -> float:
    launch = KernelLaunch(sample.kernel, choice)
    return time_graph([lambda s=s: launch(s, sample.meta, sample.scalars) for s in sets])


def kernels() -> list[tuple[str, k.Sample, float]]:
    """Name, kernel, bytes that have to move."""
    k.random = lambda shape, d=dt.float32, seed=0: np.zeros(
        shape, d.np
    )  # sizes matter here, not values
    m16, mb = 1 << 24, 1 << 20
    found = [
        ("gelu(x*a+b)+c 16M f32", k.gelu(m16), 12 * m16),
        ("gelu(x*a+b)+c 16M bf16", k.gelu(m16, dt.bfloat16), 6 * m16),
        ("gelu 16M f32, odd length", k.gelu(m16 + 1), 12 * m16),
        ("broadcast 64x512x512 f32", k.broadcast((64, 512, 512)), 8 * m16),
    ]
    for d in (dt.float32, dt.bfloat16):
        n = d.itemsize
        found += [
            (f"softmax 4096x1024 {d.name}", k.softmax(4096, 1024, d), 2 * n * 4 * mb),
            (f"softmax 256x65536 {d.name}", k.softmax(256, 65536, d), 2 * n * m16),
            (f"softmax 100000x64 {d.name}", k.softmax(100000, 64, d), 2 * n * 6400000),
            (f"layer norm 4096x1024 {d.name}", k.layer_norm(4096, 1024, d), 2 * n * 4 * mb),
            (
                f"sum axis 1 4096^2 {d.name}",
                k.reduction("sum", (4096,), (4096,), (4096, 1), d),
                n * m16,
            ),
            (
                f"sum axis 0 4096^2 {d.name}",
                k.reduction("sum", (4096,), (4096,), (1, 4096), d),
                n * m16,
            ),
            (f"sum all 64M {d.name}", k.reduction("sum", (1,), (1 << 26,), (0, 1), d), n << 26),
        ]
    found += [
        ("argmax axis 1 4096^2 f32", k.reduction("argmax", (4096,), (4096,), (4096, 1)), 4 * m16),
        ("moments nhwc 64x56x56x64", k.moments(100352, 64, True), 4 * 2 * 100352 * 64),
        ("moments nchw 2x64x100352", k.moments(100352, 64, False), 4 * 2 * 100352 * 64),
    ]
    return found


def torch_times() -> dict[str, float]:
    import torch
    import torch.nn.functional as f

    def timed(make: Callable[[], Callable[[], object]], copies: int = 5) -> float:
        calls = [make() for _ in range(copies)]
        for c in calls:
            c()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = [c() for _ in range(6) for c in calls]
        graph.replay()
        spans = []
        for _ in range(15):
            a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            a.record()
            graph.replay()
            b.record()
            b.synchronize()
            spans.append(a.elapsed_time(b) / 1e3 / len(kept))
        return float(np.median(spans))

    def on(shape, d, f):
        def make():
            x = torch.randn(shape, device="cuda").to(d)
            return lambda: f(x)

        return make

    out = {}
    for d, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        out[f"softmax 4096x1024 {name}"] = timed(on((4096, 1024), d, lambda x: x.softmax(1)))
        out[f"softmax 256x65536 {name}"] = timed(on((256, 65536), d, lambda x: x.softmax(1)))
        out[f"softmax 100000x64 {name}"] = timed(on((100000, 64), d, lambda x: x.softmax(1)))
        out[f"layer norm 4096x1024 {name}"] = timed(
            on((4096, 1024), d, lambda x: f.layer_norm(x, (1024,)))
        )
        out[f"sum axis 1 4096^2 {name}"] = timed(on((4096, 4096), d, lambda x: x.sum(1)))
        out[f"sum axis 0 4096^2 {name}"] = timed(on((4096, 4096), d, lambda x: x.sum(0)))
        out[f"sum all 64M {name}"] = timed(on(1 << 26, d, lambda x: x.sum()), 2)
    out["argmax axis 1 4096^2 f32"] = timed(on((4096, 4096), torch.float32, lambda x: x.argmax(1)))
    torch.backends.cudnn.allow_tf32 = True
    for name, d in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        for label, (xs, ws, stride, pad) in CONVS.items():
            for last in (False, True):
                layout = torch.channels_last if last else torch.contiguous_format

                def make(xs=xs, ws=ws, stride=stride, pad=pad, layout=layout, d=d):
                    x = torch.randn(xs, device="cuda").to(d).contiguous(memory_format=layout)
                    w = torch.randn(ws, device="cuda").to(d).contiguous(memory_format=layout)
                    return lambda: f.conv2d(x, w, None, stride, pad)

                out[f"conv {label} {name} {'nhwc' if last else 'nchw'}"] = timed(make, 2)
    return out


CONVS = {
    "64x64x56 3x3": ((64, 64, 56, 56), (64, 64, 3, 3), 1, 1),
    "64x256x56 1x1": ((64, 256, 56, 56), (64, 256, 1, 1), 1, 0),
    "64x3x224 7x7s2": ((64, 3, 224, 224), (64, 3, 7, 7), 2, 3),
    "1x256x14 3x3": ((1, 256, 14, 14), (256, 256, 3, 3), 1, 1),
    "64x512x7 3x3": ((64, 512, 7, 7), (512, 512, 3, 3), 1, 1),
}


def conv_times(torch: dict[str, float]) -> None:
    import ml_dtypes

    for name, d in (("float32", np.float32), ("bfloat16", ml_dtypes.bfloat16)):
        for label, (xs, ws, stride, pad) in CONVS.items():
            window = ((stride, stride), ((pad, pad), (pad, pad)), (1, 1), 1)
            for last in (False, True):
                x = cupy.random.standard_normal(xs, dtype=cupy.float32).astype(d)
                w = cupy.random.standard_normal(ws, dtype=cupy.float32).astype(d)
                if last:
                    x, w = conv.channels_last(x), conv.channels_last(w)
                began = time.perf_counter()
                y = conv.convolution(x, w, *window)
                cupy.cuda.Device().synchronize()
                built = time.perf_counter() - began
                g = y
                t = [time_graph([partial(conv.convolution, x, w, *window)])]
                t.append(time_graph([partial(conv.input_grad, g, w, xs, *window)]))
                t.append(time_graph([partial(conv.weight_grad, g, x, ws, *window)]))
                flop = 2 * y.size * ws[1] * ws[2] * ws[3]
                key = f"conv {label} {name} {'nhwc' if last else 'nchw'}"
                other = f"{torch[key] * 1e6:9.1f}" if key in torch else "        -"
                print(
                    f"{key:42} {t[0] * 1e6:9.1f} us {flop / t[0] / 1e12:7.1f} TF/s  torch {other}"
                    f"  dgrad {t[1] * 1e6:8.1f} wgrad {t[2] * 1e6:8.1f}"
                    f"  first call {built * 1e3:.0f} ms"
                )


def host_times() -> None:
    sample = k.gelu(1000)
    arrays = sets_of(sample)[0]
    launch = KernelLaunch(sample.kernel)
    a = cupy.random.standard_normal((64, 64), dtype=cupy.float32)
    x, w = cupy.zeros((1, 8, 8, 8), np.float32), cupy.zeros((8, 8, 3, 3), np.float32)
    window = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    for name, f in (
        ("kernel launch", lambda: launch(arrays, sample.meta, sample.scalars)),
        ("cupy.empty", lambda: cupy.empty((1000,), np.float32)),
        ("cupy add", lambda: cupy.add(arrays[0], arrays[1], arrays[2])),
        ("matmul", lambda: matmul(a, a)),
        ("cupy.matmul", lambda: cupy.matmul(a, a)),
        ("convolution", lambda: conv.convolution(x, w, *window)),
    ):
        for _ in range(50):
            f()
        cupy.cuda.Device().synchronize()
        began = time.perf_counter()
        for _ in range(500):
            f()
        span = time.perf_counter() - began
        cupy.cuda.Device().synchronize()
        print(f"host time of {name:20} {span / 500 * 1e6:7.2f} us")


SWEEPS = {
    "softmax 4096x1024": [Choice(team=t) for t in (32, 64, 128, 256, 512)],
    "softmax 256x65536": [Choice(team=t) for t in (256, 512, 1024)],
    "layer norm 4096": [Choice(team=t) for t in (32, 64, 128, 256)],
    "softmax 100000": [Choice(team=t) for t in (4, 8, 16, 32)],
    "sum axis 1": [Choice(team=t) for t in (64, 128, 256, 512)],
    "sum axis 0": [
        Choice(lanes=n, team=t, parts=p)
        for n in (1, 2, 4) for t in (8, 16, 32) for p in (1, 4, 8, 16)
    ],
    "sum all": [Choice(team=t, parts=p) for t in (256, 512) for p in (264, 528, 1056)],
    "moments nhwc": [
        Choice(lanes=n, team=t, parts=p) for n in (1, 4) for t in (8, 16) for p in (66, 132, 264)
    ],
    "moments nchw": [Choice(team=t, parts=p) for t in (256, 512) for p in (4, 8, 16)],
}  # fmt: skip


def main() -> None:
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    print(
        properties["name"].decode(),
        "cupy",
        cupy.__version__,
        "cuda",
        cupy.cuda.runtime.runtimeGetVersion(),
    )
    other = torch_times() if "--torch" in sys.argv else {}
    source, target = cupy.empty(1 << 28, np.uint8), cupy.empty(1 << 28, np.uint8)
    seconds = time_graph([partial(cupy.copyto, target, source)])
    print(f"copy of 256 MiB: {2 * source.nbytes / seconds / 1e9:.0f} GB/s")
    del source, target
    sweep = "--sweep" in sys.argv
    for name, sample, size in kernels():
        sets = sets_of(sample)
        t = kernel_time(sample, sets)
        beside = f"torch {other[name] * 1e6:8.1f} us" if name in other else ""
        print(f"{name:34} {t * 1e6:9.1f} us {size / t / 1e9:7.0f} GB/s  {beside}", flush=True)
        for start, choices in SWEEPS.items() if sweep else ():
            if name.startswith(start):
                spans = sorted((kernel_time(sample, sets, c), str(c)) for c in choices)
                for span, c in spans[:4]:
                    short = ", ".join(x for x in c[7:-1].split(", ") if "None" not in x)
                    print(
                        f"      {span * 1e6:9.1f} us {size / span / 1e9:7.0f} GB/s  {short}",
                        flush=True,
                    )
        del sets
        cupy.get_default_memory_pool().free_all_blocks()
    host_times()
    for n, name in ((8192, "float16"), (8192, "float32")):
        a = cupy.random.standard_normal((n, n), dtype=cupy.float32).astype(name)
        t = time_graph([partial(matmul, a, a)], 5)
        print(f"matmul {n}^3 {name}: {2 * n**3 / t / 1e12:.0f} TFLOP/s")
    conv_times(other)


if __name__ == "__main__":
    main()
