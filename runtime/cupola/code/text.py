"""The notation inside sources: ``@in0(i, j)``, ``@alias(name, in0)``, ``data["x"]``.

Everything is replaced in place, line for line, so that a compiler's line numbers are the user's.
Comments and string literals stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

# What is passed over unchanged: comments, raw strings, strings, characters.
_SKIP = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|R"(?P<tag>[^()\\ ]{0,16})\(.*?\)(?P=tag)"'
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_DATA = re.compile(r"\bdata\s*\[\s*\"([^\"\n]*)\"\s*\]")
_NUMBER = re.compile(r"\d[\w.']*")


class SourceError(SyntaxError):
    """The notation is wrong; ``line`` counts from 1 in the source given."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Array:
    """One tensor as a source sees it.

    Attributes:
        name: ``in0``, ``out1``, …
        rank, dtype: the number of dimensions and the element type's name.
        dense: whether it is known to lie in row-major order.
        varies: for outputs, the dimensions whose size the source decides.
    """

    name: str
    rank: int
    dtype: str
    dense: bool = True
    varies: tuple[int, ...] = ()

    @property
    def is_output(self) -> bool:
        return self.name.startswith("out")

    def offset(self, indices: list[str], name: str, cast: str = "") -> str:
        """The position of an element, in elements.

        ``cast`` makes an index signed: an unsigned one would make a negative stride unsigned.
        """
        if not indices:
            return "0"
        if not self.dense:
            return " + ".join(f"{cast}({i}) * {name}_stride{d}" for d, i in enumerate(indices))
        out = f"({indices[0]})"
        for d, i in enumerate(indices[1:], 1):
            out = f"({out} * {name}_shape{d} + ({i}))"
        return out


Replace = Callable[[Array, str, list[str], bool], str]


def line_of(text: str, at: int) -> int:
    """The line, from 1, of a position."""
    return text.count("\n", 0, at) + 1


def pieces(text: str) -> Iterator[tuple[int, str, bool]]:
    """Splits into (position, piece, whether it is code); the rest is comments and literals."""
    at = 0
    while at < len(text):
        found = _next_skip(text, at)
        if found is None:
            yield at, text[at:], True
            return
        if found.start() > at:
            yield at, text[at : found.start()], True
        yield found.start(), found.group(), False
        at = found.end()


def _next_skip(text: str, at: int) -> re.Match[str] | None:
    while True:
        found = _SKIP.search(text, at)
        if found is None or found.group()[0] != "'":
            return found
        # A digit separator (1'000) opens no character literal.
        before = text[max(0, found.start() - 1) : found.start()]
        if not before.isalnum():
            return found
        at = found.start() + 1


def blanked(text: str) -> str:
    """The text with comments and literals turned into spaces, positions and line ends kept."""
    out = []
    for _, piece, code in pieces(text):
        out.append(piece if code else re.sub(r"[^\n]", " ", piece))
    return "".join(out)


def closing(code: str, at: int, line: int) -> int:
    """Position of the bracket that closes the one at ``at`` in blanked text."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    stack = [pairs[code[at]]]
    for k in range(at + 1, len(code)):
        c = code[k]
        if c in pairs:
            stack.append(pairs[c])
        elif stack and c == stack[-1]:
            stack.pop()
            if not stack:
                return k
    raise SourceError(f"the bracket {code[at]!r} is never closed", line)


def split_arguments(text: str, code: str) -> list[str]:
    """Splits at commas outside brackets; ``code`` is the blanked text."""
    if not code.strip():
        return []
    out, depth, start = [], 0, 0
    for k, c in enumerate(code):
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            out.append(text[start:k].strip(" \t"))
            start = k + 1
    out.append(text[start:].strip(" \t"))
    return out


def aliases(text: str, known: Mapping[str, Array]) -> dict[str, Array]:
    """What ``@alias(name, array)`` declares in a text."""
    found: dict[str, Array] = {}
    code = blanked(text)
    for m in re.finditer(r"@alias\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)", code):
        name, target = m.groups()
        array = known.get(target) or found.get(target)
        if array is None:
            raise SourceError(
                f"@alias({name}, {target}): there is no array {target!r}; there are "
                f"{', '.join(known)}",
                line_of(text, m.start()),
            )
        found[name] = array
    return found


def expand(
    text: str,
    arrays: Mapping[str, Array],
    macros: Mapping[str, str],
    data: Mapping[str, str],
    replace: Replace,
) -> str:
    """Writes a source out in plain C++.

    Args:
        arrays: by every name that the source may use, aliases included.
        macros: texts for ``@NAME`` without an argument list, such as ``ARGS``.
        data: C++ names of the numbers, by key.
        replace: gives the C++ expression of one element.

    Raises:
        SourceError: an unknown name after ``@``, a wrong number of indices, an unknown number.
    """
    return _expand(text, blanked(text), 0, text, arrays, macros, data, replace)


def _expand(
    text: str,
    code: str,
    base: int,
    whole: str,
    arrays: Mapping[str, Array],
    macros: Mapping[str, str],
    data: Mapping[str, str],
    replace: Replace,
) -> str:
    out: list[str] = []
    at = 0

    def plain(piece: str, start: int) -> str:
        def number(m: re.Match[str]) -> str:
            if code[start + m.start()] != "d":  # in a comment
                return m.group()
            if m.group(1) not in data:
                there = ", ".join(repr(k) for k in data) or "no numbers"
                raise SourceError(
                    f"data has no {m.group(1)!r}: data= holds {there}",
                    line_of(whole, base + start + m.start()),
                )
            return data[m.group(1)]

        return _DATA.sub(number, piece)

    while True:
        k = code.find("@", at)
        if k < 0:
            out.append(plain(text[at:], at))
            return "".join(out)
        out.append(plain(text[at:k], at))
        line = line_of(whole, base + k)
        m = _NAME.match(code, k + 1)
        if m is None:
            raise SourceError("a name has to follow '@'", line)
        name, end = m.group(), m.end()
        if name in macros:
            out.append(macros[name])
            at = end
            continue
        paren = end
        while paren < len(code) and code[paren].isspace():
            paren += 1
        if paren >= len(code) or code[paren] != "(":
            raise SourceError(
                f"@{name} has to be followed by indices: @{name}(i, …)"
                if name in arrays
                else _unknown(name, arrays),
                line,
            )
        close = closing(code, paren, line)
        inner = text[paren + 1 : close]
        if name == "alias":
            out.append("\n" * text.count("\n", k, close + 1))
            at = close + 1
            continue
        array = arrays.get(name)
        if array is None:
            raise SourceError(_unknown(name, arrays), line)
        given = _expand(
            inner, code[paren + 1 : close], base + paren + 1, whole, arrays, macros, data, replace
        )
        indices = split_arguments(given, blanked(given))
        if len(indices) != array.rank:
            raise SourceError(
                f"@{name} takes {array.rank} indices ({name} has {array.rank} dimensions), "
                f"{len(indices)} are given",
                line,
            )
        # One past the end is no access: std::sort(&@out(0), &@out(n)).
        before = code[:k].rstrip()
        address = before.endswith("&") and not before.endswith("&&")
        out.append(replace(array, name, indices, address))
        at = close + 1


def _unknown(name: str, arrays: Mapping[str, Array]) -> str:
    return f"@{name}: there is no array {name!r}; there are {', '.join(arrays) or 'none'}"


def tokens(code: str) -> Iterator[tuple[str, int]]:
    """Words, numbers and operators of blanked text, with positions."""
    pattern = re.compile(
        r"[A-Za-z_]\w*|\.?\d[\w.']*(?:(?<=[eE])[+-]\d+)?|<<<|>>>|<<=|>>=|->|::|\+\+|--|&&|\|\|"
        r"|[-+*/%&|^=<>!]=|<<|>>|\S"
    )
    for m in pattern.finditer(code):
        yield m.group(), m.start()
