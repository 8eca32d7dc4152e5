"""Dockerfiles: the `pip install` and `conda install` commands of RUN instructions."""

import json
import re
from collections.abc import Iterator

from cupola_transpiler.formats import shell
from cupola_transpiler.formats.base import Format, Rewrite, remark
from cupola_transpiler.link import Link

_INSTRUCTION = re.compile(r"[ \t]*(?P<name>[A-Za-z]+)[ \t]+")
_HEREDOC = re.compile(r"<<-?[ \t]*[\"']?(?P<word>[A-Za-z_]\w*)[\"']?")
_STRING = re.compile(r'"(?:\\.|[^"\\])*"')
_FLAG = re.compile(r"(?:--\w[\w-]*(?:=\S*)?[ \t]+)*")


class Dockerfile(Format):
    """RUN instructions in their shell, exec and here-document forms; base images are reported."""

    code = "dockerfile"
    names = ("dockerfile", "dockerfile.*", "*.dockerfile", "containerfile", "containerfile.*")

    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        pieces, remarks = [], []
        for name, start, body in _instructions(text):
            if name == "RUN":
                flags = _FLAG.match(body)
                skip = flags.end() if flags is not None else 0
                start, body = start + skip, body[skip:]
                words = _exec_form(body, start)
                pieces += shell.command(words) if words else shell.pieces(_plain(body), start)
            elif name == "FROM" and re.match(r"(?:\S*/)?pytorch/\S+|\S*pytorch\S*", body):
                image = body.split()[0]
                reason = "the base image brings PyTorch along"
                suggestion = "start from python:3.11-slim, or from nvidia/cuda for a GPU"
                remarks.append(remark(start, "remains", image, reason, suggestion))
        return Rewrite(tuple(pieces), tuple(remarks))


def _instructions(text: str) -> Iterator[tuple[str, int, str]]:
    """Name, offset and text of each instruction, with continued lines and here-documents."""
    lines = text.splitlines(keepends=True)
    at = index = 0
    while index < len(lines):
        line, start = lines[index], at
        at, index = at + len(line), index + 1
        match = _INSTRUCTION.match(line)
        if match is None or line.lstrip().startswith("#"):
            continue
        while index < len(lines) and (
            lines[index - 1].rstrip().endswith("\\")
            or (lines[index - 1].lstrip().startswith("#") and text[start:at].strip())
        ):
            at, index = at + len(lines[index]), index + 1
        here = _HEREDOC.search(text[start:at])
        while here is not None and index < len(lines):
            at, index = at + len(lines[index]), index + 1
            if lines[index - 1].strip() == here["word"]:
                break
        yield match["name"].upper(), start + match.end(), text[start + match.end() : at]


def _plain(body: str) -> str:
    """The text without comment lines between continued lines, which Docker drops; same length."""
    return re.sub(
        r"(?m)^[ \t]*#.*\n?", lambda m: " " * len(m[0]) if "<<" not in body else m[0], body
    )


def _exec_form(body: str, at: int) -> list[shell.Word]:
    """The words of `RUN ["pip", "install", "torch"]`; none if it is not written so."""
    try:
        if not isinstance(json.loads(body), list):
            return []
    except ValueError:
        return []
    return [
        shell.Word(at + m.start(), at + m.end(), str(json.loads(m[0])), '"')
        for m in _STRING.finditer(body)
    ]
