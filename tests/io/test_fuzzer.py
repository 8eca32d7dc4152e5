"""The fuzzer of the reader: its seeds load, and a short run with two processes finds nothing."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

from cupola.io import CheckpointError, load

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_reader.py"
_SPEC = importlib.util.spec_from_file_location("fuzz_reader", SCRIPT)
fuzz_reader = importlib.util.module_from_spec(_SPEC)
sys.modules["fuzz_reader"] = fuzz_reader
_SPEC.loader.exec_module(fuzz_reader)


def test_every_seed_but_the_index_loads(tmp_path: Path) -> None:
    seeds = fuzz_reader.seeds()
    kinds = [type(load(io.BytesIO(data))).__name__ for data in seeds if data[:1] != b"{"]
    assert kinds == ["dict", "dict", "dict", "dict", "OrderedDict"]
    script = load(io.BytesIO(seeds[-1]))
    assert list(script) == ["w", "p", "half"]
    (tmp_path / "x.safetensors").write_bytes(seeds[2])
    index = tmp_path / "index"
    index.write_bytes(next(data for data in seeds if data[:1] == b"{"))
    assert list(load(index)) == ["a"]


def test_a_finding_is_told_and_kept(tmp_path: Path, monkeypatch, capsys) -> None:
    def broken(file):
        raise KeyError("no such name")

    monkeypatch.setattr("cupola.io.load", broken)
    outcome, problem = fuzz_reader.tried(b"anything")
    assert outcome == "KeyError" and problem is not None and "no such name" in problem
    findings = fuzz_reader.Findings(tmp_path)
    findings.add(b"anything", problem)
    findings.add(b"other", problem)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"anything"]
    assert "FINDING" in capsys.readouterr().out


def test_checkpoint_errors_are_no_findings() -> None:
    outcome, problem = fuzz_reader.tried(b"\x80\x02cos\nsystem\n.")
    assert problem is None and "os.system" in outcome
    assert issubclass(CheckpointError, RuntimeError)


def test_several_processes(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--jobs", "2", "--minutes", "0.02", "--seed", "7"]
    ran = subprocess.run(
        [*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found == json.loads((tmp_path / "summary.json").read_text())
    assert found["ended_by_themselves"] == 2 and found["seeds"] == [7, 8]
    assert found["inputs"] > 100 and found["findings"] == {}
