"""TorchScript's names (torch.jit): programs run as written, so these return their argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns the function or module itself (torch.jit.script)."""
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Returns the function or module itself (torch.jit.trace)."""
    return func


def _itself(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


unused = export = script_method = interface = _itself


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """Decorates what TorchScript would leave out, as ``@ignore`` or ``@ignore(drop=True)``."""
    return drop if callable(drop) else _itself


def is_scripting() -> bool:
    """Whether code runs inside TorchScript: never."""
    return False


def is_tracing() -> bool:
    """Whether code is being traced by TorchScript: never."""
    return False


class ScriptModule:
    """Exists for isinstance checks; nothing is one (torch.jit.ScriptModule)."""


class Final:
    """Annotation of constants (torch.jit.Final)."""

    def __class_getitem__(cls, item: Any) -> Any:
        return item
