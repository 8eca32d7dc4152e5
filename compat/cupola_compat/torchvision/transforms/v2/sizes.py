"""Sizes and paddings as the second interface takes them."""

from __future__ import annotations

import numbers
from typing import Any


def pair(size: Any) -> tuple[int, int]:
    """Height and width, of one number or of a list."""
    if isinstance(size, numbers.Number):
        return (int(size), int(size))  # type: ignore[call-overload]
    return (size[0], size[0]) if len(size) == 1 else tuple(size)


def center_anchor(part: tuple[int, int], whole: Any) -> tuple[int, int]:
    """The upper left corner [top, left] of the middle part."""
    return round((whole[0] - part[0]) / 2.0), round((whole[1] - part[1]) / 2.0)


def parsed_padding(padding: Any) -> list[int]:
    """[left, top, right, bottom], of one number, of [left/right, top/bottom], or of all four.

    Raises:
        TypeError: neither a number nor a list.
        ValueError: a list of another length.
    """
    if isinstance(padding, int):
        return [padding] * 4
    if not isinstance(padding, (tuple, list)):
        raise TypeError(
            f"`padding` should be an integer or tuple or list of integers, but got {padding}"
        )
    if len(padding) not in (1, 2, 4):
        raise ValueError(
            f"Padding must be an int or a 1, 2, or 4 element tuple or list. Found {len(padding)}"
        )
    return list(padding) * (4 // len(padding))


def resized(canvas_size: Any, size: Any, max_size: int | None = None) -> tuple[int, int]:
    """Height and width after resizing: `size` is both sides, the shorter one, or None where
    `max_size` is the longer one.

    Raises:
        ValueError: `max_size` does not go with `size`.
    """
    height, width = canvas_size
    short, long = sorted((height, width))
    if size is None:
        if not isinstance(max_size, int):
            raise ValueError(
                f"max_size must be an integer when size is None, but got {max_size} instead."
            )
        new_short, new_long = int(max_size * short / long), max_size
    else:
        sides = [size] if isinstance(size, int) else list(size)
        if len(sides) == 2:
            if max_size is not None:
                raise ValueError(
                    "max_size should only be passed if size is None or specifies the length of "
                    "the smaller edge"
                )
            return sides[0], sides[1]
        new_short, new_long = sides[0], int(sides[0] * long / short)
        if max_size is not None:
            if max_size <= new_short:
                raise ValueError(
                    f"max_size = {max_size} must be strictly greater than the requested "
                    f"size for the smaller edge size = {size}"
                )
            if new_long > max_size:
                new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_short, new_long) if height <= width else (new_long, new_short)
