"""Names that exist, so that code imports, and raise where they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.errors import UnsupportedError


def unsupported(name: str, reason: str) -> type:
    """Returns a class that raises UnsupportedError when it, or a subclass of it, is called."""

    def raise_at_the_call(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(name, reason)

    body = {"__new__": raise_at_the_call, "__doc__": f"Not supported: {reason}."}
    return type(name.rpartition(".")[2], (), body)


def module_getattr(module: str, reason: str) -> Callable[[str], Any]:
    """Returns a module `__getattr__` that gives an unsupported class for every public name."""

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return unsupported(f"{module}.{name}", reason)

    return __getattr__
