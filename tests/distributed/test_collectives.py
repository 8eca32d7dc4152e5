"""Operators between processes: values, gradients, dtypes, errors; and doing without mpirun."""

import subprocess
import sys

import pytest

from distributed import ranks


@pytest.mark.parametrize("size", [0, 2, 3])
def test_operators(size):
    done = ranks.run(size, "collectives")
    assert done.stdout.count("read by rank") == 1


def test_nothing_is_loaded_without_mpirun():
    program = """
import sys
sys.modules["mpi4py"] = None
import cupola
loaded = {m.rpartition(".")[2] for m in sys.modules if m.startswith("cupola.distributed.")}
assert loaded <= {"launch", "operators"}, loaded
from cupola import mpi
assert (mpi.rank(), mpi.size(), mpi.local_rank()) == (0, 1, 0)
assert cupola.ones(2).mpi_all_reduce("mean").tolist() == [1.0, 1.0]
"""
    env = ranks.environment()
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_mpirun_without_mpi4py_says_what_to_install():
    program = "import sys; sys.modules['mpi4py'] = None; import cupola"
    env = ranks.environment(PMI_RANK=0, PMI_SIZE=2)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.returncode and "pip install mpi4py mpich" in done.stderr


@pytest.mark.parametrize(
    ("variables", "want"),
    [
        ({"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
         (1, 4, 1, 2)),
        ({"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4",
          "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, (3, 4, 0, 1)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_launchers_are_told_by_their_variables(monkeypatch, variables, want):
    from cupola.distributed import launch

    for name in (*ranks.environment(), "PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK"):
        if name.startswith(("PMI", "OMPI_COMM", "MPI_", "CUPOLA_MPI")):
            monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = launch.found()
    got = None if found is None else (found.rank, found.size, found.local_rank, found.local_size)
    assert got == want


@pytest.mark.parametrize(
    ("visible", "local", "want"),
    [("4,5,6", 1, "5"), ("2", 3, "2"), ("0,1", 3, "1"), ("", 0, "")],
)
def test_a_rank_takes_its_gpu_among_the_visible_ones(monkeypatch, visible, local, want):
    import os

    from cupola.distributed import launch

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR",
                 "MASTER_PORT", "CUPOLA_MPI_PROCESS", "OMP_NUM_THREADS"):  # fmt: skip
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    launch.prepare(launch.Place(local, 4, local, 4))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == want
