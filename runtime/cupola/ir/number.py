"""Python numbers that change from call to call of a captured function."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

# What was done with changing numbers that cannot be followed, since the list was last cleared.
lost: list[str] = []


class Dynamic:
    """A number together with how to compute it anew.

    Arithmetic with other numbers gives a ``Dynamic`` again; a tensor that is made from one reads
    the number of the call that is being replayed.

    Attributes:
        key: the expression: ("source", name) or (operator, operands); equal for equal computations.
        value: the number while recording.
    """

    __slots__ = ("key", "value")

    def __init__(self, key: Any, value: float) -> None:
        self.key = key
        self.value = value

    def __float__(self) -> float:
        lost.append("a learning rate or step count is used outside tensor arithmetic")
        return float(self.value)

    def __int__(self) -> int:
        return int(float(self))

    def __bool__(self) -> bool:
        return bool(float(self))

    __hash__ = None  # type: ignore[assignment]

    def __neg__(self) -> Dynamic:
        return Dynamic(("neg", self.key), -self.value)

    def __repr__(self) -> str:
        return f"Dynamic({self.value})"


def _key(x: Any) -> Any:
    return x.key if isinstance(x, Dynamic) else x


def _apply(name: str, function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    for x in (a, b):
        if not isinstance(x, Dynamic | int | float):
            return NotImplemented
    first = a.value if isinstance(a, Dynamic) else a
    second = b.value if isinstance(b, Dynamic) else b
    return Dynamic((name, _key(a), _key(b)), function(first, second))


def _define(name: str) -> None:
    function = getattr(operator, name)

    def forward(self: Dynamic, other: Any) -> Any:
        return _apply(name, function, self, other)

    def backward(self: Dynamic, other: Any) -> Any:
        return _apply(name, function, other, self)

    setattr(Dynamic, f"__{name}__", forward)
    setattr(Dynamic, f"__r{name}__", backward)


def _define_comparison(name: str) -> None:
    function = getattr(operator, name)

    def compare(self: Dynamic, other: Any) -> bool:
        lost.append("a learning rate or step count decides what is computed")
        return bool(function(self.value, other.value if type(other) is Dynamic else other))

    setattr(Dynamic, f"__{name}__", compare)


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _define_comparison(_name)
for _name in ("add", "sub", "mul", "truediv", "pow"):
    _define(_name)


def evaluate(key: Any, sources: dict[Any, float]) -> float:
    """The number that an expression gives for these values of its sources."""
    if not isinstance(key, tuple):
        return float(key)
    if key[0] == "source":
        return sources[key[1]]
    operands = [evaluate(k, sources) for k in key[1:]]
    return float(getattr(operator, key[0])(*operands))
