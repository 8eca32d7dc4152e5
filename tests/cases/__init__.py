"""Sample inputs, one line an operator: each case runs in torch and in cupola and must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class In:
    """A random input: shape, dtype name and the range it is drawn from."""

    shape: tuple[int, ...] = (3, 4)
    dtype: str = "float32"
    low: float = -2.0
    high: float = 2.0
    grad: bool = True


@dataclass(frozen=True)
class Case:
    """``function(module, *tensors)`` with the module being torch or cupola."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[In, ...] = (In(),)
    grad: bool = True
    tolerance: float = 1e-5
    tags: frozenset[str] = field(default_factory=frozenset)


def F(*shape: int, low: float = -2.0, high: float = 2.0, grad: bool = True) -> In:
    """A float32 input."""
    return In(shape, "float32", low, high, grad)


def I(*shape: int, low: int = -5, high: int = 6) -> In:  # noqa: E743
    """An int64 input."""
    return In(shape, "int64", low, high, False)


def B(*shape: int) -> In:
    """A bool input."""
    return In(shape, "bool", 0, 2, False)
