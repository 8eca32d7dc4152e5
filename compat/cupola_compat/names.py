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
from collections.abc import Mapping, Sequence
from typing import Any

from cupola_compat.shim import target

# Parts of other packages that import torch, with what stands for them.
PARTS = {
    "einops.layers.torch": "cupola_compat.einops.layers",
    "safetensors.torch": "cupola_compat.safetensors",
}


def _stand_in(name: str) -> str | None:
    return PARTS.get(name) or target(name)


def import_by_name(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> types.ModuleType:
    """`__import__`; "torch.nn" gives `cupola`, and `cupola.nn` if ``fromlist`` names something.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    stand_in = _stand_in(name) if not level else None
    if stand_in is None:
        return __import__(name, globals, locals, fromlist, level)
    module = importlib.import_module(stand_in)
    first = name.partition(".")[0]
    if fromlist or name == first:
        return module
    return importlib.import_module(target(first) or first)


def import_module(name: str, package: str | None = None) -> types.ModuleType:
    """`importlib.import_module`; "torch.nn" gives `cupola.nn`.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    return importlib.import_module(_stand_in(name) or name, package)


def find_spec(name: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
    """`importlib.util.find_spec`; "torch" is found, because cupola stands for it."""
    return importlib.util.find_spec(_stand_in(name) or name, package)


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
