"""Bytes outside of what is rewritten do not change, whatever they are."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cupola_transpiler.convert import ConvertError, convert_source
from cupola_transpiler.layout import Layout
from cupola_transpiler.link import Link
from cupola_transpiler.source import SourceError, decode
from cupola_transpiler.work import convert_file
from transpiler.trees import write_tree

CASES = {
    "crlf": b"import torch\r\nx = torch.ones(\r\n    1)  \r\n",
    "mixed line ends": b"import torch\nx = 1\r\ny = torch.pi\n",
    "old mac line ends": b"import torch\rx = torch.pi\r",
    "byte order mark": codecs.BOM_UTF8 + b"import torch\nx = '\xc3\xa9'\n",
    "latin-1": b"# -*- coding: latin-1 -*-\nimport torch\nx = '\xe9\xff'  # \xe0\ny = torch.e\n",
    "form feed": b"import torch\n\x0c\nclass A:\n    x = torch.e\n\x0c\n",
    "tabs": b"import torch\nif torch:\n\tif 1:\n\t\tx\t=\ttorch.e\t# t\n",
    "mixed indents": b"import torch\nif torch:\n  if 1:\n         x = torch.e\nelse:\n\tpass\n",
    "shebang": b"#!/usr/bin/python3 -u\n# torch\nimport torch\n",
    "no last newline": b"import torch\nx = torch.e",
    "backslash in the last comment": b"import torch\nx = torch.e # \\\n",
    "only a comment after": b"import torch\n  # torch",
    "backslashes": b"import \\\n  torch\nx = torch \\\n  .e\nfrom torch \\\n import nn\n",
    "semicolons": b"import torch; x = torch.e;\n",
    "literals": b"import torch\nx = 0XFF + 1_0 + 1E5 + 7J, torch.e, rB'\\x00', U'torch'\n",
    "unicode names": "import torch\nпеременная = torch.e  # 日本\n".encode(),
    "trailing spaces": b"import torch   \n\n   \nx = torch.e ; \n\n\n",
    "empty lines first": b"\n\n\nimport torch\n",
    "tab in code": b"import\ttorch\tas\tth\nx\t=\tth\t.\te\n",
}


def through(tmp_path, data):
    write_tree(tmp_path, {"m.py": data})
    return convert_file(tmp_path, "m.py", Link(Layout(frozenset({"m.py"}))))


@pytest.mark.parametrize("name", CASES)
def test_only_the_names_change(tmp_path, name):
    data = CASES[name]
    result = through(tmp_path, data)
    assert not result.problem
    prose = {b"# torch": b"# \0", b"U'torch'": b"U'\0'"}
    expected = data
    for text, mark in prose.items():
        expected = expected.replace(text, mark)
    expected = expected.replace(b"torch", b"cupola")
    for text, mark in prose.items():
        expected = expected.replace(mark, text)
    assert result.after == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"import torch\nx = '\xe9'\n", "cannot be decoded"),
        (b"# coding: no-such-codec\nimport torch\n", "cannot be decoded"),
        (b"import torch\ndef f(:\n", "does not parse: line 2"),
        (b"import torch\nprint 'python 2'\n", "does not parse"),
        (b"import torch\nx = '\0'\n", "NUL"),
        ("import torch\n".encode("utf-16"), "cannot be decoded"),
        (b"\xff\xfe\n", "cannot be decoded"),
    ],
)
def test_what_cannot_be_read_is_left(tmp_path, data, reason):
    result = through(tmp_path, data)
    assert reason in result.problem
    assert result.after is None


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 150 + "torch.e" + ")" * 150 + "\n",
        "x = " + " + ".join(["torch.e"] * 400) + "\n",
        "if torch.e == 0: pass\n" + "elif torch.e == 1: pass\n" * 700,
        "x = torch" + ".f()" * 90 + "\n",
    ],
    ids=["parentheses", "sum", "elif", "calls"],
)
def test_deep_nesting_is_no_crash(tmp_path, text):
    result = through(tmp_path, b"import torch\n" + text.encode())
    assert not result.problem
    assert result.after == b"import cupola\n" + text.replace("torch", "cupola").encode()


@pytest.mark.parametrize(
    "text",
    [
        "type A[T] = dict[T, torch.Tensor]\nclass B[T: torch.nn.Module, *Ts, **P](torch.M): ...\n",
        "def f[T: 'torch.Tensor' = torch.Tensor](x: T) -> torch.Tensor: ...\n",
        "x = f'{torch.e:{torch.pi}} {'nested' + f\"{torch.e}\"}'\n",
        "try: pass\nexcept* torch.cuda.OutOfMemoryError as e: raise\n",
        "async def f():\n    async with torch.a() as g: await torch.b\n"
        "    return [torch.c async for torch.d in g]\n",
        "print(*torch.x, **torch.y)\nx[torch.e:torch.pi, ...]\nz = lambda: (yield torch.e)\n",
    ],
)
def test_syntax_of_every_python(text):
    """Syntax that is too new for the Python at hand is converted too; LibCST reads it."""
    result = convert_source("import torch\n" + text)
    assert result.text == "import cupola\n" + text.replace("torch", "cupola")


def test_result_must_fit_the_encoding():
    with pytest.raises(SourceError):
        decode(b"# coding: latin-1\n").encode("\u20ac")


def test_syntax_errors_are_errors():
    with pytest.raises(ConvertError):
        convert_source("import torch\nx = = 1\n")


SPACE = st.text(" \t", max_size=3)
COMMENT = st.one_of(st.just(""), st.text("abc torch#'\"{}\\é", max_size=12).map(lambda t: "# " + t))
BLANK = st.lists(st.tuples(SPACE, COMMENT).map("".join), max_size=2)


@st.composite
def programs(draw):
    """Programs in which `torch` is code exactly where it stands as <torch>."""
    s = lambda: draw(SPACE)  # noqa: E731
    gap = lambda: draw(SPACE) or " "  # noqa: E731
    forms = [
        lambda: f"x{s()}={s()}<torch>{s()}.{s()}ones{s()}({s()}1{s()}){s()}",
        lambda: f"y{s()}={s()}[{s()}({s()}<torch>{s()}){s()},{s()}'torch'{s()}]",
        lambda: f"z{s()}={s()}f'{{<torch>.e{s()}!r}} torch'",
        lambda: f"def{gap()}f{s()}({s()}a{s()}:{s()}'<torch>.Tensor'{s()},"
        f"{s()}torch{s()}={s()}<torch>{s()}):{s()}return{gap()}torch",
        lambda: f"g{s()}={s()}lambda{gap()}torch{s()}:{s()}torch{s()}.x",
        lambda: f"del{gap()}<torch>{s()};{s()}import{gap()}<torch>",
        lambda: f"if{gap()}<torch>{s()}:{s()}h{s()}={s()}k{s()}.{s()}torch",
        lambda: f"m{s()}={s()}n{s()}({s()}torch{s()}={s()}<torch>{s()})",
    ]  # fmt: skip
    lines = [*draw(BLANK), f"import{gap()}<torch>{s()}"]
    for _ in range(draw(st.integers(1, 6))):
        lines += draw(BLANK)
        lines.append(draw(st.sampled_from(forms))() + draw(COMMENT))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return end.join(lines) + draw(st.sampled_from(["", end]))


@settings(max_examples=150, deadline=None)
@given(programs())
def test_whitespace_and_comments_survive(program):
    before = program.replace("<torch>", "torch")
    assert convert_source(before).text == program.replace("<torch>", "cupola")
