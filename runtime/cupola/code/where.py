"""From lines of a source to lines of the Python file that it stands in."""

from __future__ import annotations

import linecache
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

_HERE = str(Path(__file__).parent)
_GCC = re.compile(r"^(?P<mark>cupola_\w+):(?P<line>\d+):(?:\d+:)? *(?P<text>.*)$")
_NVRTC = re.compile(r"^(?P<mark>cupola_\w+)\((?P<line>\d+)\): *(?P<text>.*)$")
_LEVELS = ("error", "fatal error", "catastrophic error")


class CompileError(RuntimeError):
    """A compiler, or cupola's own reading of the notation, rejects a source given to
    ``cupola.code``.

    Attributes:
        filename, lineno: where the first error is, in the user's Python file if it was found there.
        log: the compiler's own messages.
    """

    def __init__(self, message: str, filename: str, lineno: int, log: str = "") -> None:
        super().__init__(message)
        self.filename = filename
        self.lineno = lineno
        self.log = log


@dataclass(frozen=True)
class Caller:
    """Where ``cupola.code`` was called."""

    filename: str
    lineno: int


def caller() -> Caller:
    """The first frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return Caller(frame.f_code.co_filename, frame.f_lineno)


@dataclass
class Text:
    """One source as the user wrote it.

    Attributes:
        argument: the name of the argument, such as ``cpu_src``.
        text: its value.
        called: where the operator was called.
    """

    argument: str
    text: str
    called: Caller
    _first: int | None = field(default=None, repr=False)

    def place(self, line: int) -> tuple[str, int]:
        """File and line in it of a line of the text (from 1); of the call if the text is not in
        the file.
        """
        if self._first is None:
            self._first = _find(self.text, self.called)
        if self._first < 0:
            return self.called.filename, self.called.lineno
        return self.called.filename, self._first + line - 1

    def describe(self, line: int, what: str) -> str:
        """``file:line: what``, and the line itself."""
        filename, number = self.place(line)
        own = self.text.split("\n")
        shown = own[line - 1].strip() if 0 < line <= len(own) else ""
        note = "" if self._first is not None and self._first >= 0 else f" (line {line})"
        return f"{filename}:{number}: {self.argument}{note}: {what}" + (
            f"\n    {shown}" if shown else ""
        )

    def error(self, line: int, what: str, log: str = "") -> CompileError:
        """A CompileError at a line of the text."""
        return CompileError(f"cupola.code: {self.describe(line, what)}", *self.place(line), log)


def _find(text: str, called: Caller) -> int:
    """The line of the file that holds the text's first line, nearest to the call; -1: none."""
    lines = text.split("\n")
    file = [x.rstrip("\r\n") for x in linecache.getlines(called.filename)]
    best = -1
    for start in range(len(file) - len(lines) + 1):
        if _matches(lines, file, start):
            distance = abs(start + 1 - called.lineno)
            if best < 0 or distance < abs(best - called.lineno):
                best = start + 1
    return best


def _matches(lines: list[str], file: list[str], start: int) -> bool:
    if len(lines) == 1:
        return bool(lines[0].strip()) and lines[0] in file[start]
    if not file[start].endswith(lines[0]):
        return False
    if any(file[start + k] != lines[k] for k in range(1, len(lines) - 1)):
        return False
    return file[start + len(lines) - 1].startswith(lines[-1])


def translated(log: str, texts: dict[str, Text], compiler: str) -> CompileError:
    """A compiler's messages, with the user's files and lines.

    Args:
        log: the messages.
        texts: by the marker that ``#line`` gave.
    """
    messages: list[str] = []
    first: tuple[str, int] | None = None
    for row in log.splitlines():
        m = _GCC.match(row) or _NVRTC.match(row)
        if m is None or m["mark"] not in texts:
            if re.search(r"\berror\b|undefined reference|cannot find", row):
                messages.append(row.strip())
            continue
        level = m["text"].split(":")[0].strip()
        if level not in (*_LEVELS, "note"):
            continue
        source = texts[m["mark"]]
        what = m["text"].partition(":")[2].strip() if level != "note" else m["text"]
        messages.append(source.describe(int(m["line"]), what))
        if first is None and level != "note":
            first = source.place(int(m["line"]))
    if first is None:
        one = next(iter(texts.values()))
        first = (one.called.filename, one.called.lineno)
    body = "\n".join(messages) or log.strip()
    name = Path(compiler).name
    return CompileError(f"cupola.code: {name} rejects the source\n{body}", *first, log)
