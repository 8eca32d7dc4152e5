"""Gradient modes: context managers that also decorate functions and generators."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from cupola.ir.mode import mode


class _Decorator:
    """A context manager that decorates functions, generator functions and classes' methods."""

    def clone(self) -> _Decorator:
        return type(self)()

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isclass(function):
            return _decorate_class(self, function)
        if inspect.isgeneratorfunction(function):
            return _decorate_generator(self, function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapper


def _decorate_class(context: _Decorator, cls: Any) -> Any:
    original = cls.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        with context.clone():
            original(self, *args, **kwargs)

    cls.__init__ = init
    return cls


def _decorate_generator(context: _Decorator, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        try:
            with context.clone():
                value = generator.send(None)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    with context.clone():
                        generator.close()
                    raise
                except BaseException as error:
                    with context.clone():
                        value = generator.throw(error)
                else:
                    with context.clone():
                        value = generator.send(sent)
        except StopIteration as stop:
            return stop.value

    return wrapper


class _GradMode(_Decorator):
    enabled: bool

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        self.saved: list[bool] = []

    def __new__(cls, function: Any = None) -> Any:
        self = super().__new__(cls)
        if callable(function):  # used as @no_grad without parentheses
            self.__init__()  # type: ignore[misc]
            return self(function)
        return self

    def __enter__(self) -> None:
        self.saved.append(mode.grad)
        mode.grad = self.enabled

    def __exit__(self, *exc: object) -> None:
        mode.grad = self.saved.pop()


class no_grad(_GradMode):
    """Stops recording for gradients (torch.no_grad)."""

    enabled = False


class enable_grad(_GradMode):
    """Records for gradients again inside ``no_grad`` (torch.enable_grad)."""

    enabled = True


class set_grad_enabled(_Decorator):
    """Switches gradient recording; acts at once, and as a context manager restores
    (torch.set_grad_enabled).
    """

    def __init__(self, mode_: bool) -> None:
        self.previous = mode.grad
        self.enabled = mode_
        mode.grad = mode_

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode.grad = self.previous
        return super().__call__(function)

    def clone(self) -> set_grad_enabled:
        return set_grad_enabled(self.enabled)

    def __enter__(self) -> None:
        mode.grad = self.enabled

    def __exit__(self, *exc: object) -> None:
        mode.grad = self.previous


class inference_mode(_Decorator):
    """Like ``no_grad``; results count as inference tensors (torch.inference_mode)."""

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if callable(mode):
            self.__init__()  # type: ignore[misc]
            return self(mode)
        return self

    def __init__(self, mode: bool = True) -> None:
        self.enabled = mode
        self.saved: list[tuple[bool, bool]] = []

    def clone(self) -> inference_mode:
        made: inference_mode = inference_mode(self.enabled)
        return made

    def __enter__(self) -> None:
        self.saved.append((mode.grad, mode.inference))
        if self.enabled:
            mode.grad = False
        mode.inference = self.enabled

    def __exit__(self, *exc: object) -> None:
        mode.grad, mode.inference = self.saved.pop()


def is_grad_enabled() -> bool:
    """Whether operators are recorded for gradients."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether ``inference_mode`` is active."""
    return mode.inference
