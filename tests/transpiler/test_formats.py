"""Files other than Python sources: notebooks, requirements, packaging, Dockerfiles, Markdown."""

import json
import shutil
from pathlib import Path

import pytest

from cupola_transpiler import formats
from cupola_transpiler.convert import ConvertError
from cupola_transpiler.formats import ipython, json_text, shell
from cupola_transpiler.layout import Layout
from cupola_transpiler.link import Link
from cupola_transpiler.requirement import read
from transpiler.trees import cupola, read_tree

HOME = Path(__file__).parents[2] / "fixtures" / "repositories" / "packaging"
LINK = Link(Layout(frozenset()))


def convert(name, text):
    return formats.find(name).convert(name, text, LINK)


def test_a_repository_of_every_format(tmp_path):
    tree = tmp_path / "t"
    shutil.copytree(HOME / "before", tree)
    before = read_tree(tree)
    done = cupola("convert", tree, "--docs", "--report", "json", check=1)
    after = {n: b for n, (b, _) in read_tree(tree).items() if not n.startswith(".cupola")}
    expected = {n: b for n, (b, _) in read_tree(HOME / "after").items()}
    assert after == expected
    (report,) = json.loads(done.stdout)["trees"]
    remains = [n["name"] for f in report["files"] for n in f.get("notes", ())
               if n["level"] == "remains"]  # fmt: skip
    assert remains == ["pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime", "torch"]
    again = cupola("convert", tree, "--docs", "--check", check=0)
    assert "Nothing to convert" in again.stderr
    cupola("revert", tree, check=0)
    assert read_tree(tree) == before


def test_documentation_is_converted_on_request_only(tmp_path):
    (tmp_path / "README.md").write_text("```python\nimport torch\n```\n")
    cupola("convert", tmp_path, check=0)
    assert "import torch" in (tmp_path / "README.md").read_text()
    cupola("convert", tmp_path / "README.md", "--docs", check=0)
    assert "import cupola" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("code", [kind.code for kind in formats.discover()])
def test_every_format_has_a_fixture_that_changes(code):
    kind = next(k for k in formats.discover() if k.code == code)
    names = [n for n in read_tree(HOME / "before") if kind.matches(n)]
    assert any((HOME / "before" / n).read_bytes() != (HOME / "after" / n).read_bytes()
               for n in names)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("requirements.txt", "requirements"), ("a/requirements-dev.txt", "requirements"),
        ("requirements/gpu.txt", "requirements"), ("a/requirements/x.txt", "requirements"),
        ("constraints.txt", "requirements"), ("docs/notes.txt", None), ("setup.py", None),
        ("a/pyproject.toml", "pyproject"), ("Dockerfile", "dockerfile"),
        ("docker/Dockerfile.gpu", "dockerfile"), ("gpu.Dockerfile", "dockerfile"),
        ("environment.yml", "conda"), (".github/workflows/ci.yml", None), ("N.ipynb", "notebook"),
    ],
)  # fmt: skip
def test_formats_are_known_by_name(name, code):
    kind = formats.find(name)
    assert (kind.code if kind is not None else None) == code


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("torch", ""), ("torch==2.0", "==2.0"), ("Torch >= 1.8, < 3", ">= 1.8, < 3"),
        ("torch[opt]~=2.0", "~=2.0"), ("torch (>=1.8)", "(>=1.8)"),
        ("torch>=1.8; python_version > '3'", ">=1.8"), ("torch==2.1.0+cu121", "==2.1.0+cu121"),
        ("torch @ https://x.org/torch-2.0.whl", "@ https://x.org/torch-2.0.whl"),
        ("torch===2", "===2"), ("torch!=1.9,>1", "!=1.9,>1"),
    ],
)  # fmt: skip
def test_requirements_that_are_read(text, version):
    assert read(text).version == version


@pytest.mark.parametrize(
    "text", ["torchmetrics", "pytorch-lightning", "x-torch", "torch is good", "torch.nn", "numpy"]
)
def test_requirements_on_something_else(text):
    assert read(text) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("pip install torch", "pip install cupola"),
        ("pip3 install -U 'torch>=1.8' torchvision numpy", "pip3 install -U 'cupola' numpy"),
        ("sudo python3.10 -m pip install torch\n", "sudo python3.10 -m pip install cupola\n"),
        ("uv pip install torch --index-url https://download.pytorch.org/whl/cpu",
         "uv pip install cupola"),
        ("pip install torch torchaudio -f https://download.pytorch.org/whl/torch_stable.html",
         "pip install cupola torchaudio -f https://download.pytorch.org/whl/torch_stable.html"),
        ("poetry add torch@latest", "poetry add cupola"),
        ("uv add torch", "uv add cupola"),
        ("cd torch && pip install -r torch.txt; pip install torch || true",
         "cd torch && pip install -r torch.txt; pip install cupola || true"),
        ("echo pip torch install", "echo pip torch install"),
        ("pip install -e torch", "pip install -e torch"),
        ("pip uninstall torch", "pip uninstall torch"),
        ("conda install -c pytorch pytorch pytorch-cuda=12.1", "pip install 'cupola[cuda12]'"),
        ("conda create -n e python pytorch", "conda create -n e python && pip install cupola"),
        ("pip install 'torch; sys_platform == \"linux\"'",
         "pip install 'cupola; sys_platform == \"linux\"'"),
    ],
)  # fmt: skip
def test_shell_commands(before, after):
    text = before
    for piece in sorted(shell.pieces(before), reverse=True):
        text = text[: piece.start] + piece.text + text[piece.end :]
    assert text == after


@pytest.mark.parametrize(
    "text",
    [
        "%time x = f()\n", "!ls\nx = 1\n", "x = !ls\n", "%%time\nx = 1\n", "x?\n", "??x.y\n",
        "for i in x:\n    !echo {i}\n", "!a \\\n  b\ny = 2\n", "%timeit -n 3 -r 2 f(x)\n",
        "get_ipython().run_line_magic('x', '')\n", "%matplotlib inline",
    ],
)  # fmt: skip
def test_cells_are_read_with_their_magics(text):
    cell = ipython.read(text)
    assert cell.python is not None
    assert len(cell.python) == len(text)


@pytest.mark.parametrize("text", ["%%html\n<b>torch</b>\n", "%%writefile a.txt\ntorch\n", "a b c"])
def test_cells_that_are_not_python(text):
    assert ipython.read(text).python is None


def test_places_in_json():
    text = '{"a": ["x\\n\\u00e9\\ud83d\\ude00\\"z", "torch"], "b": 1}'
    first, second = json_text.read(text)["a"]
    starts, ends = json_text.places(text, first)
    assert [text[s:e] for s, e in zip(starts, ends)] == [
        "x", "\\n", "\\u00e9", "\\ud83d\\ude00", '\\"', "z",
    ]  # fmt: skip
    assert text[second.start : second.end] == "torch"


def test_notebooks_stay_valid_and_keep_their_outputs():
    nbformat = pytest.importorskip("nbformat")
    before = nbformat.read(HOME / "before" / "train.ipynb", 4)
    after = nbformat.read(HOME / "after" / "train.ipynb", 4)
    nbformat.validate(after)
    for old, new in zip(before.cells, after.cells):
        assert {k: v for k, v in old.items() if k != "source"} == {
            k: v for k, v in new.items() if k != "source"
        }
        assert old.source == new.source or old.cell_type == "code"
    assert before.metadata == after.metadata


@pytest.mark.parametrize(
    "text", ['{"cells": 3, "torch": 1}', "[]", '{"cells": [{"cell_type": "code"}, 7, "torch"]}']
)
def test_odd_notebooks_are_no_crash(text):
    assert convert("n.ipynb", text).text == text


def test_other_languages_stay():
    text = json.dumps({"cells": [{"cell_type": "code", "source": ["import torch"]}],
                       "metadata": {"kernelspec": {"language": "julia"}}})  # fmt: skip
    assert convert("n.ipynb", text).text == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.ipynb", "torch"), ("pyproject.toml", "torch = ["), ("setup.cfg", "torch"),
        ("environment.yml", "torch: [: x"),
    ],
)  # fmt: skip
def test_what_does_not_parse_is_left_and_named(name, text, tmp_path):
    with pytest.raises(ConvertError):
        convert(name, text)
    (tmp_path / name).write_text(text)
    done = cupola("convert", tmp_path, check=1)
    assert f"left {name}" in done.stderr
    assert (tmp_path / name).read_text() == text
