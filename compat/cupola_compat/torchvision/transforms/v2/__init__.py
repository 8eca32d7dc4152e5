"""Transforms of the second interface, on PIL images and plain tensors (torchvision.transforms.v2).

Where both interfaces have a class they do the same to an image; those of the first stand here.
Boxes, masks and videos as tensor subclasses (`tv_tensors`) are not there.
"""

from __future__ import annotations

from typing import Any

from cupola import nn
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.transforms import (
    CenterCrop,
    Compose,
    ConvertImageDtype,
    Grayscale,
    InterpolationMode,
    Lambda,
    Normalize,
    Pad,
    PILToTensor,
    RandomApply,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    ToPILImage,
    ToTensor,
)
from cupola_compat.torchvision.transforms.v2 import functional

__all__ = [
    "CenterCrop",
    "Compose",
    "ConvertImageDtype",
    "Grayscale",
    "Identity",
    "InterpolationMode",
    "Lambda",
    "Normalize",
    "PILToTensor",
    "Pad",
    "RandomApply",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "ToDtype",
    "ToImage",
    "ToPILImage",
    "ToTensor",
    "functional",
]


class Identity(nn.Module):
    """Returns its input."""

    def forward(self, inpt: Any) -> Any:
        return inpt


class ToImage(nn.Module):
    """A PIL image or an array (H, W, C) as a tensor (C, H, W), its values unchanged."""

    def forward(self, inpt: Any) -> Any:
        return functional.to_image(inpt)


class ToDtype(nn.Module):
    """Converts tensors to a dtype; with ``scale``, from one dtype's range to the other's."""

    def __init__(self, dtype: Any, scale: bool = False) -> None:
        super().__init__()
        self.dtype = dtype
        self.scale = scale

    def forward(self, inpt: Any) -> Any:
        return functional.to_dtype(inpt, self.dtype, self.scale)


__getattr__ = module_getattr(
    "transforms.v2", "see cupola_compat.torchvision.transforms.v2.__all__ for what there is"
)
