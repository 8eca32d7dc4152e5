"""What programs tell PyTorch's compiler (torch.compiler): nothing here depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.jit import compile


def disable(fn: Any = None, recursive: bool = True, **kwargs: Any) -> Any:
    """Returns the function; also a decorator with options."""
    return fn if fn is not None else lambda f: f


def allow_in_graph(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function."""
    return fn


assume_constant_result = allow_in_graph
substitute_in_graph = disable


def is_compiling() -> bool:
    """Whether the caller is being traced: never, programs are recorded as they run."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def reset() -> None:
    """Nothing to forget."""


def cudagraph_mark_step_begin() -> None:
    """Steps need no marks."""


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """Compilers to choose from."""
    return ["cupola"]


__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "list_backends",
    "reset",
    "substitute_in_graph",
]
