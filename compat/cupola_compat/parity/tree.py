"""Two trees with the same module names in one process, each with its own modules when active."""

from __future__ import annotations

import importlib
import pathlib
import sys
from typing import Any


class Tree:
    """A folder of Python modules that are importable only inside `with tree:`.

    On leaving, the modules that come from the folder are taken out of sys.modules and kept;
    entering again puts them back, so that imports made late, while the model runs, find the right
    tree.
    """

    def __init__(self, path: pathlib.Path | str):
        path = pathlib.Path(path).resolve()
        self.root = path if path.is_dir() else path.parent
        self.modules: dict[str, Any] = {}

    def __enter__(self) -> Tree:
        sys.path.insert(0, str(self.root))
        sys.modules.update(self.modules)
        importlib.invalidate_caches()
        return self

    def __exit__(self, *error: object) -> None:
        sys.path.remove(str(self.root))
        self.modules = {n: m for n, m in list(sys.modules.items()) if self._mine(m)}
        for name in self.modules:
            del sys.modules[name]

    def _mine(self, module: Any) -> bool:
        # From __dict__, since some modules of torch answer any attribute with an object.
        known = getattr(module, "__dict__", {})
        places = [known.get("__file__"), *(known.get("__path__") or ())]
        return any(place and pathlib.Path(place).is_relative_to(self.root) for place in places)

    def entry(self, name: str) -> Any:
        """Returns `package.module:attribute` of this tree; the tree must be active.

        Raises:
            LookupError: there is no such module or attribute.
        """
        module_name, colon, attribute = name.partition(":")
        if not colon or not attribute:
            raise LookupError(f"{name!r} is not of the form module:callable, as in resnet:resnet50")
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise LookupError(f"{self.root}: {error}") from error
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise LookupError(f"{self.root}: {module_name} has no {attribute}")
            found = getattr(found, part)
        return found
