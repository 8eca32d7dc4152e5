"""Pieces of Python in another file, read as one module, with the way back to their places."""

import ast
import warnings
from collections.abc import Sequence

from cupola_transpiler.convert import Piece, Remark, Rewrite, check_parses, rewrite, splice
from cupola_transpiler.link import Link


class Joined:
    """One source text made of parts; every character knows where in the file it is written."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, text: str, starts: Sequence[int], ends: Sequence[int]) -> None:
        """Adds a part, with the place of each character; it ends its last line."""
        if not text:
            return
        self.parts.append(text)
        self.starts += starts
        self.ends += ends
        if not text.endswith("\n"):
            self.parts.append("\n")
            self.starts.append(ends[-1])
            self.ends.append(ends[-1])

    @property
    def text(self) -> str:
        """The source text."""
        return "".join(self.parts)

    def rewrite(self, path: str, link: Link) -> tuple[list[Piece], list[Remark]]:
        """What the rules change and say, at the places of the file."""
        text = self.text
        if "torch" not in text:
            return [], []
        found: Rewrite = rewrite(path, text, link)
        if found.pieces:
            check_parses(path, text, splice(text, [p[:3] for p in found.pieces]))
        pieces = [Piece(*self.place(p.start, p.end), p.text, p.rule) for p in found.pieces]
        remarks = [r._replace(start=self.place(r.start, r.start)[0]) for r in found.remarks]
        return pieces, remarks

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where in the file the characters start:end of the text are."""
        first = self.starts[start] if start < len(self.starts) else self.ends[-1]
        return first, first if end == start else self.ends[end - 1]


def parses(text: str) -> bool:
    """Whether a part is Python; `await` outside of a function is, in notebooks."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "part", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
