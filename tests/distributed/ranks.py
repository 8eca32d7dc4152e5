"""Running programs under mpirun."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import harness

PROGRAMS = Path(__file__).parent / "programs"


def mpirun():
    """The launcher beside this Python, or the one on the path; skips where there is none."""
    pytest.importorskip("mpi4py")
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.exists() else shutil.which("mpirun")
    if found is None:
        pytest.skip("mpirun is not installed")
    return found


def environment(**variables):
    env = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PMI", "MPI_", "OMPI_COMM", "RANK"))
    }
    env["PYTHONPATH"] = os.pathsep.join(
        [str(harness.ROOT / p) for p in ("runtime", "compat", "transpiler")]
    )
    env["OMP_NUM_THREADS"] = "1"
    env["OMPI_ALLOW_RUN_AS_ROOT"] = env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    env["OMPI_MCA_rmaps_base_oversubscribe"] = "1"
    env["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"
    return {**env, **{k: str(v) for k, v in variables.items()}}


def run(ranks, program, *arguments, timeout=180, check=True, **variables):
    """Runs a program of ``programs/`` (or a path) on so many ranks; 0: without mpirun."""
    path = program if isinstance(program, Path) else PROGRAMS / f"{program}.py"
    command = [sys.executable, str(path), *map(str, arguments)]
    if ranks:
        command = [mpirun(), "-np", str(ranks), *command]
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=timeout
    )
    if check:
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done
