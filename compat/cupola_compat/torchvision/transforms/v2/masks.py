"""What the second interface's functions do to masks (…, H, W): never between two values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms import functional as v1
from cupola_compat.torchvision.transforms.interpolation import (
    InterpolationMode,
    interpolation_mode,
)
from cupola_compat.torchvision.transforms.v2 import images

NEAREST = InterpolationMode.NEAREST


def _as_image(change: Callable, mask: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Applies a change of images to a mask, which may lack the dimension of channels."""
    if mask.ndim >= 3:
        return change(mask, *args, **kwargs)
    return change(mask[None], *args, **kwargs)[0]


def horizontal_flip_mask(mask: Tensor) -> Tensor:
    """A mask mirrored left and right."""
    return mask.flip(-1)


def vertical_flip_mask(mask: Tensor) -> Tensor:
    """A mask mirrored top and bottom."""
    return mask.flip(-2)


def resize_mask(
    mask: Tensor, size: Any, interpolation: Any = "bilinear", max_size: int | None = None
) -> Tensor:
    """A resized mask; any mode but "nearest-exact" is taken for "nearest"."""
    exact = InterpolationMode.NEAREST_EXACT
    mode = exact if interpolation_mode(interpolation) is exact else NEAREST
    return _as_image(images.resize, mask, size, mode, max_size)


def affine_mask(
    mask: Tensor,
    angle: float,
    translate: Any,
    scale: float,
    shear: Any,
    fill: Any = None,
    center: Any = None,
) -> Tensor:
    """A mask that is turned, moved, scaled and sheared."""
    return _as_image(v1.affine, mask, angle, translate, scale, shear, NEAREST, fill, center)


def rotate_mask(
    mask: Tensor, angle: float, expand: bool = False, center: Any = None, fill: Any = None
) -> Tensor:
    """A turned mask."""
    return _as_image(v1.rotate, mask, angle, NEAREST, expand, center, fill)


def pad_mask(
    mask: Tensor, padding: Any, fill: Any = None, padding_mode: str = "constant"
) -> Tensor:
    """A padded mask.

    Raises:
        ValueError: several values to fill with.
    """
    if isinstance(fill, (tuple, list)):
        raise ValueError("Non-scalar fill value is not supported")
    return _as_image(images.pad, mask, padding, fill, padding_mode)


def crop_mask(mask: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """A part of a mask."""
    return _as_image(v1.crop, mask, top, left, height, width)


def center_crop_mask(mask: Tensor, output_size: Any) -> Tensor:
    """The middle of a mask."""
    return _as_image(v1.center_crop, mask, output_size)


def resized_crop_mask(
    mask: Tensor, top: int, left: int, height: int, width: int, size: Any
) -> Tensor:
    """A part of a mask, resized."""
    return resize_mask(crop_mask(mask, top, left, height, width), size)


def perspective_mask(
    mask: Tensor, startpoints: Any, endpoints: Any, fill: Any = None, coefficients: Any = None
) -> Tensor:
    """A mask whose corners have been moved."""
    return _as_image(v1.perspective, mask, startpoints, endpoints, NEAREST, fill, coefficients)


def elastic_mask(mask: Tensor, displacement: Tensor, fill: Any = None) -> Tensor:
    """A mask whose pixels have been displaced."""
    return _as_image(v1.elastic_transform, mask, displacement, NEAREST, fill)


def get_size_mask(mask: Tensor) -> list[int]:
    """Height and width."""
    return list(mask.shape[-2:])
