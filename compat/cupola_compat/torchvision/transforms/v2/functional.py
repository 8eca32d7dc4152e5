"""Functions of the second interface (torchvision.transforms.v2.functional), on PIL images and
plain tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import cupola
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.transforms.functional import (
    center_crop,
    convert_image_dtype,
    crop,
    get_dimensions,
    get_image_num_channels,
    hflip,
    normalize,
    pil_to_tensor,
    resize,
    resized_crop,
    rgb_to_grayscale,
    to_grayscale,
    to_pil_image,
    to_tensor,
    vflip,
)
from cupola_compat.torchvision.transforms.functional import pad as _pad

get_num_channels = get_image_num_channels
horizontal_flip, vertical_flip = hflip, vflip
# The kernels for tensors, under names of their own.
resize_image, center_crop_image, crop_image, normalize_image = resize, center_crop, crop, normalize


def get_size(inpt: Any) -> list[int]:
    """Height and width."""
    return get_dimensions(inpt)[1:]


def pad(inpt: Any, padding: Any, fill: Any = None, padding_mode: str = "constant") -> Any:
    """Pads by `padding`: one number, [left/right, top/bottom], or [left, top, right, bottom]."""
    return _pad(inpt, padding, 0 if fill is None else fill, padding_mode)


pad_image = pad


def to_image(inpt: Any) -> cupola.Tensor:
    """A PIL image or an array (H, W, C) as a tensor (C, H, W); tensors as they are.

    Raises:
        TypeError: any other type.
    """
    if isinstance(inpt, cupola.Tensor):
        return inpt
    if isinstance(inpt, np.ndarray):
        array = inpt[..., None] if inpt.ndim == 2 else inpt
        return cupola.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, -3)))
    if hasattr(inpt, "convert"):
        return pil_to_tensor(inpt)
    raise TypeError(f"Input can either be a tensor, array or PIL image, but got {type(inpt)}")


def to_dtype(
    inpt: cupola.Tensor, dtype: Any = cupola.float32, scale: bool = False
) -> cupola.Tensor:
    """Converts a tensor; with ``scale``, from one dtype's range of values to the other's."""
    return convert_image_dtype(inpt, dtype) if scale else inpt.to(dtype)


to_dtype_image = to_dtype

__all__ = [
    "center_crop",
    "center_crop_image",
    "crop",
    "crop_image",
    "get_dimensions",
    "get_num_channels",
    "get_size",
    "horizontal_flip",
    "normalize",
    "normalize_image",
    "pad",
    "pad_image",
    "pil_to_tensor",
    "resize",
    "resize_image",
    "resized_crop",
    "rgb_to_grayscale",
    "to_dtype",
    "to_dtype_image",
    "to_grayscale",
    "to_image",
    "to_pil_image",
    "to_tensor",
    "vertical_flip",
]

__getattr__ = module_getattr(
    "transforms.v2.functional", "write it with Pillow or with tensor operators"
)
