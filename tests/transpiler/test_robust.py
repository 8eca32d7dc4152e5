"""The converter survives whatever Python there is: CPython's own library, installed packages, and
its own fixtures with their layout shaken.

The whole of the library and of the environment is read with CUPOLA_EVERYTHING=1 (nightly); without
it, a sample that depends on the names of the files only.
"""

import ast
import io
import os
import sysconfig
import textwrap
import tokenize
import warnings
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cupola_transpiler.convert import ConvertError, convert_source
from cupola_transpiler.discover import discover
from cupola_transpiler.layout import Layout
from cupola_transpiler.link import Link
from cupola_transpiler.plan import plan
from cupola_transpiler.source import SourceError, decode
from cupola_transpiler.work import convert_file

EVERYTHING = bool(os.environ.get("CUPOLA_EVERYTHING"))
SNIPPETS = Path(__file__).parents[2] / "fixtures" / "snippets"
SOURCES = [
    decode(path.read_bytes()).text
    for path in sorted(SNIPPETS.glob("*.in.py"))
    if "python312" not in path.name
]


def chosen(path, part):
    """One file in `part`, by its name."""
    return EVERYTHING or zlib.crc32(path.encode("utf-8", "surrogateescape")) % part == 0


def installed(kind):
    return Path(sysconfig.get_path(kind))


@pytest.mark.slow
def test_the_standard_library_needs_nothing():
    root = installed("stdlib")
    names = [n for n in discover(root, exclude=["site-packages"]).chosen
             if "lib2to3/tests/data" not in n]  # fmt: skip
    link = Link(Layout(frozenset(names)))
    changed = []
    for name in names:
        result = convert_file(root, name, link)
        if not result.mentions and (result.after is not None or result.changes):
            changed.append(name)
        assert not result.problem.startswith("cupola failed"), (name, result.problem)
    assert not changed


@pytest.mark.slow
def test_every_syntax_of_the_standard_library_is_read():
    """Files that do not mention torch are not even parsed; here they are, and do not change."""
    root, seen = installed("stdlib"), 0
    for name in discover(root, exclude=["site-packages"]).chosen:
        if not chosen(name, 60):
            continue
        try:
            text = decode((root / name).read_bytes()).text
            assert convert_source(text).text == text, name
        except (SourceError, ConvertError):
            continue  # test data that is not Python
        seen += 1
    assert seen > 10


@pytest.mark.slow
def test_installed_packages_are_no_crash(tmp_path):
    """What torch itself and its friends look like, rewritten in memory."""
    root = installed("purelib")
    names = [n for n in discover(root).chosen if n.endswith(".py") and chosen(n, 400)]
    link = Link(Layout(frozenset(names)))
    for name in names:
        data = (root / name).read_bytes()
        result = convert_file(root, name, link)
        assert not result.problem.startswith("cupola failed"), (name, result.problem)
        if b"torch" not in data:
            assert result.after is None, name
        elif result.after is not None and not result.problem:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(result.after)
    assert names


def test_a_tree_without_torch_stays_byte_for_byte(tmp_path):
    root = installed("stdlib") / "json"
    for path in root.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    made = plan(discover(tmp_path), processes=1)
    assert {f.status for f in made.files.values()} == {"kept"}
    for path in root.glob("*.py"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


NOISE = st.sampled_from(
    ["# torch", "#torch.nn: 'x\"", "# type", "#\\", "# é 日本", "", "   ", "\t", "# import torch"]
)


@st.composite
def shaken(draw):
    """A fixture with other white space, comments, nesting and line ends, and still Python."""
    text = draw(st.sampled_from(SOURCES))
    text = _comments(draw, text)
    if draw(st.booleans()):
        text = _spaces(draw, text)
    nested = "__future__" not in text and "import *" not in text and "coding:" not in text
    for _ in range(draw(st.integers(0, 3)) if nested else 0):
        text = _nested(draw, text)
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    text = text.replace("\r\n", "\n").replace("\n", end)
    return text if draw(st.booleans()) else text.rstrip()


def _tokens(text):
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


def _comments(draw, text):
    """Lines of their own between logical lines, and behind some of them."""
    ends = {t.start[0]: t.start[1] for t in _tokens(text) if t.type == tokenize.NEWLINE}
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        noise = draw(NOISE) if number in ends and draw(st.integers(0, 3)) == 0 else None
        if noise is None:
            out.append(line)
        elif noise.startswith("#") and not noise.endswith("\\") and "#" not in line[ends[number] :]:
            out.append(f"{line}  {noise}")
        else:
            out += [line, noise]
    return "\n".join(out) + "\n"


def _spaces(draw, text):
    """More blanks around operators inside of brackets, and broken lines there."""
    lines, depth, places = text.splitlines(), 0, []
    formatted = 0
    for token in _tokens(text):
        kind = tokenize.tok_name[token.type]
        formatted += (kind == "FSTRING_START") - (kind == "FSTRING_END")
        if token.type != tokenize.OP or formatted:
            continue
        depth += (token.string in "([{") - (token.string in ")]}")
        if depth > 0 and token.string in (",", "(", "["):
            places.append(token.end)
    for row, column in reversed(places):
        if draw(st.integers(0, 4)) == 0:
            space = draw(st.sampled_from([" ", "  ", "\t", "\n", "\n\n      ", " \\\n   "]))
            line = lines[row - 1]
            lines[row - 1] = line[:column] + space + line[column:]
    changed = "\n".join(lines) + "\n"
    return changed if _is_python(changed) else text


def _nested(draw, text):
    head, tail = draw(
        st.sampled_from([
            ("if True:\n", ""), ("def f():\n", "f()\n"), ("try:\n", "finally:\n    pass\n"),
            ("class A:\n", ""), ("with open('x'):\n", ""), ("for torch_ in ():\n", "else: pass\n"),
            ("match 1:\n  case 1:\n    ", ""), ("async def torch2():\n", ""),
        ])
    )  # fmt: skip
    inner = textwrap.indent(text, "    " if not head.startswith("match") else "     ")
    changed = head.rstrip(" ") + inner + tail
    return changed if _is_python(changed) else text


def _is_python(text):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "x", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(shaken())
def test_shaken_fixtures_still_parse(text):
    if not _is_python(text):
        return
    result = convert_source(text)
    assert _is_python(result.text)
    again = convert_source(result.text)
    assert again.text == result.text
    assert result.text.count("\n") >= text.count("\n")
