"""Answers `import torch` with cupola, for third-party code that was not converted."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types

TARGETS = {"torch": "cupola", "torchvision": "cupola_compat.torchvision"}


def target(name: str) -> str | None:
    """Returns the module that stands for the module `name`, or None when it is not torch's.

    >>> target("torch.nn.functional")
    'cupola.nn.functional'
    >>> target("torchmetrics") is None
    True
    """
    root, _, rest = name.partition(".")
    if root not in TARGETS:
        return None
    return f"{TARGETS[root]}.{rest}" if rest else TARGETS[root]


class _Loader(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        try:
            stand_in = importlib.import_module(target(name))
        except ModuleNotFoundError as error:
            if error.name and not target(name).startswith(error.name):
                raise
            raise ModuleNotFoundError(
                f"cupola has nothing that stands for the module {name}", name=name
            ) from None
        # The import system takes what it finds under this name afterwards, so that both names give
        # one module object and the stand-in keeps its own __spec__.
        sys.modules[name] = stand_in


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, module=None):
        where = target(name)
        if where is None:
            return None
        try:
            found = importlib.util.find_spec(where)
        except ModuleNotFoundError:
            found = None
        if found is None and where not in sys.modules:
            return None
        package = found is not None and found.submodule_search_locations is not None
        return importlib.machinery.ModuleSpec(name, _Loader(), is_package=package)


_finder = _Finder()


def installed() -> bool:
    """Tells whether `import torch` gives cupola."""
    return _finder in sys.meta_path


def install() -> None:
    """Makes `import torch` and `import torchvision`, submodules included, give cupola's modules.

    Call it before anything imports torch. Calling it again changes nothing.

    Raises:
        RuntimeError: the real torch has been imported already.
    """
    if installed():
        return
    present = sys.modules.get("torch")
    if present is not None and not present.__name__.startswith("cupola"):
        raise RuntimeError(
            "torch has been imported already: call cupola_compat.install() before the first import "
            "of torch, at the top of the program"
        )
    sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Undoes `install`: afterwards `import torch` looks for the real torch again."""
    if not installed():
        return
    sys.meta_path.remove(_finder)
    for name in [n for n in sys.modules if target(n) is not None]:
        del sys.modules[name]
