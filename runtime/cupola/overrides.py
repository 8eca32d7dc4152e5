"""Subclasses that take over operators (torch.overrides): cupola has no such protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.errors import UnsupportedError
from cupola.tensor import Tensor

__all__ = [
    "handle_torch_function",
    "has_torch_function",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "wrap_torch_function",
]


def has_torch_function(relevant_args: Any) -> bool:
    """Whether an argument takes over operators: never."""
    return False


def has_torch_function_unary(arg: Any) -> bool:
    """Whether the argument takes over operators: never."""
    return False


def has_torch_function_variadic(*args: Any) -> bool:
    """Whether an argument takes over operators: never."""
    return False


def is_tensor_like(inp: Any) -> bool:
    """Whether something is a tensor."""
    return isinstance(inp, Tensor)


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """Whether a function is a method of Tensor."""
    return getattr(Tensor, getattr(func, "__name__", ""), None) is func


def handle_torch_function(func: Any, relevant_args: Any, *args: Any, **kwargs: Any) -> Any:
    """Raises UnsupportedError: operators cannot be taken over."""
    raise UnsupportedError("overrides.handle_torch_function", "operators cannot be taken over")


def get_default_nowrap_functions() -> set[Any]:
    """Functions that are never taken over."""
    return set()


def wrap_torch_function(dispatcher: Any) -> Any:
    """A decorator that changes nothing."""
    return lambda f: f


class TorchFunctionMode:
    """A mode that sees every operator.

    Raises:
        UnsupportedError: always; operators cannot be taken over.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise UnsupportedError("overrides.TorchFunctionMode", "operators cannot be taken over")
