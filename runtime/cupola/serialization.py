"""Checkpoints (torch.serialization)."""

from __future__ import annotations

from typing import Any

from cupola.io import load, save


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Classes that a file may name: the reader never calls what a file names, so none is needed."""


def clear_safe_globals() -> None:
    """No class was added."""


def get_safe_globals() -> list[Any]:
    """No class was added."""
    return []


class safe_globals:
    """Classes that a file may name inside a ``with`` block; none is needed."""

    def __init__(self, safe_globals: list[Any]) -> None:
        self.safe_globals = safe_globals

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "load",
    "safe_globals",
    "save",
]
