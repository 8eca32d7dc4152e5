"""Starting a benchmark's ranks, and what several benchmarks of several processes share."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_LAUNCHED = ("PMI_RANK", "OMPI_COMM_WORLD_RANK")


def launched() -> bool:
    """Whether mpirun started this process."""
    return any(name in os.environ for name in _LAUNCHED)


def environment() -> dict[str, str]:
    """What ranks of a benchmark are started with."""
    env = dict(os.environ)
    places = [str(ROOT / p) for p in ("runtime", "compat", "transpiler")]
    env["PYTHONPATH"] = os.pathsep.join([*places, env.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    env["PYTHONUNBUFFERED"] = "1"
    # NVLink multicast can put a shared host's GPUs out of service.
    env["NCCL_NVLS_ENABLE"] = "0"
    env["TORCH_SYMM_MEM_DISABLE_MULTICAST"] = "1"
    env.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
    env.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    env.setdefault("OMPI_MCA_rmaps_base_oversubscribe", "1")
    env.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    return env


def mpirun() -> str | None:
    """The launcher beside this Python, or the one on the path."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


def start(ranks: int, script: str, *arguments: str, timeout: float = 600) -> int:
    """Runs a script under mpirun; its exit code, or 124 after ``timeout`` seconds."""
    launcher = mpirun()
    if launcher is None:
        raise SystemExit("no mpirun was found: pip install mpi4py mpich")
    command = [launcher, "-np", str(ranks), sys.executable, script, *arguments]
    process = subprocess.Popen(command, env=environment(), start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the ranks end with this process
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            time.sleep(2)
            os.killpg(process.pid, signal.SIGKILL)


def gpus() -> int:
    """GPUs that the driver lists; asked without starting CUDA in this process."""
    try:
        out = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in out.stdout.splitlines())


def skip(why: str) -> None:
    """Ends a benchmark that this machine cannot run, with the JSON line that is expected."""
    print(f"skipped: {why}")
    print(json.dumps({"skipped": why}))
    raise SystemExit(0)


def device_name() -> str:
    """The GPU's name, as the driver has it."""
    out = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True
    )
    return (out.stdout.splitlines() or ["unknown"])[0]


def median(values: list[float]) -> float:
    """The middle value; the mean of the middle two."""
    values = sorted(values)
    n = len(values)
    return (values[n // 2] + values[(n - 1) // 2]) / 2


def torch_group(mpi: Any, backend: str) -> Any:
    """torch.distributed over the same ranks; its store listens on a free port."""
    import socket

    import torch.distributed as theirs

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = mpi.broadcast_object(probe.getsockname()[1])
    theirs.init_process_group(
        backend, init_method=f"tcp://127.0.0.1:{port}", rank=mpi.rank(), world_size=mpi.size()
    )
    return theirs


def timed(run: Callable[[], Any], ready: Callable[[], Any], wait: Callable[[], Any]) -> float:
    """Seconds that ``run`` takes, from when every rank is ready until its work has ended."""
    wait()
    ready()
    begun = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - begun
