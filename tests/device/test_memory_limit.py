"""CUPOLA_MEMORY_LIMIT, and errors that name what holds the memory and where it was made."""

import os
import subprocess
import sys

import pytest

import cupola
from cupola.backends.limit import memory_limit

PROGRAM = """
import cupola

weights = cupola.nn.Linear(1000, 1000)
held = []
try:
    for k in range(100):
        held.append((cupola.ones(1000, 1000 + k) * 2.5).realize())  # the line to be named
except cupola.OutOfMemoryError as error:
    assert isinstance(error, MemoryError) and isinstance(error, RuntimeError)
    print(error)
held.clear()
print("again", float((cupola.ones(1000, 1000) * 2.5).sum()))
"""


def test_an_error_names_the_largest_tensors_and_their_lines(tmp_path):
    script = tmp_path / "hungry.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "CUPOLA_MEMORY_LIMIT": "100M"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "cannot allocate 4 MiB" in lines[0] and "CUPOLA_MEMORY_LIMIT" in lines[0]
    assert lines[1].startswith("cpu: ") and "of 100.00 MiB" in lines[1]
    named = [line for line in lines if "hungry.py:8" in line]
    assert len(named) >= 5 and all("float32 [1000, 10" in line for line in named)
    assert sum("float32" in line for line in lines) == 8
    assert "smaller batch" in lines[-2]
    assert lines[-1] == "again 2500000.0"


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("8G", 8 << 30), ("512M", 512 << 20), ("1.5 GiB", 3 << 29), ("50%", 500), ("12345", 12345)],
)
def test_amounts(text, bytes_, monkeypatch):
    monkeypatch.setenv("CUPOLA_MEMORY_LIMIT", text)
    assert memory_limit(1000) == bytes_


def test_what_is_no_amount(monkeypatch):
    monkeypatch.setenv("CUPOLA_MEMORY_LIMIT", "much")
    with pytest.raises(ValueError, match="write 8G"):
        memory_limit(1000)
    monkeypatch.delenv("CUPOLA_MEMORY_LIMIT")
    assert memory_limit(1000) is None


def test_one_class_of_errors():
    assert cupola.OutOfMemoryError is cupola.cuda.OutOfMemoryError
