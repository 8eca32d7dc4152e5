"""Colour operations (torchvision.transforms.functional), on PIL images and tensors (…, C, H, W).

Tensors hold values in [0, 1] where they are floating point, else up to their type's largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import cupola
from cupola.nn import functional as nnf
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms.basic import (
    convert_image_dtype,
    get_dimensions,
    is_tensor,
    rgb_to_grayscale,
)


def _bound(dtype: Any) -> int:
    return 1 if dtype.is_floating_point else cupola.iinfo(dtype).max


def _float(img: Tensor) -> Tensor:
    return img if img.is_floating_point() else img.float()


def _check_channels(img: Tensor) -> None:
    channels = get_dimensions(img)[0]
    if channels not in (1, 3):
        raise TypeError(f"Input image tensor permitted channel values are 1 or 3, found {channels}")


def _check_factor(name: str, factor: float) -> None:
    if factor < 0:
        raise ValueError(f"{name} ({factor}) is not non-negative.")


def _blend(img: Tensor, other: Tensor, ratio: float) -> Tensor:
    """`ratio` of one image and the rest of the other."""
    mixed = float(ratio) * img + (1.0 - float(ratio)) * other
    return mixed.clamp(0, _bound(img.dtype)).to(img.dtype)


def _enhance(kind: str, img: Any, factor: float) -> Any:
    from PIL import ImageEnhance

    return getattr(ImageEnhance, kind)(img).enhance(factor)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Scales all values; 1 leaves them as they are.

    Raises:
        ValueError: a negative factor.
    """
    if not is_tensor(img):
        return _enhance("Brightness", img, brightness_factor)
    _check_factor("brightness_factor", brightness_factor)
    _check_channels(img)
    return _blend(img, cupola.zeros_like(img), brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """Scales the distance from the mean luma; 1 leaves it as it is.

    Raises:
        ValueError: a negative factor.
    """
    if not is_tensor(img):
        return _enhance("Contrast", img, contrast_factor)
    _check_factor("contrast_factor", contrast_factor)
    _check_channels(img)
    luma = rgb_to_grayscale(img) if img.shape[-3] == 3 else img
    return _blend(img, _float(luma).mean(dim=(-3, -2, -1), keepdim=True), contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """Scales the distance from gray; 1 leaves it as it is.

    Raises:
        ValueError: a negative factor.
    """
    if not is_tensor(img):
        return _enhance("Color", img, saturation_factor)
    _check_factor("saturation_factor", saturation_factor)
    _check_channels(img)
    return img if img.shape[-3] == 1 else _blend(img, rgb_to_grayscale(img), saturation_factor)


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """Scales the distance from a smoothed image; 1 leaves it as it is, 0 smoothes.

    Raises:
        ValueError: a negative factor.
    """
    if not is_tensor(img):
        return _enhance("Sharpness", img, sharpness_factor)
    _check_factor("sharpness_factor", sharpness_factor)
    _check_channels(img)
    if min(img.shape[-2:]) <= 2:
        return img
    weights = cupola.tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]], device=img.device)
    work = _float(img).reshape(-1, 1, *img.shape[-2:])
    inner = nnf.conv2d(work, (weights / 13.0).to(work.dtype)[None, None])
    inner = inner.reshape(*img.shape[:-2], *inner.shape[-2:])
    smooth = img.clone()  # the border stays as it is
    smooth[..., 1:-1, 1:-1] = (inner if img.is_floating_point() else inner.round()).to(img.dtype)
    return _blend(img, smooth, sharpness_factor)


def _to_hsv(img: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    red, green, blue = img.unbind(-3)
    value = img.amax(-3)
    range_ = value - img.amin(-3)
    safe = cupola.where(range_ == 0, cupola.ones_like(range_), range_)
    hue = cupola.where(
        value == red,
        (green - blue) / safe,
        cupola.where(value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0),
    )
    saturation = range_ / cupola.where(value == 0, cupola.ones_like(value), value)
    return (hue / 6.0 + 1.0) % 1.0, saturation, value


def _from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    channels = []
    for shift in (5.0, 3.0, 1.0):  # red, green, blue: the same ramp, a third of the circle apart
        k = (shift + hue * 6.0) % 6.0
        ramp = cupola.minimum(k, 4.0 - k).clamp(0.0, 1.0)
        channels.append(value - value * saturation * ramp)
    return cupola.stack(channels, -3)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Turns the hue by `hue_factor` of a full circle.

    Raises:
        ValueError: a factor outside [-0.5, 0.5].
    """
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if is_tensor(img):
        _check_channels(img)
        if img.shape[-3] == 1:
            return img
        hue, saturation, value = _to_hsv(convert_image_dtype(img, cupola.float32))
        turned = _from_hsv((hue + hue_factor) % 1.0, saturation, value)
        return convert_image_dtype(turned, img.dtype)
    from PIL import Image

    if img.mode in ("L", "1", "I", "F"):
        return img
    hue, saturation, value = img.convert("HSV").split()
    array = np.asarray(hue) + np.int32(hue_factor * 255).astype(np.uint8)  # wraps around
    return Image.merge("HSV", (Image.fromarray(array, "L"), saturation, value)).convert(img.mode)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """Raises values, as parts of the largest one, to a power, and scales them.

    Raises:
        ValueError: a negative power.
    """
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    if is_tensor(img):
        _check_channels(img)
        work = img if img.is_floating_point() else convert_image_dtype(img, cupola.float32)
        return convert_image_dtype((gain * work.pow(gamma)).clamp(0, 1), img.dtype)
    table = [int((256 - 1e-3) * gain * (v / 255.0) ** gamma) for v in range(256)]
    return img.convert("RGB").point(table * 3).convert(img.mode)


def invert(img: Any) -> Any:
    """Takes each value from the largest one."""
    if is_tensor(img):
        _check_channels(img)
        return _bound(img.dtype) - img
    from PIL import ImageOps

    return ImageOps.invert(img)


def posterize(img: Any, bits: int) -> Any:
    """Keeps the upper `bits` of each value.

    Raises:
        TypeError: a tensor of another type than uint8.
    """
    if is_tensor(img):
        if img.dtype != cupola.uint8:
            raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
        _check_channels(img)
        return img & (256 - 2 ** (8 - bits))
    from PIL import ImageOps

    return ImageOps.posterize(img, bits)


def solarize(img: Any, threshold: float) -> Any:
    """Inverts the values from `threshold` on.

    Raises:
        TypeError: a threshold above the largest value.
    """
    if is_tensor(img):
        _check_channels(img)
        if threshold > _bound(img.dtype):
            raise TypeError("Threshold should be less than bound of img.")
        return cupola.where(img >= threshold, invert(img), img)
    from PIL import ImageOps

    return ImageOps.solarize(img, threshold)


def autocontrast(img: Any) -> Any:
    """Stretches the values of each channel over the whole range."""
    if not is_tensor(img):
        from PIL import ImageOps

        return ImageOps.autocontrast(img)
    _check_channels(img)
    bound, work = _bound(img.dtype), _float(img)
    low, high = work.amin(dim=(-2, -1), keepdim=True), work.amax(dim=(-2, -1), keepdim=True)
    flat = low == high  # a channel of one value stays as it is
    scale = cupola.where(flat, cupola.ones_like(low), bound / (high - low))
    low = cupola.where(flat, cupola.zeros_like(low), low)
    return ((work - low) * scale).clamp(0, bound).to(img.dtype)


def _equalized(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.reshape(-1), minlength=256)
    step = counts[counts != 0][:-1].sum() // 255
    if step == 0:
        return channel
    table = np.concatenate([[0], (np.cumsum(counts) + step // 2) // step])[:256]
    return table.clip(0, 255).astype(np.uint8)[channel]


def equalize(img: Any) -> Any:
    """Makes the histogram of each channel even.

    Raises:
        TypeError: a tensor of another type than uint8.
    """
    if is_tensor(img):
        if img.dtype != cupola.uint8:
            raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")
        _check_channels(img)
        planes = img.detach().cpu().numpy().reshape(-1, *img.shape[-2:])
        even = np.stack([_equalized(plane) for plane in planes])
        return cupola.from_numpy(even.reshape(img.shape)).to(img.device)
    from PIL import ImageOps

    return ImageOps.equalize(img)
