"""Markdown: the Python and shell examples between code fences (with --docs)."""

import re
from collections.abc import Iterator

from cupola_transpiler.formats import shell
from cupola_transpiler.formats.base import Format, Rewrite
from cupola_transpiler.formats.joined import Joined, parses
from cupola_transpiler.link import Link

_PYTHON = frozenset("python py python3 ipython pycon python-console ipython3".split())
_SHELL = frozenset("bash sh shell console shell-session zsh bat powershell".split())
_PROMPT = re.compile(r"[ \t]*(?:>>> |>>>$|\.\.\. |\.\.\.$)")
_SHELL_PROMPT = re.compile(r"[ \t]*(?:\$|%|>) ")


class Markdown(Format):
    """Fences as CommonMark has them, read by markdown-it; those of a page are one module.

    Examples that are not Python by themselves (with `...` for what is left out, say) stay.
    """

    code = "markdown"
    names = ("*.md", "*.markdown")
    is_documentation = True

    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        joined, pieces = Joined(), []
        for language, lines in _fences(text):
            if language in _SHELL:
                for start, line in _shell_lines(lines):
                    pieces += shell.pieces(line, start)
            elif language in _PYTHON:
                code = _code(lines)
                part = "".join(line for _, line in code)
                if parses(part):
                    places = [at + i for at, line in code for i in range(len(line))]
                    joined.add(part, places, [at + 1 for at in places])
        found, remarks = joined.rewrite(path, link)
        return Rewrite(tuple(sorted([*pieces, *found])), tuple(remarks))


def _fences(text: str) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """The language of each fence, and its lines with the offset of each."""
    from markdown_it import MarkdownIt

    raw = text.splitlines(keepends=True)
    starts = [0]
    for line in raw:
        starts.append(starts[-1] + len(line))
    for token in MarkdownIt("commonmark").parse(text):
        if token.type != "fence" or token.map is None:
            continue
        words = re.split(r"[\s,{}.:]+", token.info.strip().lower().lstrip("{."))
        lines = []
        for number, line in enumerate(token.content.splitlines(), token.map[0] + 1):
            whole = raw[number]
            body = whole.rstrip("\r\n")
            if not body.endswith(line):  # tabs that were widened: not worth a guess
                lines = []
                break
            lines.append((starts[number] + len(body) - len(line), line + whole[len(body) :]))
        yield words[0], lines


def _code(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The lines that are code: behind prompts, where there are prompts."""
    if not any(line.lstrip().startswith(">>>") for _, line in lines):
        return lines
    found = []
    for at, line in lines:
        prompt = _PROMPT.match(line)
        if prompt is not None:
            found.append((at + prompt.end(), line[prompt.end() :]))
    return found


def _shell_lines(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Commands, with the lines that continue them where nothing lies between."""
    waiting: tuple[int, str] | None = None
    for at, line in lines:
        prompt = _SHELL_PROMPT.match(line) if waiting is None else None
        at, line = (at + prompt.end(), line[prompt.end() :]) if prompt is not None else (at, line)
        if waiting is not None and waiting[0] + len(waiting[1]) == at:
            at, line = waiting[0], waiting[1] + line
        elif waiting is not None:
            yield waiting
        waiting = (at, line) if line.rstrip("\r\n").endswith("\\") else None
        if waiting is None:
            yield at, line
    if waiting is not None:
        yield waiting
