"""Arithmetic on numbers of channels."""

from __future__ import annotations


def make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """Returns the multiple of `divisor` next to `v`, at least `min_value` and at least 0.9 v.

    >>> make_divisible(30, 8), make_divisible(35, 8)
    (32, 32)
    """
    rounded = max(min_value or divisor, int(v + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * v else rounded
