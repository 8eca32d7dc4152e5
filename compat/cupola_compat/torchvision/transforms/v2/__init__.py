"""Transforms of the second interface, on PIL images and plain tensors (torchvision.transforms.v2).

Where both interfaces have a class they do the same to an image; those of the first stand here.
Boxes, masks and videos as tensor subclasses (`tv_tensors`) are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupola
from cupola import nn
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.transforms import (
    AutoAugmentPolicy,
    CenterCrop,
    ColorJitter,
    Compose,
    ConvertImageDtype,
    ElasticTransform,
    FiveCrop,
    GaussianBlur,
    Grayscale,
    InterpolationMode,
    Lambda,
    LinearTransformation,
    Normalize,
    Pad,
    PILToTensor,
    RandomAdjustSharpness,
    RandomAffine,
    RandomApply,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomInvert,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomSolarize,
    RandomVerticalFlip,
    Resize,
    TenCrop,
    ToPILImage,
    ToTensor,
)
from cupola_compat.torchvision.transforms.v2 import functional
from cupola_compat.torchvision.transforms.v2.augment import (
    AugMix,
    AutoAugment,
    RandAugment,
    RandomAutocontrast,
    RandomEqualize,
    RandomPosterize,
    TrivialAugmentWide,
)

__all__ = [
    "AugMix",
    "AutoAugment",
    "AutoAugmentPolicy",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ConvertImageDtype",
    "ElasticTransform",
    "FiveCrop",
    "GaussianBlur",
    "Grayscale",
    "Identity",
    "InterpolationMode",
    "Lambda",
    "LinearTransformation",
    "Normalize",
    "PILToTensor",
    "Pad",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomApply",
    "RandomAutocontrast",
    "RandomChoice",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomOrder",
    "RandomPerspective",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
    "ToDtype",
    "ToImage",
    "ToPILImage",
    "ToTensor",
    "TrivialAugmentWide",
    "functional",
]


class Identity(nn.Module):
    """Returns its input."""

    def forward(self, inpt: Any) -> Any:
        return inpt


class RandomOrder(nn.Module):
    """Applies all transforms, in random order."""

    def __init__(self, transforms: Sequence[Callable]) -> None:
        super().__init__()
        self.transforms = transforms

    def forward(self, inpt: Any) -> Any:
        for index in cupola.randperm(len(self.transforms)).tolist():
            inpt = self.transforms[index](inpt)
        return inpt


class RandomChoice(nn.Module):
    """Applies one of the transforms, drawn with probabilities in proportion to `p`.

    Raises:
        ValueError: `p` has another length than `transforms`.
    """

    def __init__(self, transforms: Sequence[Callable], p: list[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(transforms) if p is None else p
        if len(weights) != len(transforms):
            raise ValueError(
                f"Length of p doesn't match the number of transforms: "
                f"{len(weights)} != {len(transforms)}"
            )
        self.transforms = transforms
        self.p = [weight / sum(weights) for weight in weights]

    def forward(self, inpt: Any) -> Any:
        index = int(cupola.multinomial(cupola.tensor(self.p), 1))
        return self.transforms[index](inpt)


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
