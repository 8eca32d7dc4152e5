"""Python numbers that change from call to call of a captured function."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


class Untraceable(Exception):
    """A changing number was used in a way that cannot be followed."""


class Dynamic:
    """A number together with how to compute it anew.

    Arithmetic with other numbers gives a ``Dynamic`` again; a tensor that is made from one reads
    the number of the call that is being replayed.

    Attributes:
        key: the expression, equal for equal computations.
    """

    __slots__ = ("key", "now")

    def __init__(self, key: Any, now: Callable[[], float]) -> None:
        self.key = key
        self.now = now

    def __float__(self) -> float:
        raise Untraceable("a learning rate or step number is used outside tensor arithmetic")

    __int__ = __index__ = __bool__ = __float__

    def _compare(self, other: Any) -> Any:
        raise Untraceable("a learning rate or step number decides what is computed")

    __lt__ = __le__ = __gt__ = __ge__ = _compare

    def __neg__(self) -> Dynamic:
        now = self.now
        return Dynamic(("neg", self.key), lambda: -now())

    def __repr__(self) -> str:
        return f"Dynamic({self.now()})"


def _key(x: Any) -> Any:
    return x.key if isinstance(x, Dynamic) else x


def _apply(name: str, function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    for x in (a, b):
        if not isinstance(x, Dynamic | int | float):
            return NotImplemented
    first = a.now if isinstance(a, Dynamic) else lambda: a
    second = b.now if isinstance(b, Dynamic) else lambda: b
    return Dynamic((name, _key(a), _key(b)), lambda: function(first(), second()))


def _define(name: str) -> None:
    function = getattr(operator, name)

    def forward(self: Dynamic, other: Any) -> Any:
        return _apply(name, function, self, other)

    def backward(self: Dynamic, other: Any) -> Any:
        return _apply(name, function, other, self)

    setattr(Dynamic, f"__{name}__", forward)
    setattr(Dynamic, f"__r{name}__", backward)


for _name in ("add", "sub", "mul", "truediv", "pow"):
    _define(_name)
