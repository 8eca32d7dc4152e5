"""What a conversion rule is. Each is a file in rules/ and is found there; there is no list.

A rule looks at a resolved Module and yields edits and findings. It carries its own documentation
(docstring) and
its own examples: VALID sources come out unchanged and without findings; each INVALID pair is a
source and what it becomes. The tests run all of them.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from cupola_transpiler.module import Module
from cupola_transpiler.scope import Anchor


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text at an anchor."""

    anchor: Anchor
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the reader of the report must know about a place.

    level: unsupported (cupola does not have it), remains (torch is still named here), ignored (a
    comment keeps it) or note.
    """

    anchor: Anchor
    level: str
    name: str
    reason: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class NeedsImport:
    """The rewritten code uses a module: `statement` is added at the top of the file."""

    statement: str


Result = Edit | Finding | NeedsImport


class Rule(ABC):
    """Base of all rules."""

    code: ClassVar[str]
    VALID: ClassVar[list[str]] = []
    INVALID: ClassVar[list[tuple[str, str]]] = []

    @abstractmethod
    def check(self, module: Module) -> Iterator[Result]:
        """Yields what this rule does to a module."""

    @classmethod
    def title(cls) -> str:
        """The first line of the rule's documentation."""
        return (cls.__doc__ or "").strip().partition("\n")[0]


@cache
def discover() -> tuple[Rule, ...]:
    """One instance of every rule in rules/, by code."""
    package = importlib.import_module("cupola_transpiler.rules")
    found: dict[str, Rule] = {}
    for info in pkgutil.iter_modules(package.__path__):
        home = importlib.import_module(f"{package.__name__}.{info.name}")
        for kind in vars(home).values():
            mine = isinstance(kind, type) and kind.__module__ == home.__name__
            if mine and issubclass(kind, Rule):
                found[kind.code] = kind()
    return tuple(found[code] for code in sorted(found))
