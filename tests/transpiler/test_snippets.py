"""fixtures/snippets: what each x.in.py becomes, and that it computes the same."""

import io
import runpy
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from cupola_transpiler.convert import convert_source
from cupola_transpiler.source import decode

SNIPPETS = Path(__file__).parents[2] / "fixtures" / "snippets"
NAMES = sorted(path.name.removesuffix(".in.py") for path in SNIPPETS.glob("*.in.py"))


# Snippets whose syntax an older Python does not run.
PYTHON = {"generics_python312": (3, 12)}


def read(name, kind):
    return decode((SNIPPETS / f"{name}.{kind}.py").read_bytes()).text


def needs_python(name):
    if sys.version_info < PYTHON.get(name, (3, 0)):
        pytest.skip("needs a later Python")


@pytest.mark.parametrize("name", NAMES)
def test_becomes(name):
    assert convert_source(read(name, "in")).text == read(name, "out")


@pytest.mark.parametrize("name", NAMES)
def test_twice_changes_nothing(name):
    result = convert_source(read(name, "out"))
    assert result.text == read(name, "out")
    assert not result.changes


def result_of(name, kind):
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()) as printed:
        warnings.simplefilter("ignore")
        return runpy.run_path(str(SNIPPETS / f"{name}.{kind}.py"))["RESULT"], printed.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_computes_the_same(name):
    needs_python(name)
    pytest.importorskip("torch")
    pytest.importorskip("cupola")
    assert result_of(name, "out") == result_of(name, "in")
