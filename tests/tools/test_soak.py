"""The soak script's bookkeeping, and caches that stay as they are over 200 steps."""

from __future__ import annotations

import functools
import importlib.util
import json
import pathlib
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "soak.py"


@pytest.fixture(scope="module")
def soak():
    spec = importlib.util.spec_from_file_location("soak", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows(*residents, caches=None, gpu=0):
    kept = caches or [{}] * len(residents)
    return [
        {"step": i, "resident": r, "gpu": gpu, "caches": c}
        for i, (r, c) in enumerate(zip(residents, kept, strict=True))
    ]


def test_verdict(soak):
    told = soak.verdict({"steps": 9, "rows": _rows(50, 100, 100.5, 100.9)})
    assert told["flat"]
    assert told["growth"] == pytest.approx(0.009)
    assert told["steps"] == 9
    assert not soak.verdict({"rows": _rows(50, 100, 102)})["flat"]
    # What happens before the second observation is warming up.
    assert soak.verdict({"rows": _rows(1, 100, 100)})["flat"]
    grown = soak.verdict({"rows": _rows(1, 1, 1, caches=[{}, {"a": 1, "b": 2}, {"a": 3, "b": 2}])})
    assert grown["grown_caches"] == {"a": [1, 3]}


def test_containers_are_counted(soak):
    @functools.cache
    def remembered(x):
        return x

    remembered(1)
    names = {"a": {1: 2}, "b": [1, 2, 3], "f": remembered, "n": 5, "__all__": ["x"]}
    assert soak._sizes("m", names) == {"m.a": 1, "m.b": 3, "m.f": 1}
    assert any(name.startswith("cupola.engine.") for name in soak.caches("cpu"))
    assert soak.resident() > 1 << 20


def test_two_hundred_steps(soak, capsys):
    result = soak.run("cpu", 200)
    assert result["steps"] == 200
    assert len(result["rows"]) == 10
    # After 60 steps every batch size was met, and a loss was read (at the 50th).
    found = soak.verdict({**result, "rows": result["rows"][2:]})
    assert found["grown_caches"] == {}
    assert found["growth"] < 0.03
    json.dumps(found)
    assert "200 steps" in capsys.readouterr().out


def test_too_few_steps(soak, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["soak.py", "--steps", "3"])
    with pytest.raises(SystemExit):
        soak.main()
    assert "at least 20" in capsys.readouterr().err
