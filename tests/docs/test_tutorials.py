"""The commands of the tutorials run, in order, as they are printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page):
    """The shell blocks of a page."""
    return BLOCK.findall((HOME / "docs" / "tutorials" / page).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_convert(tmp_path):
    pytest.importorskip("torch")
    shutil.copytree(HOME / "fixtures" / "repositories" / "digits", tmp_path / "digits")
    # The command and the interpreter that these tests run with.
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, command in {"cupola": "-m cupola_transpiler", "python": ""}.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        (tools / name).chmod(0o755)
    rooms = [str(HOME / room) for room in ("runtime", "transpiler", "compat")]
    env = dict(
        os.environ,
        PATH=f"{tools}{os.pathsep}{os.environ['PATH']}",
        PYTHONPATH=os.pathsep.join([*rooms, os.environ.get("PYTHONPATH", "")]),
    )
    printed = {}
    for block in commands("convert.md"):
        done = subprocess.run(
            ["bash", "-e", "-c", block], cwd=tmp_path, env=env, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        printed[block.split("\n")[0]] = done.stdout + done.stderr
    assert "No reference to torch remains." in printed["cupola convert digits --diff"]
    compared = next(text for line, text in printed.items() if "parity train" in line)
    assert "parity train: all 6 steps agree" in compared
    losses = [printed[c] for c in printed if c.startswith("cd digits && python train.py")]
    reference = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path / "original", capture_output=True, text=True
    )
    assert losses == [reference.stdout.replace("print('new upstream')", "")]
