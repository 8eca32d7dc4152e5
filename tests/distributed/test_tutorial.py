"""The tutorial's programs, by the commands that it shows."""

import re
import subprocess
import sys
from pathlib import Path

import harness
from distributed import ranks

PAGE = harness.ROOT / "docs/tutorials/distributed.md"
SAID = {
    "python train.py": "of 50 right",
    "mpirun -np 2 python train.py": "of 50 right",
    "mpirun -np 2 python syncnorm.py": "the statistics of the whole batch",
    "mpirun -np 2 python ddp.py": "averaged gradient 1.0",
}


def test_commands(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / re.match(r"# (\w+\.py)", code).group(1)).write_text(code)
    commands = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in commands for line in block.splitlines()]
    assert sorted(lines) == sorted(SAID)
    where = {"mpirun": ranks.mpirun(), "python": sys.executable}
    printed = {}
    for line in lines:
        words = [where.get(word, word) for word in line.split()]
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env=ranks.environment(),
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.count(SAID[line]) == 1, f"{line}\n{done.stdout}"
        printed[line] = done.stdout
    assert printed["python train.py"] == printed["mpirun -np 2 python train.py"]


def test_the_normalization_fits_thirty_lines():
    text = PAGE.read_text(encoding="utf-8")
    body = text[text.index("class WholeBatchNorm") : text.index("cupola.manual_seed(0)\nwhole")]
    assert len(body.strip().splitlines()) < 30
    assert Path(PAGE).exists()
