"""The corpus script's bookkeeping: entry points that end their process, rows of earlier runs."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "corpus.py"
ENTRIES = """
import os
import torch
from _entries import randn, run

class Ends(torch.nn.Linear):
    def forward(self, x):
        if x.dtype == torch.float64 or WHEN == "always":
            os._exit(7)
        return super().forward(x)

WHEN = "{when}"
ENTRIES = {{
    "before": lambda: (torch.nn.Linear(3, 2), randn(2, 3)),
    "ends": lambda: (Ends(3, 2), randn(2, 3)),
    "after": lambda: (torch.nn.Linear(3, 2), randn(2, 3)),
}}
run(ENTRIES)
"""


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("corpus", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(module.HOME / "_entries.py", home)
    monkeypatch.setattr(module, "HOME", home)
    monkeypatch.setattr(module, "KEPT", tmp_path / "corpus.json")
    (tmp_path / "x" / "original").mkdir(parents=True)
    (tmp_path / "x" / "plain").mkdir()
    (tmp_path / "x" / "installed").touch()
    (tmp_path / "results").mkdir()
    return module


def _result(**entries):
    return {"packages": ["x==1"], "files": 1, "lines": 2, "seconds": 0.5, "edits": 3,
            "unsupported": 0, "entries": entries, "float64": [], "commits": {}}  # fmt: skip


def test_an_entry_that_ends_its_process_fails_alone(corpus, tmp_path):
    (corpus.HOME / "try_x.py").write_text(ENTRIES.format(when="always"))
    found = corpus.check_package("x", {"convert": []}, tmp_path)
    assert found["entries"].pop("ends").startswith("fails under torch: exit code 7")
    assert found["entries"] == {"before": "", "after": ""}


def test_a_float64_repeat_that_ends_torch_fails_its_entry(corpus, tmp_path, monkeypatch):
    (corpus.HOME / "try_x.py").write_text(ENTRIES.format(when="float64"))
    honest = corpus.judge

    def judge(theirs, ours):
        verdicts = honest(theirs, ours)
        first = "ends" in verdicts and not verdicts["ends"]
        return verdicts | {
            n: "gradient differs by 1.0e+00" for n in verdicts if first and n != "before"
        }

    monkeypatch.setattr(corpus, "judge", judge)
    found = corpus.check_package("x", {"convert": []}, tmp_path)["entries"]
    assert "in float64, fails under torch: exit code 7" in found.pop("ends")
    assert found == {"before": "", "after": ""}


def test_a_float64_repeat_that_never_starts_fails_what_it_repeats(corpus, tmp_path, monkeypatch):
    one = {"a/gradient": np.zeros(1), "b/gradient": np.ones(1)}
    other = one | {"b/gradient": np.zeros(1)}
    ended = {corpus.ENDED: np.array("exit code 1: no memory")}

    def compute(home, script, kind, log, *more):
        return ended if "float64" in more else one if kind == "original" else other

    (corpus.HOME / "try_x.py").write_text("")
    monkeypatch.setattr(corpus, "compute", compute)
    found = corpus.check_package("x", {"convert": []}, tmp_path)["entries"]
    assert found["a"] == ""
    assert found["b"].startswith("gradient differs") and "no memory" in found["b"]


def test_writing_keeps_what_did_not_run(corpus, tmp_path, monkeypatch):
    corpus.KEPT.write_text(json.dumps({"old": _result(first="", second=""), "x": _result(a="bad")}))
    monkeypatch.setattr(corpus, "check_package", lambda *_: _result(a=""))
    monkeypatch.setattr(corpus.tomllib, "loads", lambda _: {"x": {}})
    (corpus.HOME / "packages.toml").write_text("")
    monkeypatch.setattr(sys, "argv", ["corpus.py", "x", "--work", str(tmp_path), "--write"])
    assert corpus.main() == 0
    kept = json.loads(corpus.KEPT.read_text())
    assert list(kept) == ["old", "x"] and kept["x"]["entries"] == {"a": ""}
    page = (tmp_path / "corpus.md").read_text()
    assert "3 of 3 entry points of 2 corpora pass" in page and "* old: first, second" in page
    assert "3 at commits that were not kept" in page


def test_the_page_is_made_from_what_is_kept(corpus):
    docs = SCRIPT.parents[1] / "docs"
    kept = json.loads((docs / "corpus.json").read_text())
    assert (docs / "corpus.md").read_text() == corpus.page(kept)
