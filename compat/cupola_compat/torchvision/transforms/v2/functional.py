"""Functions of the second interface (torchvision.transforms.v2.functional), on PIL images, plain
tensors, images, videos, masks, boxes and key points.

The kernels for one kind have the function's name with `_image`, `_video`, `_mask`,
`_bounding_boxes` or `_keypoints` behind it, and take plain tensors.
"""

from __future__ import annotations

from typing import Any

from cupola.tensor import Tensor
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.transforms import InterpolationMode
from cupola_compat.torchvision.transforms import functional as v1
from cupola_compat.torchvision.transforms.functional import (
    convert_image_dtype,
    pil_to_tensor,
    to_grayscale,
    to_tensor,
)
from cupola_compat.torchvision.transforms.v2 import images, masks, places
from cupola_compat.torchvision.transforms.v2.dispatch import (
    function,
    is_pure_tensor,
    register_kernel,
)
from cupola_compat.torchvision.transforms.v2.formats import (
    clamp_bounding_boxes,
    clamp_keypoints,
    convert_bounding_box_format,
    sanitize_bounding_boxes,
    sanitize_keypoints,
)


def _cast(inpt: Tensor, dtype: Any) -> Tensor:
    return inpt.to(dtype)


# The kernels of images, by function; those of masks, boxes and points have names in their modules.
_KERNELS = {
    "adjust_brightness": v1.adjust_brightness,
    "adjust_contrast": v1.adjust_contrast,
    "adjust_gamma": v1.adjust_gamma,
    "adjust_hue": v1.adjust_hue,
    "adjust_saturation": v1.adjust_saturation,
    "adjust_sharpness": v1.adjust_sharpness,
    "affine": v1.affine,
    "autocontrast": images.autocontrast,
    "center_crop": v1.center_crop,
    "crop": v1.crop,
    "elastic": v1.elastic_transform,
    "equalize": images.equalize,
    "erase": images.erase,
    "five_crop": v1.five_crop,
    "gaussian_blur": v1.gaussian_blur,
    "gaussian_noise": images.gaussian_noise,
    "get_dimensions": v1.get_dimensions,
    "get_num_channels": images.get_num_channels,
    "get_size": images.get_size,
    "grayscale_to_rgb": images.grayscale_to_rgb,
    "horizontal_flip": v1.hflip,
    "invert": v1.invert,
    "jpeg": images.jpeg,
    "normalize": v1.normalize,
    "pad": images.pad,
    "permute_channels": images.permute_channels,
    "perspective": v1.perspective,
    "posterize": images.posterize,
    "resize": images.resize,
    "resized_crop": images.resized_crop,
    "rgb_to_grayscale": v1.rgb_to_grayscale,
    "rotate": v1.rotate,
    "solarize": v1.solarize,
    "ten_crop": v1.ten_crop,
    "to_dtype": images.to_dtype,
    "vertical_flip": v1.vflip,
}
_FRAMES = {
    "get_num_frames": images.get_num_frames,
    "uniform_temporal_subsample": images.uniform_temporal_subsample,
}
_STILL = ("rgb_to_grayscale", "grayscale_to_rgb")  # torchvision has these for images only
_KINDS = {"mask": masks, "bounding_boxes": places, "keypoints": places}


def _install() -> list[str]:
    """Makes the functions and shows their kernels; returns all names."""
    here, found = globals(), []
    for name, image in _KERNELS.items():
        others = {k: getattr(home, f"{name}_{k}", None) for k, home in _KINDS.items()}
        pictures = (tv_tensors.Image,) if name in _STILL else (tv_tensors.Image, tv_tensors.Video)
        names = {"mask": "mask", "bounding_boxes": "boxes", "keypoints": "points"}
        shown = {f"{name}_{k}": kernel for k, kernel in others.items() if kernel is not None}
        if name == "to_dtype":  # numbers of the other kinds are never scaled
            others = dict.fromkeys(others, _cast)
        given = {names[k]: kernel for k, kernel in others.items()}
        here[name] = function(name, image, pictures=pictures, **given)
        shown[f"{name}_image"] = image
        if name not in _STILL:
            shown[f"{name}_video"] = image
        here.update(shown)
        found += [name, *shown]
    for name, video in _FRAMES.items():
        here[name] = function(name, video, pictures=(tv_tensors.Video,))
        here[f"{name}_video"] = video
        found += [name, f"{name}_video"]
    return found


_NAMES = _install()
hflip, vflip = globals()["horizontal_flip"], globals()["vertical_flip"]
elastic_transform, get_image_size = globals()["elastic"], globals()["get_size"]
get_image_num_channels = globals()["get_num_channels"]


def to_image(inpt: Any) -> tv_tensors.Image:
    """A PIL image, an array (H, W, C) or a tensor as an image (C, H, W), its values unchanged.

    Raises:
        TypeError: any other type.
    """
    return tv_tensors.Image(images.to_image(inpt))


def to_pil_image(inpt: Any, mode: str | None = None) -> Any:
    """A tensor (C, H, W) or an array (H, W, C) as a PIL image; floats become bytes."""
    return v1.to_pil_image(inpt.as_subclass(Tensor) if isinstance(inpt, Tensor) else inpt, mode)


__all__ = [  # noqa: PLE0604
    *_NAMES,
    "InterpolationMode",
    "clamp_bounding_boxes",
    "clamp_keypoints",
    "convert_bounding_box_format",
    "convert_image_dtype",
    "elastic_transform",
    "get_image_num_channels",
    "get_image_size",
    "hflip",
    "is_pure_tensor",
    "pil_to_tensor",
    "register_kernel",
    "sanitize_bounding_boxes",
    "sanitize_keypoints",
    "to_grayscale",
    "to_image",
    "to_pil_image",
    "to_tensor",
    "vflip",
]

__getattr__ = module_getattr(
    "transforms.v2.functional", "write it with Pillow or with tensor operators"
)
