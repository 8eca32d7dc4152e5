"""A narrow ResNet-18: two ranks' loss curve beside one process's."""

import json
import subprocess
import sys

import pytest

import harness
from distributed import ranks

SCRIPT = harness.ROOT / "benchmarks/gpu_curve.py"
# float64: in float32 a ReLU's kink can turn one rounding into another curve within fifty steps.
OPTIONS = "--device cpu --net resnet18 --width 4 --image 32 --batch 8 --steps 12".split()
OPTIONS += ["--dtype", "float64"]


@pytest.mark.slow
def test_curve():
    ranks.mpirun()
    command = [sys.executable, str(SCRIPT), *OPTIONS, "--gpus", "2"]
    done = subprocess.run(
        command, env=ranks.environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["one"]) == 12 and found["ranks"] == 2
    assert found["largest_relative_difference"] < 1e-5
