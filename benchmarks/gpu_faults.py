"""How long a job on all GPUs of this host lives after one of its ranks was killed or hangs.

usage: gpu_faults.py [--gpus N] [--device cpu] [--quick]

Each case trains with mpirun; after some steps the last rank is killed, raises or sleeps. Prints the
seconds from then to the end of the job, and its exit code. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _mpi

CASES = ("killed", "raises", "hangs")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--case", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stamp", default="")
    options = parser.parse_args()
    if _mpi.launched():
        train(options)
        return
    found = options.gpus or (_mpi.gpus() if options.device == "cuda" else 2)
    if found < 1:
        _mpi.skip("no NVIDIA GPU")
    results = {}
    print(f"{found} ranks on {options.device}")
    for case in ("killed",) if options.quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            stamp = Path(folder) / "stamp"
            command = [str(_mpi.mpirun()), "-np", str(found), sys.executable, __file__]
            command += ["--case", case, "--stamp", str(stamp), "--device", options.device]
            done = subprocess.run(
                command, env=_mpi.environment(), capture_output=True, text=True, timeout=120
            )
            took = time.time() - float(stamp.read_text()) if stamp.exists() else None
        named = any(f"rank {found - 1}" in line for line in done.stderr.splitlines())
        results[case] = {"seconds": took, "exit": done.returncode, "named": named}
        text = "it never began" if took is None else f"{took:5.1f} s to the end"
        print(f"  {case:7} {text}, exit code {done.returncode}, rank named: {named}", flush=True)
        if took is None:
            print(done.stderr[-2000:])
    print(json.dumps({"benchmark": "gpu_faults", "ranks": found, "cases": results}))


def train(options: argparse.Namespace) -> None:
    import cupola
    from cupola import mpi, nn

    rank, size = mpi.rank(), mpi.size()
    net = nn.Linear(512, 512).to(options.device)
    optimizer = cupola.optim.SGD(net.parameters(), lr=0.1)
    x = cupola.randn(64, 512).to(options.device)
    for step in range(1000):
        loss = net(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        if step == 5 and rank == size - 1:
            Path(options.stamp).write_text(repr(time.time()))
            if options.case == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if options.case == "raises":
                raise RuntimeError("this rank was told to fail")
            time.sleep(1000)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
