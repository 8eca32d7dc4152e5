"""Checkpoints (torch.serialization)."""

from __future__ import annotations

from cupola.io import load, save
from cupola.io.trusted import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "load",
    "safe_globals",
    "save",
]
