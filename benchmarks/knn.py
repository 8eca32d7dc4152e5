"""The k nearest neighbours of every point, brute force: a source in ``cupola.code`` against torch.

usage: knn.py [--device cpu|cuda] [--sizes 100 1000 10000] [--threads N] [--seconds S] [--json FILE]

k = 10, points in three dimensions. Beside it: torch by broadcasting, by ``cdist`` and by a matrix
product, each with ``topk``, and the same source in Jittor's code operator where Jittor can be
imported. Results are checked against float64 first; then all sides take turns: one call that is not
timed (the libraries' threads wake up) and some that are.
Times are of a call and its completion: on the GPU between two events (the same for all sides), on
the CPU by the clock. The limit is the time that the distances' arithmetic (8 operations a pair)
would take at the machine's measured (CPU) or nominal (GPU) rate.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runtime"))

K = 10

# W queries at a time, a lane each; each lane's list stays sorted.
CPU_HEADER = """
#include <math.h>
#define K 10
#define W 8
typedef float Floats __attribute__((vector_size(4 * W)));
typedef int Ints __attribute__((vector_size(4 * W)));
typedef long Longs __attribute__((vector_size(4 * W)));
static inline bool any(Ints m) {
    long r = 0;
    for (int l = 0; l < W / 2; l++) r |= ((Longs)m)[l];
    return r;
}
"""
CPU_SOURCE = """
    const int n = in0_shape0;
    #pragma omp parallel for schedule(static) if (n > 400)
    for (int q = 0; q < n; q += W) {
        Floats x, y, z, best[K];
        Ints index[K] = {};
        for (int t = 0; t < K; t++) best[t] = INFINITY - Floats{};
        for (int l = 0; l < W; l++) {
            const int i = q + l < n ? q + l : n - 1;
            x[l] = @in0(i, 0), y[l] = @in0(i, 1), z[l] = @in0(i, 2);
        }
        for (int j = 0; j < n; j++) {
            const Floats u = x - @in0(j, 0), v = y - @in0(j, 1), w = z - @in0(j, 2);
            const Floats d = u * u + v * v + w * w;
            if (!any(d < best[K - 1])) continue;
            for (int t = K - 1; t >= 0; t--) {  // every list: shift what is farther, insert
                const Ints here = d < best[t];
                best[t] = here ? d : best[t], index[t] = here ? j - Ints{} : index[t];
                if (t == 0) break;
                const Ints before = d < best[t - 1];
                best[t] = before ? best[t - 1] : best[t];
                index[t] = before ? index[t - 1] : index[t];
            }
        }
        for (int l = 0; l < W && q + l < n; l++)
            for (int t = 0; t < K; t++)
                @out0(q + l, t) = best[t][l], @out1(q + l, t) = index[t][l];
    }
"""

# A warp for each query; lane t holds the t-th nearest point so far. Of every 128 points, the
# nearest are inserted in order until one is too far. Distances are not negative: as integers, their
# bits are in the same order.
CUDA_SOURCE = """
    #define K 10
    #define EACH 4
    __global__ void nearest() {
        const int q = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
        if (q >= in0_shape0) return;
        const float x = @in0(q, 0), y = @in0(q, 1), z = @in0(q, 2),
            far = __int_as_float(0x7f800000);
        float best = far, worst = far;
        int index = 0;
        for (int base = 0; base < in0_shape0; base += 32 * EACH) {
            float d[EACH];
            for (int k = 0; k < EACH; k++) {
                const int j = base + 32 * k + lane, i = j < in0_shape0 ? j : 0;
                const float u = x - @in0(i, 0), v = y - @in0(i, 1), w = z - @in0(i, 2);
                d[k] = j < in0_shape0 ? u * u + v * v + w * w : far;
            }
            for (;;) {
                float own = d[0];
                int at = 0;
                for (int k = 1; k < EACH; k++)
                    if (d[k] < own) own = d[k], at = k;
                const float e =
                    __uint_as_float(__reduce_min_sync(~0u, __float_as_uint(own)));
                if (e >= worst) break;
                const int from = __ffs(__ballot_sync(~0u, own == e)) - 1;
                const int j = __shfl_sync(~0u, base + 32 * at + lane, from);
                for (int k = 0; k < EACH; k++)
                    if (lane == from && k == at) d[k] = far;
                const float before = __shfl_up_sync(~0u, best, 1);
                const int other = __shfl_up_sync(~0u, index, 1);
                const bool moves = best > e, first = moves && (lane == 0 || before <= e);
                best = first ? e : moves ? before : best;
                index = first ? j : moves ? other : index;
                worst = __shfl_sync(~0u, best, K - 1);
            }
        }
        if (lane < K) @out0(q, lane) = best, @out1(q, lane) = index;
    }
    nearest<<<(in0_shape0 + 3) / 4, 128>>>();
"""

# Independent chains of multiply-adds: what this processor computes at most.
PEAK_SOURCE = """
    typedef float V __attribute__((vector_size(32)));
    #pragma omp parallel
    {
        V a[12];
        for (int k = 0; k < 12; k++) a[k] = V{} + (float)k;
        for (long i = 0; i < data["rounds"]; i++)
            for (int k = 0; k < 12; k++) a[k] = a[k] * 0.999f + 0.001f;
        for (int k = 1; k < 12; k++) a[0] += a[k];
        #pragma omp critical
        @out(0) = a[0][0];
    }
"""


def cupola_side(points: np.ndarray, device: str) -> Callable[[], Any]:
    """``cupola.code`` on these points."""
    import cupola

    n = len(points)
    x = cupola.from_numpy(points).clone().to(device).realize()
    shapes, types = ((n, K), (n, K)), (cupola.float32, cupola.int64)

    def call() -> Any:
        return cupola.code(
            shapes,
            types,
            (x,),
            cpu_header=CPU_HEADER,
            cpu_src=CPU_SOURCE,
            cuda_src=CUDA_SOURCE,
        )

    return call


def torch_sides(points: np.ndarray, device: str) -> dict[str, Callable[[], Any]]:
    """torch's ways, as far as memory allows."""
    import torch

    x = torch.from_numpy(points.copy()).to(device)

    def broadcast() -> Any:
        return (x[:, None] - x[None]).pow(2).sum(-1).topk(K, largest=False)

    def cdist() -> Any:
        return torch.cdist(x, x).topk(K, largest=False)

    def product() -> Any:
        s = (x * x).sum(1)
        return (s[:, None] + s[None] - 2 * x @ x.T).topk(K, largest=False)

    sides = {"torch cdist": cdist, "torch matmul": product}
    if len(points) <= 2000 or device == "cuda":
        sides["torch broadcast"] = broadcast
    return sides


def jittor_side(points: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The same source in Jittor, if it is installed."""
    try:
        import jittor as jt
    except Exception as error:  # what is missing differs
        print(f"Jittor is left out: {type(error).__name__}", file=sys.stderr)
        return {}
    x, n = jt.array(points), len(points)

    def call() -> Any:
        out = jt.code(
            [(n, K), (n, K)],
            ["float32", "int64"],
            [x],
            cpu_header=CPU_HEADER,
            cpu_src=CPU_SOURCE,
        )
        jt.sync_all(True)
        return out

    return {"Jittor code": call}


def timer(device: str) -> Callable[[Callable[[], Any]], float]:
    """Milliseconds of one call and its completion."""
    if device == "cpu":

        def clock(call: Callable[[], Any]) -> float:
            start = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - start)

        return clock
    import cupy

    first, last = cupy.cuda.Event(), cupy.cuda.Event()

    def between(call: Callable[[], Any]) -> float:
        cupy.cuda.Device().synchronize()
        first.record()
        call()
        last.record()
        last.synchronize()
        return float(cupy.cuda.get_elapsed_time(first, last))

    return between


def check(points: np.ndarray, call: Callable[[], Any]) -> float:
    """The share of neighbours that agree with float64; distances have to, within rounding.

    Raises:
        SystemExit: a distance is wrong.
    """
    found, index = (r.cpu().numpy() for r in call())
    rows = np.linspace(0, len(points) - 1, min(len(points), 500)).astype(int)
    wide = points.astype(np.float64)
    exact = ((wide[rows, None] - wide[None]) ** 2).sum(-1)
    order = np.argsort(exact, 1, kind="stable")[:, :K]
    want = np.take_along_axis(exact, order, 1)
    if not np.allclose(found[rows], want, rtol=1e-4, atol=1e-7):
        raise SystemExit(f"wrong distances for {len(points)} points")
    given = ((wide[rows, None] - wide[index[rows]]) ** 2).sum(-1)
    if not np.allclose(given, want, rtol=1e-4, atol=1e-7):
        raise SystemExit(f"wrong neighbours for {len(points)} points")
    return float((index[rows] == order).mean())


def peak(device: str) -> float:
    """Operations a second, in float32."""
    if device == "cuda":
        import cupy

        facts = cupy.cuda.runtime.getDeviceProperties(0)
        return 256.0 * facts["multiProcessorCount"] * facts["clockRate"] * 1e3
    import cupola

    rounds = 2_000_000
    best = 1e9
    for _ in range(4):
        start = time.perf_counter()
        cupola.code((1,), cupola.float32, cpu_src=PEAK_SOURCE, data={"rounds": rounds})
        best = min(best, time.perf_counter() - start)
    return 2.0 * 8 * 12 * rounds * cupola.get_num_threads() / best


def measure(n: int, device: str, seconds: float, rate: float) -> dict[str, Any]:
    """All sides at one size."""
    points = np.random.default_rng(n).random((n, 3), np.float32)
    ours = cupola_side(points, device)
    start = time.perf_counter()
    ours()
    first = 1e3 * (time.perf_counter() - start)
    agreement = check(points, ours)
    sides = {"cupola.code": ours, **torch_sides(points, device)}
    if device == "cpu":
        sides.update(jittor_side(points))
    timers = {name: timer(device) for name in sides}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for name, call in sides.items():  # warm
        timers[name](call)
    turn = 1 if n > 5000 and device == "cpu" else 5
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["cupola.code"]) < 5:
        for name, call in sides.items():
            call()
            times[name] += [timers[name](call) for _ in range(turn)]
    return {
        "n": n,
        "first_call_ms": first,
        "indices_equal": agreement,
        "limit_ms": 8e3 * n * n / rate,
        "calls": len(times["cupola.code"]),
        "median_ms": {k: statistics.median(v) for k, v in times.items()},
        "best_ms": {k: min(v) for k, v in times.items()},
    }


def table(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians in milliseconds, and how many times faster than the best of torch."""
    names = list(dict.fromkeys(k for r in results for k in r["median_ms"]))
    rows = []
    for r in results:
        m = r["median_ms"]
        ratio = min(v for k, v in m.items() if k.startswith("torch")) / m["cupola.code"]
        cells = [f"{m[k]:.4f}" if k in m else None for k in names]
        rows.append([r["n"], *cells, f"{r['limit_ms']:.6f}", f"{ratio:.2f}"])
    return {"columns": ["n", *names, "limit", "best torch / ours"], "rows": rows}


def show(made: dict[str, Any]) -> str:
    """The table as lines of text."""
    widths = [max(8, len(c)) for c in made["columns"]]
    lines = [made["columns"], *made["rows"]]
    return "\n".join(
        "  ".join(f"{'-' if c is None else c:>{w}}" for c, w in zip(line, widths)) for line in lines
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", default="")
    given = parser.parse_args()
    import torch

    import cupola

    torch.set_num_threads(given.threads)
    cupola.set_num_threads(given.threads)
    rate = peak(given.device)
    results = [measure(n, given.device, given.seconds, rate) for n in given.sizes]
    report = {
        "benchmark": "knn",
        "device": given.device,
        "machine": platform.processor() or platform.machine(),
        "threads": given.threads,
        "torch": torch.__version__,
        "gflops": rate / 1e9,
        "table": table(results),
        "notes": ["milliseconds, medians"],
        "results": results,
    }
    if given.device == "cuda":
        report["machine"] = torch.cuda.get_device_name()
    print(show(report["table"]))
    if given.json:
        Path(given.json).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
