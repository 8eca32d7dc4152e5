"""Jupyter notebooks: code cells, and the installation commands in them.

The cells of a notebook are one module: what one imports, others use. Outputs, metadata and text
cells are not touched: only characters inside the strings of code cells change, which Jupyter's own
writer could not promise, since it lays out the whole file anew.
"""

from collections.abc import Iterator
from typing import Any

from cupola_transpiler.formats import ipython, json_text, shell
from cupola_transpiler.formats.base import ConvertError, Format, Piece, Rewrite
from cupola_transpiler.formats.joined import Joined
from cupola_transpiler.link import Link


class Notebook(Format):
    """Notebooks of nbformat 3 and later whose language is Python."""

    code = "notebook"
    names = ("*.ipynb",)

    def rewrite(self, path: str, text: str, link: Link) -> Rewrite:
        try:
            notebook = json_text.read(text)
        except (ValueError, RecursionError) as error:
            raise ConvertError(f"is not a notebook: {error}") from error
        if not isinstance(notebook, dict) or _language(notebook) not in ("", "python"):
            return Rewrite()
        joined, pieces = Joined(), []
        for strings in _cells(notebook):
            source = "".join(strings)
            if "torch" not in source and "import" not in source and "def " not in source:
                continue
            starts: list[int] = []
            ends: list[int] = []
            for string in strings:
                first, last = json_text.places(text, string)
                starts += first
                ends += last
            cell = ipython.read(source)
            for start, end in cell.shell:
                for piece in shell.pieces(source[start:end], start):
                    here = starts[piece.start] if piece.start < len(starts) else ends[-1]
                    there = here if piece.end == piece.start else ends[piece.end - 1]
                    pieces.append(piece._replace(start=here, end=there))
            if cell.python is not None:
                joined.add(cell.python, starts, ends)
        found, remarks = joined.rewrite(path, link)
        pieces = [p._replace(text=json_text.escaped(p.text)) for p in (*pieces, *found)]
        return Rewrite(tuple(sorted(pieces)), tuple(remarks))

    def check(self, path: str, before: str, after: str, link: Link) -> None:
        super().check(path, before, after, link)
        old, new = json_text.read(before), json_text.read(after)
        if _without_code(old) != _without_code(new):
            raise ConvertError("more than its code would change; the notebook is left alone")


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    if not isinstance(metadata, dict):
        return ""
    for key, field in (("language_info", "name"), ("kernelspec", "language")):
        part = metadata.get(key)
        if isinstance(part, dict) and isinstance(part.get(field), str):
            return str(part[field]).lower()
    return ""


def _code(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The code cells, each with the key of its source."""
    sheets = notebook.get("worksheets") or [notebook]
    for sheet in sheets if isinstance(sheets, list) else ():
        cells = sheet.get("cells") if isinstance(sheet, dict) else None
        for cell in cells if isinstance(cells, list) else ():
            if isinstance(cell, dict) and cell.get("cell_type") == "code":
                yield cell, "input" if "input" in cell else "source"


def _cells(notebook: dict[str, Any]) -> Iterator[list[json_text.Placed]]:
    for cell, key in _code(notebook):
        source = cell.get(key, [])
        strings = source if isinstance(source, list) else [source]
        if all(isinstance(s, json_text.Placed) for s in strings):
            yield strings


def _without_code(notebook: dict[str, Any]) -> dict[str, Any]:
    for cell, key in _code(notebook):
        cell[key] = None
    return notebook


__all__ = ["Notebook", "Piece"]
