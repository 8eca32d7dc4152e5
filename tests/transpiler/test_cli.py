"""The command line: modes, exit codes, reports."""

import json
import os

import pytest

from cupola_transpiler.cli import main
from transpiler.trees import cupola, read_tree, sources, write_tree


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "t", {
        "a.py": "import torch\nx = torch.ones(1)\n", "b.py": "x = 1\n",
        "c.py": "from torch import package  # <b>\n",
    })  # fmt: skip


def test_help_names_commands_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    text = capsys.readouterr().out
    assert leaving.value.code == 0
    for word in ("convert", "revert", "rules", "parity", "exit codes", "examples"):
        assert word in text


@pytest.mark.parametrize(
    "arguments", [["convert"], ["frobnicate"], ["convert", "x", "--report", "pdf"]]
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2


def test_missing_path_and_nothing_to_revert(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "no")]) == 2
    assert main(["revert", str(tmp_path)]) == 2
    assert "no conversion is on record" in capsys.readouterr().err


def test_diff_writes_nothing(tree, capsys):
    before = read_tree(tree)
    assert main(["convert", str(tree), "--diff"]) == 1
    out = capsys.readouterr().out
    assert "--- a/a.py\n+++ b/a.py\n" in out
    assert "-x = torch.ones(1)\n" in out
    assert "+x = cupola.ones(1)\n" in out
    assert read_tree(tree) == before


def test_check_says_whether_something_would_change(tree, capsys):
    before = read_tree(tree)
    assert main(["convert", str(tree), "--check"]) == 1
    assert read_tree(tree) == before
    assert main(["convert", str(tree)]) == 1
    assert main(["convert", str(tree), "--check"]) == 0


def test_unsupported_is_exit_code_1_and_is_explained(tree, capsys):
    assert main(["convert", str(tree)]) == 1
    error = capsys.readouterr().err
    assert "torch.package" in error and "c.py:1:19" in error
    assert main(["convert", str(tree / "b.py")]) == 0


def test_json_report(tree):
    done = cupola("convert", tree, "--report", "json", check=1)
    (report,) = json.loads(done.stdout)["trees"]
    files = {f["path"]: f for f in report["files"]}
    assert {n: f["status"] for n, f in files.items()} == {
        "a.py": "changed", "b.py": "kept", "c.py": "changed",
    }  # fmt: skip
    assert report["verdict"] == "No reference to torch remains."
    assert not report["complete"]
    assert report["written"]
    (note,) = files["c.py"]["notes"]
    assert (note["level"], note["name"], note["line"], note["column"]) == (
        "unsupported", "torch.package", 1, 19,
    )  # fmt: skip
    assert files["a.py"]["changes"][1] == {
        "line": 2, "column": 5, "rule": "module-name", "before": "torch", "after": "cupola",
    }  # fmt: skip


def test_html_report_stands_alone(tree, tmp_path):
    page = tmp_path / "out" / "report.html"
    cupola("convert", tree, "--report", "html", "-o", page, check=1)
    text = page.read_text()
    assert "No reference to torch remains." in text
    assert "c.py" in text and "&lt;b&gt;" in text
    assert "http" not in text.replace("http-equiv", "") and "<script" not in text


@pytest.mark.parametrize("name", [b"\xff.py", "h\u00e9 \n[b].py".encode()])
def test_odd_file_names(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write("import torch\nx = '\u65e5'\n".encode())
    more = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    cupola("convert", tmp_path, "--diff", check=0, **more)
    page = tmp_path / "r.html"
    cupola("convert", tmp_path, "--report", "html", "-o", page, check=0, **more)
    with open(path, "rb") as file:
        assert file.read() == "import cupola\nx = '\u65e5'\n".encode()
    cupola("convert", tmp_path, "--report", "json", check=0)
    cupola("revert", tmp_path, check=0, **more)
    with open(path, "rb") as file:
        assert file.read().startswith(b"import torch")


def test_one_file_and_several_paths(tree):
    cupola("convert", tree / "a.py", check=0)
    assert sources(tree)["c.py"].startswith("from torch")
    cupola("convert", tree / "a.py", tree / "c.py", tree / "b.py", check=1)
    assert sources(tree)["c.py"].startswith("from cupola")
    cupola("revert", tree, check=0)
    assert sources(tree)["a.py"].startswith("import torch")


def test_rules_are_listed_and_explained(capsys):
    assert main(["rules"]) == 0
    assert "import-module" in capsys.readouterr().out
    assert main(["rules", "import-module"]) == 0
    assert "import cupola as torch" in capsys.readouterr().out
    assert main(["rules", "no-such-rule"]) == 2


def test_parity_is_handed_over(capsys, monkeypatch):
    import importlib
    import types

    calls = []
    home = types.SimpleNamespace(main=lambda arguments: calls.append(arguments) or 1)
    real = importlib.import_module
    monkeypatch.setattr(
        "cupola_transpiler.cli.importlib.import_module",
        lambda name: home if name == "cupola_compat.parity.cli" else real(name),
    )
    assert main(["parity", "a", "--tolerance", "1e-5"]) == 1
    assert calls == [["a", "--tolerance", "1e-5"]]


def test_parity_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setitem(
        main.__globals__["ELSEWHERE"], "parity", ("cupola_compat_missing.cli", "text")
    )
    assert main(["parity"]) == 2
