#!/usr/bin/env python3
"""What a call of ``cupola.code`` costs: one seen before, and the first of a second process.

usage: code_calls.py [--device cpu|cuda]

Prints the Python time of a call whose source, shapes and types were seen before (with ``data``, and
with a gradient recorded), and the time of the first call in a process that finds the compiled code
on disk. The last line is a JSON object; microseconds, the least of many rounds.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import time

import _compare

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPU = "for (int i = 0; i < in0_shape0; i++) @out(i) = @in0(i) * 2;"
CUDA = """
__global__ void k(@ARGS_DEF) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < in0_shape0) @out(i) = @in0(i) * 2;
}
k<<<(in0_shape0 + 255) / 256, 256>>>(@ARGS);
"""


def first(device: str) -> float:
    """Microseconds of a process's first call; import and memory are not counted."""
    import cupola

    x = cupola.ones(16, device=device).realize()
    start = time.perf_counter()
    result = cupola.code((16,), x.dtype, [x], cpu_src=CPU, cuda_src=CUDA)
    spent = time.perf_counter() - start
    assert result.tolist() == [2.0] * 16
    return spent * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--first", action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.first:
        print(first(found.device))
        return 0
    import cupola

    command = [sys.executable, __file__, "--first", "--device", found.device]
    starts = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(4)
    ]
    x = cupola.ones(16, device=found.device).realize()
    g = x.clone().requires_grad_()

    def call(x, **more):
        return cupola.code((16,), x.dtype, [x], cpu_src=CPU, cuda_src=CUDA, **more)

    plain = _compare.least(lambda: call(x), 40, 200)
    numbered = _compare.least(lambda: call(x, data={"n": 3}), 40, 200)
    recorded = _compare.least(lambda: call(g), 40, 200)
    row = {"seen": plain, "with data": numbered, "with gradient": recorded}
    row["first in a second process"] = min(starts[1:])
    for name, value in row.items():
        print(f"{name:28} {value:9.1f} us")
    print(json.dumps({"benchmark": "code_calls", "device": found.device, "us": row}))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "runtime"))
    sys.exit(main())
