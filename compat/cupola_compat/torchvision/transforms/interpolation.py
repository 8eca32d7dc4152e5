"""The names of the interpolation methods."""

from __future__ import annotations

import enum


class InterpolationMode(enum.Enum):
    """Interpolation methods by the names that torchvision gives them."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


# Pillow's numbers for them.
PIL_FILTERS = {
    InterpolationMode.NEAREST: 0,
    InterpolationMode.NEAREST_EXACT: 0,
    InterpolationMode.LANCZOS: 1,
    InterpolationMode.BILINEAR: 2,
    InterpolationMode.BICUBIC: 3,
    InterpolationMode.BOX: 4,
    InterpolationMode.HAMMING: 5,
}


def interpolation_mode(mode: InterpolationMode | int | str) -> InterpolationMode:
    """Returns the mode for a mode, its name, or Pillow's number for it."""
    if isinstance(mode, InterpolationMode):
        return mode
    if isinstance(mode, int):
        by_number = {number: name for name, number in reversed(PIL_FILTERS.items())}
        return by_number[mode]
    return InterpolationMode(mode)
