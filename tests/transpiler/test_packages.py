"""fixtures/repositories/circular: a package whose modules import each other, on both sides."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transpiler.trees import cupola, environment, read_tree

HOME = Path(__file__).parents[2] / "fixtures" / "repositories" / "circular"
RUN = "import json, main; print(json.dumps(main.RESULT))"


def test_becomes(tmp_path):
    tree = tmp_path / "t"
    shutil.copytree(HOME / "before", tree)
    cupola("convert", tree, check=0)
    after = {n: b for n, (b, _) in read_tree(tree).items() if not n.startswith(".cupola")}
    assert after == {n: b for n, (b, _) in read_tree(HOME / "after").items()}


def test_computes_the_same(tmp_path):
    pytest.importorskip("torch")
    results = []
    for side in ("before", "after"):
        tree = tmp_path / side
        shutil.copytree(HOME / side, tree)
        done = subprocess.run(
            [sys.executable, "-c", RUN], cwd=tree, capture_output=True, text=True, timeout=120,
            env=environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
