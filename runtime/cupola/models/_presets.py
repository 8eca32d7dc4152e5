"""How images are prepared for published weights: what an enumeration's `transforms()` makes.

torchvision.transforms._presets. Images are tensors (…, C, H, W) or PIL images; the latter are
resized by Pillow, as torchvision does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cupola import dtypes, nn
from cupola.functional.interpolation import interpolate
from cupola.functional.padding import pad
from cupola.tensor import Tensor
from cupola.tensor.create import from_numpy, tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIDEO_MEAN, VIDEO_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_PILLOW = {"nearest": 0, "bilinear": 2, "bicubic": 3}


def _resized(image: Any, size: Sequence[int], mode: str, antialias: bool = True) -> Any:
    """The image with its shorter side at `size`, or of `size` (height, width)."""
    is_tensor = isinstance(image, Tensor)
    height, width = image.shape[-2:] if is_tensor else (image.height, image.width)
    if len(size) == 1:
        short, long = sorted((height, width))
        other = int(size[0] * long / short)
        want = (other, size[0]) if height > width else (size[0], other)
    else:
        want = (size[0], size[1])
    if want == (height, width):
        return image
    if not is_tensor:
        return image.resize(want[::-1], _PILLOW[mode])
    floating = image.dtype.is_floating_point
    batch = image.reshape(-1, *image.shape[-3:])
    smooth = mode != "nearest"
    out = interpolate(
        batch if floating else batch.float(),
        size=want,
        mode=mode,
        align_corners=False if smooth else None,
        antialias=antialias and smooth,
    )
    if not floating:
        out = (out.clamp(0, 255) if image.dtype == dtypes.uint8 else out).round().to(image.dtype)
    return out.reshape(*image.shape[:-2], *want)


def _cropped(image: Any, size: Sequence[int]) -> Any:
    """The middle of the image, (height, width); what it lacks is zero."""
    height, width = size if len(size) == 2 else (size[0], size[0])
    is_tensor = isinstance(image, Tensor)
    has = image.shape[-2:] if is_tensor else (image.height, image.width)
    before = [max(want - n, 0) // 2 for want, n in zip((height, width), has)]
    after = [(max(want - n, 0) + 1) // 2 for want, n in zip((height, width), has)]
    top, left = (
        round((max(n, want) - want) / 2.0) - b for n, want, b in zip(has, (height, width), before)
    )
    if not is_tensor:  # Pillow fills what is outside with zero
        return image.crop((left, top, left + width, top + height))
    if any(before) or any(after):
        image = pad(image, [before[1], after[1], before[0], after[0]])
        top, left = top + before[0], left + before[1]
    return image[..., top : top + height, left : left + width]


def _scaled(image: Any) -> Tensor:
    """The image as a float32 tensor, (…, C, H, W); integers are scaled to [0, 1]."""
    if not isinstance(image, Tensor):
        array = np.array(image)
        array = array[:, :, None] if array.ndim == 2 else array
        if array.dtype == bool:
            array = array.astype(np.uint8) * 255
        image = from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    if image.dtype.is_floating_point:
        return image.to(dtypes.float32)
    return image.to(dtypes.float32) / np.iinfo(image.dtype.np).max


def _normalized(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(image - mean) / std, channel by channel."""
    centre, spread = (
        tensor(values, dtype=image.dtype, device=image.device).reshape(-1, 1, 1)
        for values in (mean, std)
    )
    return (image - centre) / spread


class _Preset(nn.Module):
    """What presets with sizes have in common: their attributes, and how they print."""

    _shown: tuple[str, ...] = ()

    def __init__(self, **given: Any) -> None:
        super().__init__()
        for name, value in given.items():
            setattr(self, name, list(value) if isinstance(value, tuple) else value)

    def __repr__(self) -> str:
        if not self._shown:
            return f"{type(self).__name__}()"
        lines = [f"    {name}={getattr(self, name)}" for name in self._shown]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


class ImageClassification(_Preset):
    """Resizes the shorter side, crops the middle, scales to [0, 1], normalises."""

    _shown = ("crop_size", "resize_size", "mean", "std", "interpolation")

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: int = 256,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        interpolation: str = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        super().__init__(
            crop_size=[crop_size], resize_size=[resize_size], mean=list(mean), std=list(std),
            interpolation=interpolation, antialias=antialias,
        )  # fmt: skip

    def forward(self, img: Any) -> Tensor:
        """Returns a float32 tensor (…, C, crop_size, crop_size)."""
        img = _resized(img, self.resize_size, self.interpolation, bool(self.antialias))
        return _normalized(_scaled(_cropped(img, self.crop_size)), self.mean, self.std)


class SemanticSegmentation(_Preset):
    """Resizes the shorter side where a size is given, scales to [0, 1], normalises."""

    _shown = ("resize_size", "mean", "std", "interpolation")

    def __init__(
        self,
        *,
        resize_size: int | None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
        interpolation: str = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        super().__init__(
            resize_size=None if resize_size is None else [resize_size], mean=list(mean),
            std=list(std), interpolation=interpolation, antialias=antialias,
        )  # fmt: skip

    def forward(self, img: Any) -> Tensor:
        """Returns a float32 tensor (…, C, H, W)."""
        if self.resize_size is not None:
            img = _resized(img, self.resize_size, self.interpolation, bool(self.antialias))
        return _normalized(_scaled(img), self.mean, self.std)


class VideoClassification(_Preset):
    """Prepares the frames of clips, ([B,] T, C, H, W), and puts channels before time."""

    _shown = ("crop_size", "resize_size", "mean", "std", "interpolation")

    def __init__(
        self,
        *,
        crop_size: Sequence[int],
        resize_size: Sequence[int],
        mean: Sequence[float] = VIDEO_MEAN,
        std: Sequence[float] = VIDEO_STD,
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__(
            crop_size=list(crop_size), resize_size=list(resize_size), mean=list(mean),
            std=list(std), interpolation=interpolation,
        )  # fmt: skip

    def forward(self, vid: Tensor) -> Tensor:
        """Returns a float32 tensor ([B,] C, T, height, width)."""
        vid = _resized(vid, self.resize_size, self.interpolation, antialias=False)
        vid = _normalized(_scaled(_cropped(vid, self.crop_size)), self.mean, self.std)
        return vid.transpose(-4, -3)


class ObjectDetection(_Preset):
    """Scales to [0, 1]: detectors resize and normalise by themselves."""

    def forward(self, img: Any) -> Tensor:
        """Returns a float32 tensor (…, C, H, W)."""
        return _scaled(img)


class OpticalFlow(_Preset):
    """Scales two images to [-1, 1]."""

    def forward(self, img1: Any, img2: Any) -> tuple[Tensor, Tensor]:
        """Returns two float32 tensors (…, C, H, W)."""
        first, second = (
            _normalized(_scaled(img), [0.5] * 3, [0.5] * 3).contiguous() for img in (img1, img2)
        )
        return first, second


PRESETS = {
    kind.__name__: kind
    for kind in (
        ImageClassification, SemanticSegmentation, VideoClassification, ObjectDetection,
        OpticalFlow,
    )
}  # fmt: skip
