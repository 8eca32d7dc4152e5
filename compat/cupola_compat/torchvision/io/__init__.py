"""Image files, read by Pillow."""

from __future__ import annotations

import enum
import os

from cupola.tensor import Tensor
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.transforms.functional import pil_to_tensor


class ImageReadMode(enum.Enum):
    """How to read an image's channels."""

    UNCHANGED = None
    GRAY = "L"
    GRAY_ALPHA = "LA"
    RGB = "RGB"
    RGB_ALPHA = "RGBA"


def read_image(
    path: str | os.PathLike, mode: ImageReadMode | str = ImageReadMode.UNCHANGED
) -> Tensor:
    """Reads an image file as a tensor (C, H, W), uint8."""
    from PIL import Image

    if isinstance(mode, str):
        mode = ImageReadMode[mode.upper()]
    with Image.open(path) as image:
        return pil_to_tensor(image if mode.value is None else image.convert(mode.value))


__getattr__ = module_getattr("io", "only read_image is available")
