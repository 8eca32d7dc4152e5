"""NCCL with one rank, and two ranks that have to share a GPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness

KINDS = ("float32", "float64", "float16", "bfloat16", "int64", "complex64")


@pytest.fixture(scope="module")
def alone():
    from cupola.backends.cuda import nccl

    if nccl.module() is None:
        pytest.skip("NCCL is not installed")
    return nccl.Communicator(1, nccl.new_id(), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_one_rank_gets_its_own_values(alone, kind):
    import cupy
    import ml_dtypes

    dtype = ml_dtypes.bfloat16 if kind == "bfloat16" else np.dtype(kind)
    x = cupy.asarray(np.arange(7).astype(dtype))
    want = cupy.asnumpy(x)
    for got in (
        alone.all_reduce(x, "add"),
        alone.reduce(x, "add", 0),
        alone.broadcast(x, 0),
        alone.all_gather(x)[0],
        alone.reduce_scatter(x[None], "add"),
    ):
        assert np.array_equal(cupy.asnumpy(got), want)


def test_several_at_once_beside_the_current_stream(alone):
    import cupy

    arrays = [cupy.full(n, n, np.float32) for n in (1, 5, 1000)]
    outs = [cupy.zeros_like(a) for a in arrays]
    with alone.beside():
        alone.all_reduce_many(arrays, outs, "mean")
    alone.join()
    for a, o in zip(arrays, outs, strict=True):
        assert cupy.array_equal(a, o)


PROGRAM = """
import warnings
import cupola
from cupola import mpi
rank = mpi.rank()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    x = cupola.full((3,), rank + 1.0, device="cuda")
    for _ in range(3):
        y = cupola.nccl_all_reduce(x)
    said = [str(w.message) for w in caught if "host memory" in str(w.message)]
assert y.device.type == "cuda" and y.tolist() == [3.0] * 3, y
assert len(said) == (1 if rank == 0 else 0), said
"""


def test_ranks_that_share_a_gpu_go_through_host_memory(tmp_path):
    pytest.importorskip("mpi4py")
    beside = str(Path(sys.executable).parent)
    mpirun = shutil.which("mpirun", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if mpirun is None:
        pytest.skip("there is no mpirun")
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    env = dict(os.environ, CUDA_VISIBLE_DEVICES="0", PYTHONPATH=str(harness.ROOT / "runtime"))
    env["OMPI_ALLOW_RUN_AS_ROOT"] = env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    done = subprocess.run(
        [mpirun, "-np", "2", sys.executable, str(script)],
        env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
