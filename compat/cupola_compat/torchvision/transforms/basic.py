"""Image transforms without colour or interpolation grids: conversion, size, crops, padding.

On PIL images, and on tensors (…, C, H, W).
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

import cupola
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms.interpolation import (
    PIL_FILTERS,
    InterpolationMode,
    interpolation_mode,
)


def is_tensor(image: Any) -> bool:
    if isinstance(image, Tensor):
        return True
    if hasattr(image, "getbands"):
        return False
    raise TypeError(f"img should be a PIL image or a tensor, got {type(image).__name__}")


def get_dimensions(img: Any) -> list[int]:
    """Returns [channels, height, width]."""
    if is_tensor(img):
        channels = 1 if img.dim() == 2 else img.shape[-3]
        return [channels, img.shape[-2], img.shape[-1]]
    return [len(img.getbands()), img.height, img.width]


def get_image_size(img: Any) -> list[int]:
    """Returns [width, height]."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Any) -> int:
    """Returns the number of channels."""
    return get_dimensions(img)[0]


def pil_to_tensor(pic: Any) -> Tensor:
    """Returns a PIL image as a tensor (C, H, W) with the image's own values and type.

    Raises:
        TypeError: anything else.
    """
    if isinstance(pic, Tensor) or not hasattr(pic, "getbands"):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    array = np.array(pic, copy=True)
    array = array[:, :, None] if array.ndim == 2 else array
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    return cupola.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def to_tensor(pic: Any) -> Tensor:
    """Returns a PIL image or an array (H, W[, C]) as a tensor (C, H, W); uint8 is scaled to [0, 1].

    Raises:
        TypeError: anything else.
        ValueError: an array of another number of dimensions.
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic[:, :, None] if pic.ndim == 2 else pic
        result = cupola.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    elif not isinstance(pic, Tensor) and hasattr(pic, "getbands"):
        result = pil_to_tensor(pic)
        if pic.mode == "I;16":
            return result
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    if result.dtype == cupola.uint8:
        return result.to(cupola.get_default_dtype()) / 255
    return result


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """Returns a tensor (C, H, W) or an array (H, W, C) as a PIL image; floats become bytes."""
    from PIL import Image

    if isinstance(pic, Tensor):
        pic = pic.detach().cpu()
        if pic.dtype.is_floating_point and mode != "F":
            pic = (pic * 255).byte()
        pic = pic.numpy()
        pic = pic[None] if pic.ndim == 2 else pic
        pic = pic.transpose(1, 2, 0)
    elif not isinstance(pic, np.ndarray):
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if pic.ndim == 3 and pic.shape[2] == 1:
        pic = pic[:, :, 0]
    image = Image.fromarray(np.ascontiguousarray(pic))
    return image if mode in (None, image.mode) else image.convert(mode)


def convert_image_dtype(image: Tensor, dtype: Any = None) -> Tensor:
    """Converts a tensor and scales it: the range is [0, 1] in floats and [0, max] in integers.

    Raises:
        TypeError: not a tensor.
    """
    if not isinstance(image, Tensor):
        raise TypeError("Input img should be Tensor Image")
    dtype = cupola.float32 if dtype is None else dtype
    if image.dtype == dtype:
        return image
    if image.dtype.is_floating_point:
        if dtype.is_floating_point:
            return image.to(dtype)
        # The margin keeps 1.0 from rounding up past the largest integer.
        return (image * (cupola.iinfo(dtype).max + 1.0 - 1e-3)).to(dtype)
    largest = cupola.iinfo(image.dtype).max
    if dtype.is_floating_point:
        return image.to(dtype) / largest
    wanted = cupola.iinfo(dtype).max
    if largest > wanted:
        return (image // ((largest + 1) // (wanted + 1))).to(dtype)
    return image.to(dtype) * ((wanted + 1) // (largest + 1))


def normalize(
    tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False
) -> Tensor:
    """Subtracts `mean` and divides by `std`, channel by channel.

    Raises:
        TypeError: not a tensor, or one that is not floating point.
        ValueError: fewer than three dimensions, or a standard deviation of zero.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
    if not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.ndim < 3:
        raise ValueError(f"Expected tensor to be of size (..., C, H, W). Got {tuple(tensor.shape)}")
    mean, std = (cupola.as_tensor(v, dtype=tensor.dtype, device=tensor.device) for v in (mean, std))
    if bool((std == 0).any()):
        raise ValueError("std evaluated to zero, leading to division by zero.")
    mean, std = (v.view(-1, 1, 1) if v.ndim == 1 else v for v in (mean, std))
    if inplace:
        return tensor.sub_(mean).div_(std)
    return (tensor - mean) / std


def _output_size(img: Any, size: Any, max_size: int | None) -> list[int]:
    """Returns [height, width] for `size`: both sides, or the length of the shorter one."""
    _, height, width = get_dimensions(img)
    if not isinstance(size, int):
        if len(size) == 2:
            return list(size)
        size = size[0]
    short, long = sorted((height, width))
    new_short, new_long = size, int(size * long / short)
    if max_size is not None and new_long > max_size:
        new_short, new_long = int(max_size * new_short / new_long), max_size
    return [new_short, new_long] if height <= width else [new_long, new_short]


def resize(
    img: Any,
    size: Any,
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """Resizes to `size` (height, width), or the shorter side to `size` with the ratio kept."""
    mode = interpolation_mode(interpolation)
    height, width = _output_size(img, size, max_size)
    if [height, width] == get_dimensions(img)[1:]:
        return img
    if not is_tensor(img):
        return img.resize((width, height), PIL_FILTERS[mode])
    smooth = mode in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)
    batch = img.reshape(-1, *img.shape[-3:])
    work = batch if img.dtype.is_floating_point else batch.float()
    work = cupola.nn.functional.interpolate(
        work,
        size=(height, width),
        mode=mode.value,
        align_corners=False if smooth else None,
        antialias=bool(antialias) and smooth,
    )
    if not img.dtype.is_floating_point:
        if mode is InterpolationMode.BICUBIC and img.dtype == cupola.uint8:
            work = work.clamp(0, 255)
        work = work.round().to(img.dtype)
    return work.reshape(*img.shape[:-2], height, width)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """Cuts a rectangle out; what lies outside the image is zero."""
    if not is_tensor(img):
        return img.crop((left, top, left + width, top + height))
    _, full_height, full_width = get_dimensions(img)
    below, right = top + height - full_height, left + width - full_width
    padding = [max(-left, 0), max(right, 0), max(-top, 0), max(below, 0)]
    inside = img[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    return cupola.nn.functional.pad(inside, padding) if any(padding) else inside


def center_crop(img: Any, output_size: Any) -> Any:
    """Cuts `output_size` (height, width) out of the middle, padding with zero what is too small."""
    if isinstance(output_size, numbers.Number):
        output_size = (int(output_size), int(output_size))
    height, width = output_size if len(output_size) == 2 else (output_size[0], output_size[0])
    _, full_height, full_width = get_dimensions(img)
    if width > full_width or height > full_height:
        lack_x, lack_y = max(width - full_width, 0), max(height - full_height, 0)
        img = pad(img, [lack_x // 2, lack_y // 2, (lack_x + 1) // 2, (lack_y + 1) // 2])
        _, full_height, full_width = get_dimensions(img)
        if (full_height, full_width) == (height, width):
            return img
    top, left = round((full_height - height) / 2.0), round((full_width - width) / 2.0)
    return crop(img, top, left, height, width)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """Crops, then resizes."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def hflip(img: Any) -> Any:
    """Mirrors left and right."""
    return img.flip(-1) if is_tensor(img) else img.transpose(0)


def vflip(img: Any) -> Any:
    """Mirrors top and bottom."""
    return img.flip(-2) if is_tensor(img) else img.transpose(1)


def five_crop(img: Any, size: Any) -> tuple[Any, ...]:
    """The four corners and the centre, each of `size` (height, width).

    Raises:
        ValueError: the image is smaller than `size`.
    """
    if isinstance(size, numbers.Number):
        size = (int(size), int(size))
    height, width = size if len(size) == 2 else (size[0], size[0])
    _, full_height, full_width = get_dimensions(img)
    if width > full_width or height > full_height:
        raise ValueError(
            f"Requested crop size {(height, width)} is bigger than input size "
            f"{(full_height, full_width)}"
        )
    corners = [(top, left) for top in (0, full_height - height) for left in (0, full_width - width)]
    return (*(crop(img, *c, height, width) for c in corners), center_crop(img, [height, width]))


def ten_crop(img: Any, size: Any, vertical_flip: bool = False) -> tuple[Any, ...]:
    """`five_crop` of the image and of its mirror image."""
    mirrored = vflip(img) if vertical_flip else hflip(img)
    return five_crop(img, size) + five_crop(mirrored, size)


def pil_fill(fill: Any, img: Any) -> Any:
    """What PIL fills with: as many numbers as the image has channels.

    Raises:
        ValueError: another number of values than one, or than one for each channel.
    """
    channels = get_dimensions(img)[0]
    values = [0 if fill is None else fill] if not isinstance(fill, (list, tuple)) else list(fill)
    if len(values) == 1:
        values *= channels
    elif len(values) != channels:
        raise ValueError(
            "The number of elements in 'fill' does not match the number of channels of the image "
            f"({len(values)} != {channels})"
        )
    values = values if img.mode == "F" else [int(v) for v in values]
    return tuple(values) if channels > 1 else values[0]


def mirrored(side: int, before: int, after: int, device: Any) -> Tensor:
    """Positions with the border's pixels repeated in a mirror."""
    where = cupola.arange(-before, side + after, device=device) % (2 * side)
    return cupola.where(where < side, where, 2 * side - 1 - where)


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """Pads by `padding`: one number, [left/right, top/bottom], or [left, top, right, bottom].

    Raises:
        ValueError: another mode than "constant", "edge", "reflect" and "symmetric".
    """
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    if isinstance(padding, int):
        left = top = right = bottom = padding
    elif len(padding) == 1:
        left = top = right = bottom = padding[0]
    elif len(padding) == 2:
        left = right = padding[0]
        top = bottom = padding[1]
    else:
        left, top, right, bottom = padding
    if is_tensor(img):
        if padding_mode == "symmetric":
            rows = mirrored(img.shape[-2], top, bottom, img.device)
            return img[..., rows[:, None], mirrored(img.shape[-1], left, right, img.device)]
        mode = "replicate" if padding_mode == "edge" else padding_mode
        value = {"value": float(fill)} if padding_mode == "constant" else {}
        return cupola.nn.functional.pad(img, [left, right, top, bottom], mode=mode, **value)
    from PIL import Image, ImageOps

    if padding_mode == "constant":
        color = pil_fill(fill, img)
        padded = ImageOps.expand(img, border=(left, top, right, bottom), fill=color)
    else:
        cut = [max(-side, 0) for side in (left, top, right, bottom)]
        inside = img.crop((cut[0], cut[1], img.width - cut[2], img.height - cut[3]))
        array = np.asarray(inside)
        edges = [[max(side, 0) for side in sides] for sides in ((top, bottom), (left, right))]
        padded = Image.fromarray(np.pad(array, [*edges, (0, 0)][: array.ndim], mode=padding_mode))
    if img.mode == "P":
        padded.putpalette(img.getpalette())
    return padded


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Returns the luma (ITU-R 601-2), in one channel or repeated in three."""
    if not is_tensor(img):
        gray = img.convert("L")
        return gray if num_output_channels == 1 else gray.convert("RGB")
    red, green, blue = img.unbind(-3)[:3] if img.shape[-3] == 3 else (img[..., 0, :, :],) * 3
    gray = (0.2989 * red + 0.587 * green + 0.114 * blue).to(img.dtype).unsqueeze(-3)
    return gray if num_output_channels == 1 else gray.expand(img.shape)


to_grayscale = rgb_to_grayscale
