"""Answers `import torch` with cupola, for third-party code that was not converted."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import pathlib
import sys
import types

from cupola.interop import as_torch

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
        if name == "torch":
            sys.modules[name] = as_torch()
            return
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

    `torch` itself is a module of its own with cupola's names, whose `__version__` is the version of
    PyTorch that cupola stands for; `importlib.metadata.version("torch")` says the same.

    Call it before anything imports torch. Calling it again changes nothing.

    Raises:
        RuntimeError: the real torch has been imported already.
    """
    if installed():
        return
    present = sys.modules.get("torch")
    if present is not None and present is not as_torch():
        raise RuntimeError(
            "torch has been imported already: call cupola_compat.install() before the first import "
            "of torch, at the top of the program"
        )
    sys.meta_path.insert(0, _finder)
    importlib.metadata.distribution = _distribution


_real_distribution = importlib.metadata.distribution


def _distribution(distribution_name: str) -> importlib.metadata.Distribution:
    """`importlib.metadata.distribution`, for which torch and torchvision are installed."""
    if target(distribution_name) is None:
        return _real_distribution(distribution_name)
    return _Distribution(distribution_name)


class _Distribution(importlib.metadata.Distribution):
    """What metadata says of a package that cupola stands for."""

    def __init__(self, name: str) -> None:
        self.of = name

    def read_text(self, filename: str) -> str | None:
        if filename not in ("METADATA", "PKG-INFO"):
            return None
        module = importlib.import_module(self.of)
        return f"Metadata-Version: 2.1\nName: {self.of}\nVersion: {module.__version__}\n"

    def locate_file(self, path: str | os.PathLike[str]) -> pathlib.Path:
        return pathlib.Path(path)


def uninstall() -> None:
    """Undoes `install`: afterwards `import torch` looks for the real torch again."""
    if not installed():
        return
    sys.meta_path.remove(_finder)
    importlib.metadata.distribution = _real_distribution
    for name in [n for n in sys.modules if target(n) is not None]:
        del sys.modules[name]
