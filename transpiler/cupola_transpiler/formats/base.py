"""What a format is: how one kind of file is read, and what of it is rewritten."""

import fnmatch
from abc import ABC, abstractmethod
from typing import ClassVar

from cupola_transpiler.convert import ConvertError, Piece, Remark, Result, Rewrite, finish
from cupola_transpiler.link import Link
from cupola_transpiler.rule import Finding
from cupola_transpiler.scope import Anchor

NOWHERE = Anchor(None)


class Format(ABC):
    """One kind of file, recognised by its name."""

    code: ClassVar[str]
    # Globs for the last part of a path, or for all of it where they hold a slash.
    names: ClassVar[tuple[str, ...]]
    is_documentation: ClassVar[bool] = False  # converted on request only

    def matches(self, path: str) -> bool:
        """Whether a path (with `/`) names a file of this kind."""
        last = path.rpartition("/")[2].lower()
        return any(
            fnmatch.fnmatchcase(f"/{path}".lower() if "/" in glob else last, glob)
            for glob in self.names
        )

    @abstractmethod
    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        """What changes in a text; ConvertError if it cannot be read."""

    def convert(self, path: str, text: str, link: Link) -> Result:
        """The text with everything rewritten, checked to be as readable as before."""
        result = finish(text, self.rewrite(path, text, link))
        if result.text != text:
            self.check(path, text, result.text, link)
        return result

    def check(self, path: str, before: str, after: str, link: Link) -> None:
        """Raises ConvertError unless the result reads well and leaves nothing to do."""
        again = self.rewrite(path, after, link)
        if again.pieces:
            raise ConvertError(
                f"a second run would change the result again: {again.pieces[0].text!r}"
            )


def remark(start: int, level: str, name: str, reason: str, suggestion: str = "") -> Remark:
    """A finding at a character of a file."""
    return Remark(start, "requirement", Finding(NOWHERE, level, name, reason, suggestion))


__all__ = ["ConvertError", "Format", "Piece", "Rewrite", "remark"]
