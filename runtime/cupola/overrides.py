"""Classes and modes that take over operators (torch.overrides)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cupola.tensor import Tensor, protocol

__all__ = [
    "get_ignored_functions",
    "get_overridable_functions",
    "handle_torch_function",
    "has_torch_function",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]

_disabled_torch_function_impl = protocol.disabled


def has_torch_function(relevant_args: Any) -> bool:
    """Whether a mode is active, or the class of an argument takes over operators."""
    state = protocol.state
    if state.modes:
        return True
    if not (protocol.taking_over(relevant_args) and state.arguments):
        return False
    protocol.switch_on()
    return True


def has_torch_function_unary(arg: Any) -> bool:
    """``has_torch_function`` of one argument."""
    return has_torch_function((arg,))


def has_torch_function_variadic(*args: Any) -> bool:
    """``has_torch_function`` of arguments given one by one."""
    return has_torch_function(args)


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Any, *args: Any, **kwargs: Any
) -> Any:
    """What the active mode, or the classes of the relevant arguments, make of a call.

    Args:
        public_api: the function that they are told was called.
        relevant_args: the arguments whose classes are asked.
        args, kwargs: all arguments of the call.

    Raises:
        TypeError: none of them has an implementation.
    """
    relevant = protocol.taking_over(relevant_args) if protocol.state.arguments else []
    return protocol.dispatch(public_api, relevant, args, kwargs)


def wrap_torch_function(dispatcher: Callable[..., Any]) -> Any:
    """A decorator for functions that can be taken over.

    Args:
        dispatcher: called as the function is; returns the arguments whose classes are asked.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapped

    return decorate


def is_tensor_like(inp: Any) -> bool:
    """Whether something is a tensor, or of a class that takes over operators."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """Whether a function is a method of Tensor, or reads or writes a property of it."""
    protocol.switch_on()
    return protocol.is_method(func)


def resolve_name(f: Any) -> str:
    """The public name of a function that can be taken over, such as "torch.add"."""
    protocol.switch_on()
    return protocol.name_of(f)


def get_overridable_functions() -> dict[Any, list[Any]]:
    """The functions that can be taken over, by the namespace that holds them."""
    import sys

    found: dict[Any, list[Any]] = {}
    for place in protocol.faces.places:
        space = sys.modules[f"cupola.{place}" if place else "cupola"]
        found[space] = protocol.overridable(place)
    found[Tensor] = protocol.overridable("Tensor")
    return found


def get_ignored_functions() -> set[Any]:
    """Functions that the classes of their arguments cannot take over."""
    names = protocol.MODES_ONLY | protocol.NEVER
    found = {f for n, f in protocol.faces.places.get("", {}).items() if n in names}
    return found | {getattr(Tensor, n) for n in ("as_subclass", "__hash__", "__new__", "__init__")}


def get_default_nowrap_functions() -> set[Any]:
    """Operators whose results ``Tensor.__torch_function__`` leaves as they are."""
    return protocol.unconverted()


class TorchFunctionMode:
    """A mode that is asked about every operator inside a ``with`` block: define
    ``__torch_function__(self, func, types, args=(), kwargs=None)``. While it runs the mode is off.
    """

    inner: TorchFunctionMode

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """What becomes of a call; to be defined by subclasses."""
        raise NotImplementedError

    def __enter__(self) -> TorchFunctionMode:
        _push_mode(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _pop_mode()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> TorchFunctionMode:
        """A new mode of this class."""
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that does what would be done without it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Calls the operator."""
        return func(*args, **(kwargs or {}))


def _push_mode(mode: TorchFunctionMode) -> None:
    protocol.switch_on()
    protocol.state.modes = (*protocol.state.modes, mode)


def _pop_mode() -> Any:
    *rest, mode = protocol.state.modes
    protocol.state.modes = tuple(rest)
    return mode


@contextmanager
def _pop_mode_temporarily() -> Iterator[Any]:
    mode = _pop_mode()
    try:
        yield mode
    finally:
        _push_mode(mode)


def _get_current_function_mode() -> Any:
    modes = protocol.state.modes
    return modes[-1] if modes else None


def _get_current_function_mode_stack() -> list[Any]:
    return list(protocol.state.modes)


def _len_torch_function_stack() -> int:
    return len(protocol.state.modes)


def _is_torch_function_mode_enabled() -> bool:
    return bool(protocol.state.modes)
