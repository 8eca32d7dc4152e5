"""Changes of colour (second interface)."""

from __future__ import annotations

from typing import Any

import cupola
from cupola_compat.torchvision import transforms as v1
from cupola_compat.torchvision.transforms.random_color import uniform
from cupola_compat.torchvision.transforms.v2 import functional as F
from cupola_compat.torchvision.transforms.v2.base import RandomTransform, Transform, query_chw


class Grayscale(Transform):
    """`functional.rgb_to_grayscale`."""

    _v1_transform_cls = v1.Grayscale

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.rgb_to_grayscale, inpt, self.num_output_channels)


class RandomGrayscale(RandomTransform):
    """Gray in as many channels as there were, with probability `p`."""

    _v1_transform_cls = v1.RandomGrayscale

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"channels": query_chw(flat_inputs)[0]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.rgb_to_grayscale, inpt, params["channels"])


class RGB(Transform):
    """`functional.grayscale_to_rgb`."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.grayscale_to_rgb, inpt)


_CHANGES = {
    "brightness_factor": F.adjust_brightness,
    "contrast_factor": F.adjust_contrast,
    "saturation_factor": F.adjust_saturation,
    "hue_factor": F.adjust_hue,
}


class ColorJitter(Transform):
    """Changes brightness, contrast, saturation and hue at random, in random order."""

    _v1_transform_cls = v1.ColorJitter

    def __init__(
        self, brightness: Any = None, contrast: Any = None, saturation: Any = None, hue: Any = None
    ) -> None:
        super().__init__()
        ranges = [0 if r is None else r for r in (brightness, contrast, saturation, hue)]
        checked = v1.ColorJitter(*ranges)
        self.brightness, self.contrast = checked.brightness, checked.contrast
        self.saturation, self.hue = checked.saturation, checked.hue

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        drawn = v1.ColorJitter.get_params(*ranges)
        return dict(zip(("fn_idx", *_CHANGES), drawn, strict=True))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        names = list(_CHANGES)
        for index in params["fn_idx"].tolist():
            factor = params[names[index]]
            if factor is not None:
                inpt = self._call_kernel(_CHANGES[names[index]], inpt, factor)
        return inpt


class RandomChannelPermutation(Transform):
    """Puts the channels in a random order."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"permutation": cupola.randperm(query_chw(flat_inputs)[0]).tolist()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.permute_channels, inpt, params["permutation"])


class RandomPhotometricDistort(Transform):
    """Changes brightness, contrast, saturation, hue and the channels' order, each with probability
    `p` (SSD, arXiv:1512.02325).
    """

    def __init__(
        self,
        brightness: tuple[float, float] = (0.875, 1.125),
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: tuple[float, float] = (-0.05, 0.05),
        p: float = 0.5,
    ) -> None:
        super().__init__()
        self.brightness, self.contrast, self.hue = brightness, contrast, hue
        self.saturation, self.p = saturation, p

    def _happens(self) -> bool:
        return bool(cupola.rand(1).item() < self.p)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        channels = query_chw(flat_inputs)[0]
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        params: dict[str, Any] = {
            name: uniform(*limits) if self._happens() else None
            for name, limits in zip(_CHANGES, ranges, strict=True)
        }
        params["contrast_before"] = bool(cupola.rand(()).item() < 0.5)
        permute = self._happens()
        params["channel_permutation"] = cupola.randperm(channels).tolist() if permute else None
        return params

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        brightness, contrast, *others = _CHANGES
        early = params["contrast_before"]
        order = [brightness, contrast, *others] if early else [brightness, *others, contrast]
        for name in order:
            if params[name] is not None:
                inpt = self._call_kernel(_CHANGES[name], inpt, params[name])
        if params["channel_permutation"] is not None:
            inpt = self._call_kernel(F.permute_channels, inpt, params["channel_permutation"])
        return inpt


class RandomInvert(RandomTransform):
    """`functional.invert` with probability `p`."""

    _v1_transform_cls = v1.RandomInvert

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.invert, inpt)


class RandomAutocontrast(RandomTransform):
    """`functional.autocontrast` with probability `p`."""

    _v1_transform_cls = v1.RandomAutocontrast

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.autocontrast, inpt)


class RandomEqualize(RandomTransform):
    """`functional.equalize` with probability `p`."""

    _v1_transform_cls = v1.RandomEqualize

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.equalize, inpt)


class RandomPosterize(RandomTransform):
    """`functional.posterize` with probability `p`."""

    _v1_transform_cls = v1.RandomPosterize

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.posterize, inpt, self.bits)


class RandomSolarize(RandomTransform):
    """`functional.solarize` with probability `p`."""

    _v1_transform_cls = v1.RandomSolarize

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.solarize, inpt, self.threshold)


class RandomAdjustSharpness(RandomTransform):
    """`functional.adjust_sharpness` with probability `p`."""

    _v1_transform_cls = v1.RandomAdjustSharpness

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.adjust_sharpness, inpt, self.sharpness_factor)
