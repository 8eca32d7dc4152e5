"""Arguments that are integers: one, several, or one a spatial dimension."""

from __future__ import annotations

import operator
from typing import Any


def integer(value: Any) -> int:
    """An integer, also one that a tensor or NumPy holds.

    Raises:
        TypeError: anything else, such as 1.0.
    """
    return operator.index(value)


def ints(value: Any) -> tuple[int, ...]:
    """One integer or several; each may be a 0-d tensor or an array of one number."""
    if isinstance(value, int) or getattr(value, "ndim", None) == 0:
        return (int(value),)
    return tuple(int(v) for v in value)


def ntuple(value: Any, n: int, name: str = "argument") -> tuple[int, ...]:
    """``value`` as ``n`` integers; RuntimeError if it has another length."""
    if isinstance(value, int):
        return (value,) * n
    values = ints(value)
    if len(values) == 1:
        return values * n
    if len(values) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values to match the "
            f"spatial dimensions, but got {name}={list(values)}"
        )
    return values


def add_batch(input: Any, n: int, name: str) -> tuple[Any, bool]:
    """``input`` with a batch dimension, and whether it had one."""
    if input.dim() == n + 2:
        return input, True
    if input.dim() == n + 1:
        return input.unsqueeze(0), False
    raise RuntimeError(
        f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of "
        f"size: {list(input.shape)}"
    )
