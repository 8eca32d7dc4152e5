"""The folder `_cupola_vendor` of a repository, for its files that import what is in it."""

from __future__ import annotations

import pathlib
import sys

FOLDER = "_cupola_vendor"


def use(file: str | None = None) -> None:
    """Makes the packages in the nearest `_cupola_vendor` importable, before installed ones.

    Args:
        file: the file that asks; the folder is looked for beside it and above. Without one (in a
            notebook), from the current folder upward.

    Raises:
        ModuleNotFoundError: there is no such folder.
    """
    here = pathlib.Path(file).resolve().parent if file else pathlib.Path.cwd()
    for folder in (here, *here.parents):
        found = str(folder / FOLDER)
        if (folder / FOLDER).is_dir():
            if found not in sys.path:
                sys.path.insert(0, found)
            return
    raise ModuleNotFoundError(f"there is no folder {FOLDER} at or above {here}")
