"""`cupola weights` converts checkpoints without losing a bit, and says where two differ."""

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cupola_transpiler.cli import main

torch = pytest.importorskip("torch")


@pytest.fixture
def state(tmp_path):
    """A checkpoint with shared, strided, small and half-precision tensors, and what is in it."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "b.weight": base.t(),
        "a.weight": torch.randn(3, 5, generator=torch.Generator().manual_seed(0)),
        "tied": base,
        "half": torch.tensor([1.5, float("nan"), float("inf")], dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
    }
    path = tmp_path / "in.pth"
    torch.save({"state_dict": tensors, "epoch": 3}, path)
    return path, tensors


def same(found, tensors):
    assert set(found) == set(tensors)
    for name, want in tensors.items():
        assert found[name].dtype == want.dtype and found[name].shape == want.shape, name
        assert torch.equal(found[name].nan_to_num(), want.nan_to_num()), name


def test_there_and_back(state, tmp_path, capsys):
    from safetensors.torch import load_file

    path, tensors = state
    safe, back = tmp_path / "out.safetensors", tmp_path / "back.pth"
    assert main(["weights", "convert", str(path), str(safe)]) == 0
    same(load_file(safe), tensors)
    assert main(["weights", "convert", str(safe), str(back)]) == 0
    same(torch.load(back, weights_only=True), tensors)
    capsys.readouterr()
    assert main(["weights", "diff", str(path), str(safe)]) == 0  # the format has no order
    assert "equal: 6 tensors, in another order" in capsys.readouterr().out
    assert main(["weights", "diff", str(safe), str(back)]) == 0
    assert "equal: 6 tensors" in capsys.readouterr().out


def test_differences_are_named(tmp_path, capsys):
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"x": torch.ones(4), "y": torch.ones(2), "z": torch.ones(3), "w": torch.ones(1)},
               first)  # fmt: skip
    changed = torch.ones(4)
    changed[2] += 1e-3
    torch.save({"x": changed, "y": torch.ones(3), "z": torch.ones(3).double(), "v": torch.ones(1)},
               second)  # fmt: skip
    assert main(["weights", "diff", str(first), str(second)]) == 1
    out = capsys.readouterr().out
    assert "x: 1 of 4 values differ, by up to 1.000e-03" in out
    assert "y: shape (2,) and (3,)" in out
    assert "z: torch.float32 and torch.float64" in out
    assert f"only in {first}: w" in out and f"only in {second}: v" in out
    torch.save({"x": torch.ones(4)}, first)
    torch.save({"x": changed}, second)
    assert main(["weights", "diff", str(first), str(second), "--tolerance", "0.01"]) == 0


def test_integers_are_compared_exactly(tmp_path, capsys):
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"i": torch.tensor([2**60, 5]), "b": torch.tensor([True, False])}, first)
    torch.save({"i": torch.tensor([2**60 + 1, 5]), "b": torch.tensor([True, True])}, second)
    assert main(["weights", "diff", str(first), str(second)]) == 1
    out = capsys.readouterr().out
    assert "i: 1 of 2 values differ, by up to 1\n" in out
    assert "b: 1 of 2 values differ, by up to 1\n" in out
    assert main(["weights", "diff", str(first), str(first)]) == 0


def test_nan_on_one_side(tmp_path, capsys):
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"x": torch.ones(2), "c": torch.tensor([1j, 2.0])}, first)
    torch.save({"x": torch.tensor([1.0, float("nan")]), "c": torch.tensor([1j, 2.5])}, second)
    assert main(["weights", "diff", str(first), str(second)]) == 1
    out = capsys.readouterr().out
    assert "x: 1 of 2 values differ, some infinite or NaN on one side" in out
    assert "c: 1 of 2 values differ, by up to 5.000e-01" in out


def test_a_folder_stands_for_the_checkpoint_in_it(tmp_path, capsys):
    from safetensors.torch import load_file

    folder, out = tmp_path / "hub", tmp_path / "out.safetensors"
    folder.mkdir()
    assert main(["weights", "convert", str(folder), str(out)]) == 2
    assert "is a folder without model.safetensors or" in capsys.readouterr().err
    torch.save({"a": torch.ones(2)}, folder / "one.bin")
    torch.save({"b": torch.zeros(3)}, folder / "two.bin")
    index = {"metadata": {}, "weight_map": {"b": "two.bin", "a": "one.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert main(["weights", "convert", str(folder), str(out)]) == 0
    assert sorted(load_file(out)) == ["a", "b"]
    assert main(["weights", "diff", str(folder), str(out)]) == 0


def test_wrong_usage(state, tmp_path, capsys):
    path, _ = state
    assert main(["weights", "convert", str(path), str(tmp_path / "out.onnx")]) == 2
    assert ".safetensors" in capsys.readouterr().err
    assert main(["weights", "convert", str(path), str(path)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["weights", "convert", str(path), str(tmp_path / "no" / "x.pth")]) == 2
    assert "make it first" in capsys.readouterr().err
    missing = tmp_path / "missing.pth"
    assert main(["weights", "diff", str(path), str(missing)]) == 2
    torch.save({"epoch": 1}, missing)
    assert main(["weights", "diff", str(missing), str(path)]) == 2
    assert "no tensors" in capsys.readouterr().err
    assert main(["weights", "convert", str(path), str(tmp_path / "o.pth"), "--key", "x"]) == 2


def test_large_files_show_progress(state, tmp_path, capsys, monkeypatch):
    from cupola_compat import weights

    monkeypatch.setattr(weights, "LARGE", 10)
    monkeypatch.setattr(weights, "PLAIN_EVERY", 0.0)
    path, _ = state
    assert main(["weights", "convert", str(path), str(tmp_path / "out.safetensors")]) == 0
    assert "writing out.safetensors" in capsys.readouterr().err


def test_a_terminal_shows_a_bar(tmp_path):
    """A file above 100 MB, on a terminal of its own."""
    path, ends = tmp_path / "in.pth", os.openpty()
    torch.save({"weight": torch.zeros(7, 1 << 22)}, path)
    command = [sys.executable, "-m", "cupola_transpiler", "weights", "diff", str(path), str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=ends[1], stderr=ends[1], env=environment)
    os.close(ends[1])
    shown = b""
    with contextlib.suppress(OSError):  # the other side is closed
        while piece := os.read(ends[0], 1 << 16):
            shown += piece
    os.close(ends[0])
    assert process.wait() == 0
    assert "comparing" in shown.decode() and "117.4/117.4 MB" in shown.decode()
    assert "equal: 1 tensors" in shown.decode()


def test_a_layout_that_lies_is_refused(tmp_path, capsys):
    damaged = tmp_path / "x.safetensors"
    damaged.write_bytes(np.uint64(1 << 40).tobytes() + b"{}")
    assert main(["weights", "diff", str(damaged), str(damaged)]) == 2
    assert "Traceback" not in capsys.readouterr().err
