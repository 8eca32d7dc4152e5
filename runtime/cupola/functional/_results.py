"""Several results with names, printed as PyTorch's ``return_types``."""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Callable
from typing import Any


def printed(kind: str) -> Callable[[type], type]:
    """Makes named tuples of a class print as ``torch.return_types.kind``."""

    def described(self: Any) -> str:
        parts = ",\n".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"torch.return_types.{kind}(\n{parts})"

    def change(cls: type) -> type:
        cls.__repr__ = described  # type: ignore[assignment]
        return cls

    return change


def results(name: str, fields: str, kind: str) -> Any:
    """A class of named tuples for the calling module, which has it under ``name``; it prints as
    ``torch.return_types.kind``.
    """
    place = sys._getframe(1).f_globals["__name__"]
    return printed(kind)(namedtuple(name, fields, module=place))  # type: ignore[misc]
