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


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value: its type is for TorchScript only (torch.jit.annotate)."""
    return the_value


def trace_module(mod: Any, inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Returns the module itself (torch.jit.trace_module)."""
    return mod


def freeze(mod: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns the module in evaluation mode, which it has to be in already (torch.jit.freeze).

    Raises:
        RuntimeError: the module is in training mode.
    """
    if getattr(mod, "training", False):
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. "
            "Please call .eval() on your module before freezing."
        )
    return mod


optimize_for_inference = freeze


def script_if_tracing(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function (torch.jit.script_if_tracing)."""
    return fn


def set_fusion_strategy(strategy: Any) -> list[Any]:
    """Accepted: TorchScript's fuser is not here (torch.jit.set_fusion_strategy)."""
    return []


def enable_onednn_fusion(enabled: bool) -> None:
    """Accepted: TorchScript's fuser is not here."""


def onednn_fusion_enabled() -> bool:
    """Whether TorchScript hands its graphs to oneDNN: never."""
    return False


def export_opnames(m: Any) -> list[str]:
    """The operators of a TorchScript program: there is none, so no names."""
    return []


class strict_fusion:
    """A block whose fusion TorchScript would check (torch.jit.strict_fusion)."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


class Attribute(tuple):
    """A value with its type for TorchScript (torch.jit.Attribute)."""

    __slots__ = ()

    def __new__(cls, value: Any, type: Any) -> Any:
        return super().__new__(cls, (value, type))

    value = property(lambda self: self[0])
    type = property(lambda self: self[1])


class Error(RuntimeError):
    """What TorchScript raises from a program: nothing here does (torch.jit.Error)."""


class ScriptFunction:
    """Exists for isinstance checks; nothing is one (torch.jit.ScriptFunction)."""
