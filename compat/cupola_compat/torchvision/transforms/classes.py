"""Transforms as objects, most of them one function of `functional` with its arguments bound."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import cupola
from cupola import nn
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms import functional as F
from cupola_compat.torchvision.transforms.interpolation import (
    InterpolationMode,
    interpolation_mode,
)

BILINEAR = InterpolationMode.BILINEAR


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, numbers.Number):
        return int(size), int(size)
    return tuple(size) if len(size) == 2 else (size[0], size[0])


class Compose:
    """Applies transforms one after another."""

    def __init__(self, transforms: Sequence[Callable]):
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


class ToTensor:
    """`functional.to_tensor`."""

    def __call__(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return "ToTensor()"


class PILToTensor:
    """`functional.pil_to_tensor`."""

    def __call__(self, pic: Any) -> Tensor:
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return "PILToTensor()"


class ToPILImage:
    """`functional.to_pil_image`."""

    def __init__(self, mode: str | None = None):
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"ToPILImage({'' if self.mode is None else f'mode={self.mode}'})"


class Lambda:
    """Applies a function."""

    def __init__(self, lambd: Callable):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return "Lambda()"


class ConvertImageDtype(nn.Module):
    """`functional.convert_image_dtype`."""

    def __init__(self, dtype: Any):
        super().__init__()
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        return F.convert_image_dtype(image, self.dtype)


class Normalize(nn.Module):
    """`functional.normalize`."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False):
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor: Tensor) -> Tensor:
        return F.normalize(tensor, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Resize(nn.Module):
    """`functional.resize`."""

    def __init__(
        self,
        size: Any,
        interpolation: InterpolationMode | int = BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ):
        super().__init__()
        self.size, self.interpolation = size, interpolation
        self.max_size, self.antialias = max_size, antialias

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def extra_repr(self) -> str:
        return (
            f"size={self.size}, interpolation={interpolation_mode(self.interpolation).value}, "
            f"max_size={self.max_size}, antialias={self.antialias}"
        )


class CenterCrop(nn.Module):
    """`functional.center_crop`."""

    def __init__(self, size: Any):
        super().__init__()
        self.size = _pair(size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Pad(nn.Module):
    """`functional.pad`."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant"):
        super().__init__()
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode}"


class Grayscale(nn.Module):
    """`functional.rgb_to_grayscale`."""

    def __init__(self, num_output_channels: int = 1):
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def extra_repr(self) -> str:
        return f"num_output_channels={self.num_output_channels}"


# The random transforms draw from cupola's generator in torchvision's order: same seed, same image.


class RandomHorizontalFlip(nn.Module):
    """Mirrors left and right with probability `p`."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return F.hflip(img) if cupola.rand(1).item() < self.p else img

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomVerticalFlip(nn.Module):
    """Mirrors top and bottom with probability `p`."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def forward(self, img: Any) -> Any:
        return F.vflip(img) if cupola.rand(1).item() < self.p else img

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomApply(nn.Module):
    """Applies all of `transforms` with probability `p`, or none."""

    def __init__(self, transforms: Sequence[Callable], p: float = 0.5):
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        if self.p < cupola.rand(1).item():
            return img
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}(\n    p={self.p}{lines}\n)"


class RandomCrop(nn.Module):
    """Cuts out a rectangle of `size` (height, width) at a random place.

    Raises:
        ValueError: the image is smaller than `size` and `pad_if_needed` is off.
    """

    def __init__(
        self,
        size: Any,
        padding: Any = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ):
        super().__init__()
        self.size, self.padding, self.pad_if_needed = _pair(size), padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Returns top, left, height and width of a random rectangle."""
        _, full_height, full_width = F.get_dimensions(img)
        height, width = output_size
        if full_height < height or full_width < width:
            raise ValueError(
                f"Required crop size {(height, width)} is larger than "
                f"input image size {(full_height, full_width)}"
            )
        if (full_height, full_width) == (height, width):
            return 0, 0, full_height, full_width
        top = int(cupola.randint(0, full_height - height + 1, size=(1,)).item())
        left = int(cupola.randint(0, full_width - width + 1, size=(1,)).item())
        return top, left, height, width

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            _, height, width = F.get_dimensions(img)
            lack = [max(self.size[1] - width, 0), max(self.size[0] - height, 0)]
            img = F.pad(img, lack, self.fill, self.padding_mode) if any(lack) else img
        return F.crop(img, *self.get_params(img, self.size))

    def extra_repr(self) -> str:
        return f"size={self.size}, padding={self.padding}"


def drawn_part(
    size: Sequence[int], scale: Sequence[float], ratio: Sequence[float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of an image of `size` [height, width]."""
    full_height, full_width = size
    low, high = (float(v) for v in cupola.log(cupola.tensor(list(ratio))))
    for _ in range(10):
        area = full_height * full_width * cupola.empty(1).uniform_(*scale).item()
        aspect = cupola.exp(cupola.empty(1).uniform_(low, high)).item()
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= full_width and 0 < height <= full_height:
            top = int(cupola.randint(0, full_height - height + 1, size=(1,)).item())
            left = int(cupola.randint(0, full_width - width + 1, size=(1,)).item())
            return top, left, height, width
    # No fitting part in ten tries: the largest central one of an allowed ratio.
    aspect = min(max(full_width / full_height, min(ratio)), max(ratio))
    width = min(full_width, round(full_height * aspect))
    height = min(full_height, round(full_width / aspect))
    return (full_height - height) // 2, (full_width - width) // 2, height, width


class RandomResizedCrop(nn.Module):
    """Cuts out a random part, of random area and aspect ratio, and resizes it to `size`."""

    def __init__(
        self,
        size: Any,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: InterpolationMode | int = BILINEAR,
        antialias: bool | None = True,
    ):
        super().__init__()
        self.size, self.scale, self.ratio = _pair(size), scale, ratio
        self.interpolation, self.antialias = interpolation, antialias

    @staticmethod
    def get_params(
        img: Any, scale: Sequence[float], ratio: Sequence[float]
    ) -> tuple[int, int, int, int]:
        """Returns top, left, height and width of a random part."""
        _, full_height, full_width = F.get_dimensions(img)
        return drawn_part((full_height, full_width), scale, ratio)

    def forward(self, img: Any) -> Any:
        part = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *part, self.size, self.interpolation, self.antialias)

    def extra_repr(self) -> str:
        scale, ratio = (tuple(round(v, 4) for v in pair) for pair in (self.scale, self.ratio))
        mode = interpolation_mode(self.interpolation).value
        return (
            f"size={self.size}, scale={scale}, ratio={ratio}, interpolation={mode}, "
            f"antialias={self.antialias}"
        )
