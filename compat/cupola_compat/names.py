"""Import functions for module names that are known only at run time.

Converted code calls these where a name such as "torch" may arrive in a variable: names of PyTorch
are answered by cupola, every other name by the import system.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import types

from cupola_compat.shim import target


def import_module(name: str, package: str | None = None) -> types.ModuleType:
    """`importlib.import_module`; "torch.nn" gives `cupola.nn`.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    return importlib.import_module(target(name) or name, package)


def find_spec(name: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
    """`importlib.util.find_spec`; "torch" is found, because cupola stands for it."""
    return importlib.util.find_spec(target(name) or name, package)


def version(distribution_name: str) -> str:
    """`importlib.metadata.version`; for torch and torchvision, the version that cupola implements.

    Raises:
        importlib.metadata.PackageNotFoundError: no such distribution is installed.
    """
    stand_in = target(distribution_name)
    if stand_in is None:
        return importlib.metadata.version(distribution_name)
    module = importlib.import_module(stand_in)
    return str(getattr(module, "torch_version", None) or module.__version__)
