"""Files other than Python sources: notebooks, requirements, packaging, Dockerfiles, Markdown.

Each module here is one kind of file and is found here; there is no list. A file is read with its
format's own parser, and only the characters of what changes are replaced, so that everything else
(comments, outputs of notebooks, order, indentation) stays byte for byte.
"""

import importlib
import pkgutil
from functools import cache

from cupola_transpiler.formats.base import Format

__all__ = ["Format", "discover", "find"]


@cache
def discover() -> tuple[Format, ...]:
    """One instance of every format, by code."""
    found: dict[str, Format] = {}
    for info in pkgutil.iter_modules(__path__):
        home = importlib.import_module(f"{__name__}.{info.name}")
        for kind in vars(home).values():
            mine = isinstance(kind, type) and kind.__module__ == home.__name__
            if mine and issubclass(kind, Format) and kind is not Format:
                found[kind.code] = kind()
    return tuple(found[code] for code in sorted(found))


def find(path: str, docs: bool = True) -> Format | None:
    """The format of a file by its path; None for Python sources and for what is not converted.

    docs: whether documentation is converted too.
    """
    for kind in discover():
        if kind.matches(path) and (docs or not kind.is_documentation):
            return kind
    return None
