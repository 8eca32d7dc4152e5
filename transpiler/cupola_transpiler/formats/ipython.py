"""What a notebook's cells hold besides Python: magics, shell lines, questions."""

import re
from typing import NamedTuple

from cupola_transpiler.formats.joined import parses

_PYTHON_CELLS = frozenset("time timeit capture prun memit python python3 heat mprun".split())
_SHELL_CELLS = frozenset("bash sh script shell system sx".split())
_TIMED = re.compile(
    r"([ \t]*)(%(?:time|timeit|prun|memit)\b(?:[ \t]+-\w+(?:[ \t]+\d+)?)*[ \t]+)(?=\S)"
)
_MAGIC = re.compile(r"[ \t]*[!%]")
_ASSIGNED = re.compile(r"([ \t]*[A-Za-z_][\w., \t]*=[ \t]*)([!%].*)")
_QUESTION = re.compile(r"[ \t]*\?{0,2}[A-Za-z_][\w.]*\?{0,2}[ \t]*")
_PACKAGES = re.compile(r"[ \t]*(?:!|%(?=(?:pip|conda|mamba|uv)\b))")


class Cell(NamedTuple):
    """A cell, read. python: its text with all else blanked out, of the same length; None if that
    is not Python. shell: places of shell text in it.
    """

    python: str | None
    shell: tuple[tuple[int, int], ...]


def read(text: str) -> Cell:
    """Reads a cell."""
    first = re.match(r"\s*%%(\w+)[^\n]*\n?", text)
    if first is not None:
        if first[1] in _SHELL_CELLS:
            return Cell(None, ((first.end(), len(text)),))
        if first[1] not in _PYTHON_CELLS:
            return Cell(None, ())
        line = first[0]
        hidden = "".join(c if c.isspace() else "#" for c in line)
        text = hidden + text[len(line) :]
    if parses(text):
        return Cell(text, ())
    masked, shell = _masked(text)
    return Cell(masked if parses(masked) else None, tuple(shell))


def _masked(text: str) -> tuple[str, list[tuple[int, int]]]:
    out, shell, at, inside = [], [], 0, False
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        end = line[len(body) :]
        timed, assigned = _TIMED.match(body), _ASSIGNED.fullmatch(body)
        if inside:
            new = " " * len(body)
            inside = body.endswith("\\")
            start, stop = shell[-1]
            shell[-1] = (start, stop + len(line))
        elif timed is not None:
            prefix = "0" + " " * (len(timed[2]) - 2) + ";"
            new = timed[1] + prefix + body[timed.end() :]
        elif _MAGIC.match(body):
            new = _zero(body)
            inside = body.endswith("\\")
            packages = _PACKAGES.match(body)
            start = at + (packages.end() if packages is not None else len(body))
            shell.append((start, at + len(line)))
        elif assigned is not None:
            new = assigned[1] + _zero(assigned[2])
        elif "?" in body and _QUESTION.fullmatch(body):
            lead = re.match(r"[ \t]*\?*", body)[0]  # type: ignore[index]
            new = lead.replace("?", "+") + body[len(lead) :].replace("?", " ")
        else:
            new = body
        out.append(new + end)
        at += len(line)
    return "".join(out), shell


def _zero(text: str) -> str:
    """A statement that does nothing, in the place of a text, indented as it is."""
    lead = len(text) - len(text.lstrip())
    return text[:lead] + "0" + " " * (len(text) - lead - 1)
