"""The model builders are importable; they are built by cupola.models where that has them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from cupola_compat.torchvision._unsupported import module_getattr

_unsupported = module_getattr(
    "models", "cupola.models has no such builder; convert the model's own source"
)


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and importlib.util.find_spec("cupola.models") is not None:
        found = getattr(importlib.import_module("cupola.models"), name, None)
        if found is not None:
            return found
    return _unsupported(name)
