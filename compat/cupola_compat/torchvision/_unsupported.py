"""Names that exist, so that code imports, and raise where they are called."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from importlib import resources
from typing import Any

from cupola.errors import UnsupportedError


def unsupported(name: str, reason: str) -> type:
    """Returns a class that raises UnsupportedError when it, or a subclass of it, is called."""

    def raise_at_the_call(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(name, reason)

    body = {"__new__": raise_at_the_call, "__doc__": f"Not supported: {reason}."}
    return type(name.rpartition(".")[2], (), body)


@functools.cache
def _names() -> dict[str, frozenset[str]]:
    text = resources.files(__package__).joinpath("unsupported.toml").read_text(encoding="utf-8")
    return {module: frozenset(table["names"]) for module, table in tomllib.loads(text).items()}


def module_getattr(module: str, reason: str) -> Callable[[str], Any]:
    """Returns a module `__getattr__` for what torchvision.`module` has and we do not support."""

    def __getattr__(name: str) -> Any:
        if name not in _names()[module]:
            raise AttributeError(f"module 'torchvision.{module}' has no attribute {name!r}")
        return unsupported(f"torchvision.{module}.{name}", reason)

    return __getattr__
