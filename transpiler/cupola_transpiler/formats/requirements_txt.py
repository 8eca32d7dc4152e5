"""requirements.txt: what `pip install -r` reads."""

import re

from cupola_transpiler.formats.base import Format, Piece, Rewrite, remark
from cupola_transpiler.link import Link
from cupola_transpiler.requirement import (
    CODE,
    INDEX,
    List,
    is_pytorch_family,
    read,
)

_COMMENT = re.compile(r"(?:^|[ \t])#[^\r\n]*")
_INDEX_OPTION = re.compile(r"[ \t]*(?:-f|-i|--find-links|--index-url|--extra-index-url)[ \t=]+")
_IGNORE = re.compile(r"#[ \t]*cupola:[ \t]*ignore")


class RequirementsTxt(Format):
    """Lists of requirements and constraints for pip.

    A line that pins hashes is reported and stays: the hashes of another package are not known.
    """

    code = "requirements"
    names = (
        "*requirements*.txt", "*requirements*.in", "*constraints*.txt", "*/requirements/*.txt",
        "*/requirements/*.in",
    )  # fmt: skip

    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        lines = _logical_lines(text)
        others = [body for _, body, _ in lines if is_pytorch_family(body)]
        taken = List(["cupola"] if any(b.strip().startswith("cupola") for _, b, _ in lines) else [])
        index = " ".join(m[0] for m in INDEX.finditer(text))
        pieces, remarks = [], []
        for start, body, end in lines:
            if _IGNORE.search(text[start:end]):
                continue
            if _INDEX_OPTION.match(body) and INDEX.search(body):
                if not others:
                    pieces.append(Piece(start, end, "", CODE))
                continue
            found = read(_without_options(body), start)
            if found is None:
                continue
            if "--hash" in body:
                reason = "is pinned by its hash, and cupola's is not known here"
                remarks.append(
                    remark(
                        found.start,
                        "remains",
                        found.name,
                        reason,
                        "compile the list again with cupola",
                    )
                )
                continue
            new = taken.take(found, index)
            if new is None:
                pieces.append(Piece(start, end, "", CODE))
            else:
                pieces.append(Piece(found.start, found.end, new, CODE))
        return Rewrite(tuple(pieces), tuple(remarks))


def _logical_lines(text: str) -> list[tuple[int, str, int]]:
    """Start, text without comments, and end (its line end included) of each line.

    A backslash joins lines, as pip reads them.
    """
    found, at = [], 0
    lines = text.splitlines(keepends=True)
    index = 0
    while index < len(lines):
        whole = lines[index]
        while whole.rstrip("\r\n").endswith("\\") and index + 1 < len(lines):
            index += 1
            whole += lines[index]
        body = _COMMENT.sub(lambda m: " " * len(m[0]), whole).rstrip()
        found.append((at, body, at + len(whole)))
        at += len(whole)
        index += 1
    return found


def _without_options(body: str) -> str:
    """A requirement without the options that may follow it (`--hash`, `--config-settings`)."""
    return re.split(r"[ \t\\\r\n]+--", body, maxsplit=1)[0]
