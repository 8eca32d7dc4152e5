"""What the second interface's functions do to PIL images and to tensors (…, C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np

import cupola
from cupola_compat.torchvision.transforms import functional as v1
from cupola_compat.torchvision.transforms.basic import is_tensor, pil_fill
from cupola_compat.torchvision.transforms.functional import (
    convert_image_dtype,
    get_dimensions,
    get_image_num_channels,
    pil_to_tensor,
    to_pil_image,
)
from cupola_compat.torchvision.transforms.interpolation import (
    InterpolationMode,
    interpolation_mode,
)
from cupola_compat.torchvision.transforms.v2.sizes import parsed_padding, resized

PICTURES = ("bilinear", "bicubic", "lanczos")
get_num_channels = get_image_num_channels


def get_size(inpt: Any) -> list[int]:
    """Height and width."""
    return get_dimensions(inpt)[1:]


def pad(img: Any, padding: Any, fill: Any = None, padding_mode: str = "constant") -> Any:
    """Pads by `padding`: one number, [left/right, top/bottom], or [left, top, right, bottom].

    `fill` is a number, or one for each channel.

    Raises:
        ValueError: another mode than "constant", "edge", "reflect" and "symmetric"; values for
            channels in another mode than "constant".
    """
    left, top, right, bottom = parsed_padding(padding)
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError(
            "`padding_mode` should be either `'constant'`, `'edge'`, `'reflect'` or `'symmetric'`, "
            f"but got `'{padding_mode}'`."
        )
    if not is_tensor(img):
        color = pil_fill(fill, img) if padding_mode == "constant" else 0
        return v1.pad(img, [left, top, right, bottom], color, padding_mode)
    values = list(fill) if isinstance(fill, (list, tuple)) else [0 if fill is None else fill]
    if len(values) > 1 and padding_mode != "constant":
        raise ValueError(f"Padding mode '{padding_mode}' is not supported if fill is not scalar")
    height, width = img.shape[-2:]
    if padding_mode == "symmetric":
        return v1.pad(img, [left, top, right, bottom], padding_mode=padding_mode)
    work = img.reshape(-1, *img.shape[-3:])
    exact = img.is_floating_point() or padding_mode == "constant"
    work = work if exact else work.float()
    found = v1.pad(work, [left, top, right, bottom], float(values[0]), padding_mode).to(img.dtype)
    found = found.reshape(*img.shape[:-2], *found.shape[-2:])
    if len(values) > 1:
        inside = v1.pad(cupola.ones(1, height, width), [left, top, right, bottom])
        colors = cupola.tensor(values, device=img.device).to(img.dtype).view(-1, 1, 1)
        found = cupola.where(inside.to(img.device) > 0, found, colors)
    return found


def resize(
    img: Any,
    size: Any,
    interpolation: Any = "bilinear",
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """Resizes to both sides, to the shorter one, or, for None, to `max_size` for the longer one.

    Bytes are resampled in integer arithmetic, as torch's CPU kernels do.

    Raises:
        ValueError: "lanczos" for a tensor without `antialias`.
    """
    mode, wanted = interpolation_mode(interpolation), resized(get_size(img), size, max_size)
    if not is_tensor(img) or mode.value not in PICTURES:
        return v1.resize(img, wanted, mode, None, antialias)
    if mode is InterpolationMode.LANCZOS and not antialias:
        raise ValueError("InterpolationMode.LANCZOS requires antialias=True")
    if list(wanted) == get_size(img):
        return img
    work = img.reshape(-1, *img.shape[-3:])
    work = work if img.is_floating_point() or img.dtype == cupola.uint8 else work.float()
    found = cupola.nn.functional.interpolate(
        work, size=list(wanted), mode=mode.value, align_corners=False, antialias=bool(antialias)
    )
    found = found if found.is_floating_point() == img.is_floating_point() else found.round()
    return found.to(img.dtype).reshape(*img.shape[:-2], *wanted)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: Any = "bilinear",
    antialias: bool | None = True,
) -> Any:
    """Crops, then resizes."""
    part = v1.crop(img, top, left, height, width)
    return resize(part, size, interpolation, antialias=antialias)


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
    if scale and dtype.is_floating_point and not inpt.is_floating_point():
        return inpt.to(dtype) * (1.0 / cupola.iinfo(inpt.dtype).max)
    return convert_image_dtype(inpt, dtype) if scale else inpt.to(dtype)


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
    found = image[..., list(permutation), :, :]
    return found if isinstance(inpt, cupola.Tensor) else to_pil_image(found)


def gaussian_noise(inpt: Any, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> Any:
    """Adds normal noise; floating point stays in [0, 1], uint8 in [0, 255], with `clip`.

    Raises:
        ValueError: a negative deviation, or a type other than floating point and uint8.
    """
    if not isinstance(inpt, cupola.Tensor):
        raise ValueError("Gaussian Noise is not implemented for PIL images.")
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


def erase(
    inpt: Any, i: int, j: int, h: int, w: int, v: cupola.Tensor, inplace: bool = False
) -> Any:
    """Writes `v` into the rectangle of h x w pixels at row i and column j."""
    if isinstance(inpt, cupola.Tensor):
        return v1.erase(inpt, i, j, h, w, v, inplace)
    return to_pil_image(v1.erase(pil_to_tensor(inpt), i, j, h, w, v), inpt.mode)


def jpeg(inpt: Any, quality: int) -> Any:
    """An image, or each of several, as JPEG's compression changes it (uint8; 1 or 3 channels)."""
    import io

    from PIL import Image

    if isinstance(inpt, cupola.Tensor):
        if inpt.numel() == 0:
            return inpt.clone()
        several = inpt.reshape(-1, *inpt.shape[-3:])
        done = [pil_to_tensor(jpeg(to_pil_image(one), quality)) for one in several]
        return cupola.stack(done).view(inpt.shape).to(inpt.device)
    memory = io.BytesIO()
    inpt.save(memory, format="JPEG", quality=quality)
    return Image.open(memory).copy()


def uniform_temporal_subsample(inpt: cupola.Tensor, num_samples: int) -> cupola.Tensor:
    """As many frames (…, T, C, H, W), equally far apart."""
    last = inpt.shape[-4] - 1
    frames = cupola.linspace(0, last, num_samples, device=inpt.device).long()
    return cupola.index_select(inpt, -4, frames)


def get_num_frames(inpt: cupola.Tensor) -> int:
    """The number of frames (…, T, C, H, W)."""
    return inpt.shape[-4]
