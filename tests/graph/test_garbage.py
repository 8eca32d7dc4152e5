"""Python searches for cycles less often in a program that computes, unless it says otherwise."""

import os
import subprocess
import sys

import pytest

import harness

PROGRAM = """
import gc
{before}
import cupola
first = gc.get_threshold()
cupola.ones(3).add(1).tolist()
print(first[0], gc.get_threshold()[0], first[1:] == gc.get_threshold()[1:])
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "10000 True"), ("gc.set_threshold(300, 5, 5)", "300 True")],
    ids=["default", "own"],
)
def test_thresholds(before, after):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        env=dict(os.environ, PYTHONPATH=str(harness.ROOT / "runtime")),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip().endswith(after), done.stderr
