"""Image transforms on PIL images and on tensors (…, C, H, W)."""

from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.transforms import functional
from cupola_compat.torchvision.transforms.classes import (
    CenterCrop,
    Compose,
    ConvertImageDtype,
    Grayscale,
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
from cupola_compat.torchvision.transforms.interpolation import InterpolationMode

__all__ = [
    "CenterCrop",
    "Compose",
    "ConvertImageDtype",
    "Grayscale",
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
    "ToPILImage",
    "ToTensor",
    "functional",
]

__getattr__ = module_getattr(
    "transforms", "see cupola_compat.torchvision.transforms.__all__ for what there is"
)
