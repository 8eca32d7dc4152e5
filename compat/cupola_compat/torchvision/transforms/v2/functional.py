"""Functions of the second interface (torchvision.transforms.v2.functional), on PIL images and
plain tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import cupola
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.transforms import functional as v1
from cupola_compat.torchvision.transforms.functional import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    affine,
    center_crop,
    convert_image_dtype,
    crop,
    elastic_transform,
    erase,
    five_crop,
    gaussian_blur,
    get_dimensions,
    get_image_num_channels,
    hflip,
    invert,
    normalize,
    perspective,
    pil_to_tensor,
    resize,
    resized_crop,
    rgb_to_grayscale,
    rotate,
    solarize,
    ten_crop,
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


def posterize(inpt: Any, bits: int) -> Any:
    """Keeps the upper `bits` of each value; floating point in [0, 1] gets as many levels."""
    if isinstance(inpt, cupola.Tensor) and inpt.is_floating_point():
        levels = 1 << bits
        return (inpt * levels).floor().clamp(0, levels - 1) * (1.0 / levels)
    return inpt if bits >= 8 else v1.posterize(inpt, bits)


def equalize(inpt: Any) -> Any:
    """Makes the histogram of each channel even; floating point goes through 256 levels."""
    if isinstance(inpt, cupola.Tensor) and inpt.dtype != cupola.uint8:
        levels = convert_image_dtype(inpt, cupola.uint8)
        return convert_image_dtype(v1.equalize(levels), inpt.dtype)
    return v1.equalize(inpt)


def autocontrast(inpt: Any) -> Any:
    """Stretches the values of each channel over the whole range."""
    if not isinstance(inpt, cupola.Tensor):
        return v1.autocontrast(inpt)
    fp = inpt.is_floating_point()
    bound, work = (1.0, inpt) if fp else (float(cupola.iinfo(inpt.dtype).max), inpt.float())
    low, high = work.amin(dim=(-2, -1), keepdim=True), work.amax(dim=(-2, -1), keepdim=True)
    flat = low == high  # a channel of one value stays as it is
    # Rounded as torchvision's second interface does: by a quotient, not by a product.
    span = cupola.where(flat, cupola.ones_like(low), (high - low) * (1.0 / bound))
    low = cupola.where(flat, cupola.zeros_like(low), low)
    return ((work - low) / span).clamp(0, bound).to(inpt.dtype)


def permute_channels(inpt: Any, permutation: list[int]) -> Any:
    """The channels in another order; -1 would be none of them.

    Raises:
        ValueError: the permutation has another length than there are channels.
    """
    image = inpt if isinstance(inpt, cupola.Tensor) else pil_to_tensor(inpt)
    if image.shape[-3] != len(permutation):
        raise ValueError(
            f"Length of permutation does not match number of channels: "
            f"{len(permutation)} != {image.shape[-3]}"
        )
    found = image[..., permutation, :, :]
    return found if isinstance(inpt, cupola.Tensor) else to_pil_image(found)


def gaussian_noise(inpt: Any, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> Any:
    """Adds normal noise; floating point stays in [0, 1], uint8 in [0, 255], with `clip`.

    Raises:
        ValueError: a negative deviation, or a type other than floating point and uint8.
    """
    if sigma < 0:
        raise ValueError(f"sigma shouldn't be negative. Got {sigma}")
    if inpt.is_floating_point():
        noisy = inpt + mean + cupola.randn_like(inpt) * sigma
        return noisy.clamp(0, 1) if clip else noisy
    if inpt.dtype != cupola.uint8:
        raise ValueError(
            f"Input tensor is expected to be in uint8 or float dtype, got {inpt.dtype}"
        )
    shift = cupola.randn(inpt.shape, dtype=cupola.float32, device=inpt.device) * (sigma * 255)
    noisy = (mean * 255 + shift).to(cupola.int16) + inpt
    return (noisy.clamp(0, 255) if clip else noisy).to(cupola.uint8)


def grayscale_to_rgb(inpt: Any) -> Any:
    """Repeats the channel of a gray image three times."""
    if not isinstance(inpt, cupola.Tensor):
        return inpt.convert("RGB")
    return inpt.expand(*inpt.shape[:-3], 3, *inpt.shape[-2:]) if inpt.shape[-3] == 1 else inpt


def is_pure_tensor(inpt: Any) -> bool:
    """Whether this is a tensor and none of torchvision's subclasses, of which there are none."""
    return isinstance(inpt, cupola.Tensor)


get_image_size = get_size
elastic = elastic_transform
# The kernels for tensors, under names of their own.
adjust_brightness_image, adjust_contrast_image = adjust_brightness, adjust_contrast
adjust_gamma_image, adjust_hue_image = adjust_gamma, adjust_hue
adjust_saturation_image, adjust_sharpness_image = adjust_saturation, adjust_sharpness
affine_image, autocontrast_image, elastic_image = affine, autocontrast, elastic
equalize_image, erase_image, five_crop_image = equalize, erase, five_crop
gaussian_blur_image, gaussian_noise_image = gaussian_blur, gaussian_noise
get_dimensions_image, get_num_channels_image, get_size_image = (
    get_dimensions, get_num_channels, get_size,
)  # fmt: skip
grayscale_to_rgb_image, rgb_to_grayscale_image = grayscale_to_rgb, rgb_to_grayscale
horizontal_flip_image, vertical_flip_image, invert_image = hflip, vflip, invert
permute_channels_image, perspective_image = permute_channels, perspective
posterize_image, resized_crop_image, rotate_image = posterize, resized_crop, rotate
solarize_image, ten_crop_image = solarize, ten_crop

__all__ = [
    "adjust_brightness",
    "adjust_brightness_image",
    "adjust_contrast",
    "adjust_contrast_image",
    "adjust_gamma",
    "adjust_gamma_image",
    "adjust_hue",
    "adjust_hue_image",
    "adjust_saturation",
    "adjust_saturation_image",
    "adjust_sharpness",
    "adjust_sharpness_image",
    "affine",
    "affine_image",
    "autocontrast",
    "autocontrast_image",
    "center_crop",
    "center_crop_image",
    "crop",
    "crop_image",
    "elastic",
    "elastic_image",
    "elastic_transform",
    "equalize",
    "equalize_image",
    "erase",
    "erase_image",
    "five_crop",
    "five_crop_image",
    "gaussian_blur",
    "gaussian_blur_image",
    "gaussian_noise",
    "gaussian_noise_image",
    "get_dimensions",
    "get_dimensions_image",
    "get_image_size",
    "get_num_channels",
    "get_num_channels_image",
    "get_size",
    "get_size_image",
    "grayscale_to_rgb",
    "grayscale_to_rgb_image",
    "horizontal_flip",
    "horizontal_flip_image",
    "invert",
    "invert_image",
    "is_pure_tensor",
    "normalize",
    "normalize_image",
    "pad",
    "pad_image",
    "permute_channels",
    "permute_channels_image",
    "perspective",
    "perspective_image",
    "pil_to_tensor",
    "posterize",
    "posterize_image",
    "resize",
    "resize_image",
    "resized_crop",
    "resized_crop_image",
    "rgb_to_grayscale",
    "rgb_to_grayscale_image",
    "rotate",
    "rotate_image",
    "solarize",
    "solarize_image",
    "ten_crop",
    "ten_crop_image",
    "to_dtype",
    "to_dtype_image",
    "to_grayscale",
    "to_image",
    "to_pil_image",
    "to_tensor",
    "vertical_flip",
    "vertical_flip_image",
]

__getattr__ = module_getattr(
    "transforms.v2.functional", "write it with Pillow or with tensor operators"
)
