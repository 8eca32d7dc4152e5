"""Names that torchvision has and this package does not: found in cupola where that has them under
another module, else placeholders that import and raise where they are called.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

from cupola.unsupported import NOT_YET, placeholder

FACE = "cupola_compat.torchvision"
# Where cupola keeps what torchvision has below a module.
HOMES = {"models": "cupola.models", "ops": "cupola.vision"}


@functools.cache
def names() -> dict[str, dict[str, str]]:
    """The names of each of torchvision's modules, with the module that shows each to the public."""
    text = resources.files(__package__).joinpath("torchvision_names.txt").read_text("utf-8")
    found: dict[str, dict[str, str]] = {}
    inside: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(" "):
            inside.update(word.partition("=")[::2] for word in line.split())
        elif not line.startswith("#"):
            inside = found.setdefault(line, {})
    return found


def _candidates(module: str) -> Iterator[Any]:
    """cupola's modules in which a name of torchvision.`module` may be."""
    top, _, rest = module.partition(".")
    home = HOMES.get(top)
    if home is None:
        return
    while rest:
        if importlib.util.find_spec(home) and _exists(f"{home}.{rest}"):
            yield importlib.import_module(f"{home}.{rest}")
        rest = rest.rpartition(".")[0]
    yield importlib.import_module(home)


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def module_getattr(module: str, reason: str = NOT_YET) -> Callable[[str], Any]:
    """Returns a module `__getattr__` for what torchvision.`module` has and its face has not."""

    def __getattr__(name: str) -> Any:
        theirs = f"torchvision.{module}" if module else "torchvision"
        home = names().get(theirs, {}).get(name)
        if f"{theirs}.{name}" in names():
            return importlib.import_module(
                f"{FACE}.{module}.{name}" if module else f"{FACE}.{name}"
            )
        if home is None:
            raise AttributeError(f"module '{theirs}' has no attribute {name!r}")
        if home.startswith("!"):
            place, _, part = home[1:].partition(":")
            standard = importlib.import_module(place)
            return getattr(standard, part) if part else standard
        for candidate in _candidates(module):
            found = getattr(candidate, name, None)
            if found is not None:
                return found
        if home:
            public = importlib.import_module(FACE + home.removeprefix("torchvision"))
            return getattr(public, name)
        return placeholder(f"{theirs}.{name}", reason)

    return __getattr__


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for modules that torchvision has and this package has not."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if not fullname.startswith(FACE + "."):
            return None
        if "torchvision" + fullname.removeprefix(FACE) not in names():
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        own = module.__name__.removeprefix(FACE + ".")
        module.__getattr__ = module_getattr(own)  # type: ignore[method-assign]


def install() -> None:
    """Puts the finder behind Python's own, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
