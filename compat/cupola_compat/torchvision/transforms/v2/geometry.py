"""Changes of geometry (second interface): pictures, masks, boxes and points alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import cupola
from cupola_compat.torchvision import transforms as v1
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.transforms.classes import drawn_part
from cupola_compat.torchvision.transforms.geometry import perspective_coefficients
from cupola_compat.torchvision.transforms.random_color import uniform
from cupola_compat.torchvision.transforms.v2 import functional as F
from cupola_compat.torchvision.transforms.v2.base import (
    PLACES,
    RandomTransform,
    Transform,
    checked_fill,
    fill_of,
    has_any,
    number_pair,
    query_size,
)
from cupola_compat.torchvision.transforms.v2.sizes import pair, parsed_padding


class RandomHorizontalFlip(RandomTransform):
    """Mirrors left and right with probability `p`."""

    _v1_transform_cls = v1.RandomHorizontalFlip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.horizontal_flip, inpt)


class RandomVerticalFlip(RandomTransform):
    """Mirrors top and bottom with probability `p`."""

    _v1_transform_cls = v1.RandomVerticalFlip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.vertical_flip, inpt)


class Resize(Transform):
    """`functional.resize`.

    Raises:
        ValueError: a size that is no number, no list of one or two, and not None beside `max_size`.
    """

    _v1_transform_cls = v1.Resize

    def __init__(
        self,
        size: Any,
        interpolation: Any = "bilinear",
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        if size is None:
            if not isinstance(max_size, int):
                raise ValueError(
                    f"max_size must be an integer when size is None, but got {max_size} instead."
                )
        elif not isinstance(size, int) and not (isinstance(size, Sequence) and len(size) in (1, 2)):
            raise ValueError(
                "size can be an integer, a sequence of one or two integers, or None, but got "
                f"{size} instead."
            )
        self.size = [size] if isinstance(size, int) else size if size is None else list(size)
        self.interpolation, self.max_size, self.antialias = interpolation, max_size, antialias

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        how = (self.interpolation, self.max_size, self.antialias)
        return self._call_kernel(F.resize, inpt, self.size, *how)


class CenterCrop(Transform):
    """`functional.center_crop`."""

    _v1_transform_cls = v1.CenterCrop

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = pair(size)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.center_crop, inpt, self.size)


class RandomResizedCrop(Transform):
    """Cuts out a random part, of random area and aspect ratio, and resizes it to `size`.

    Raises:
        TypeError: ranges that are not sequences of two numbers.
    """

    _v1_transform_cls = v1.RandomResizedCrop

    def __init__(
        self,
        size: Any,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: Any = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        for value, name in ((scale, "Scale"), (ratio, "Ratio")):
            if not isinstance(value, Sequence) or len(value) != 2:
                raise TypeError(f"{name} should be a sequence of two floats.")
        if scale[0] > scale[1] or ratio[0] > ratio[1]:
            warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=2)
        self.size, self.scale, self.ratio = pair(size), scale, ratio
        self.interpolation, self.antialias = interpolation, antialias

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        part = drawn_part(query_size(flat_inputs), self.scale, self.ratio)
        return dict(zip(("top", "left", "height", "width"), part, strict=True))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        how = {"interpolation": self.interpolation, "antialias": self.antialias}
        return self._call_kernel(F.resized_crop, inpt, **params, size=self.size, **how)


class _Crops(Transform):
    """Transforms that give several pictures; boxes and masks are not supported."""

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        if has_any(flat_inputs, tv_tensors.BoundingBoxes, tv_tensors.Mask):
            raise TypeError(
                f"BoundingBoxes'es and Mask's are not supported by {type(self).__name__}()"
            )

    def _call_kernel(self, functional: Callable, inpt: Any, *args: Any, **kwargs: Any) -> Any:
        warn_of_passing(self, inpt)
        return super()._call_kernel(functional, inpt, *args, **kwargs)


def warn_of_passing(transform: Transform, inpt: Any) -> None:
    """Says that a transform leaves a mask, boxes or points as they are."""
    if isinstance(inpt, PLACES):
        warnings.warn(
            f"{type(transform).__name__}() is currently passing through inputs of type "
            f"tv_tensors.{type(inpt).__name__}. This will likely change in the future.",
            stacklevel=3,
        )


class FiveCrop(_Crops):
    """`functional.five_crop`."""

    _v1_transform_cls = v1.FiveCrop

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = pair(size)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.five_crop, inpt, self.size)


class TenCrop(_Crops):
    """`functional.ten_crop`."""

    _v1_transform_cls = v1.TenCrop

    def __init__(self, size: Any, vertical_flip: bool = False) -> None:
        super().__init__()
        self.size, self.vertical_flip = pair(size), vertical_flip

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.ten_crop, inpt, self.size, self.vertical_flip)


class _Filling(Transform):
    """Transforms that fill what lies outside: a number, several, or a dictionary by type."""

    _fill: dict[Any, Any]

    def _set_fill(self, fill: Any) -> None:
        self.fill, self._fill = fill, checked_fill(fill)


class Pad(_Filling):
    """`functional.pad`."""

    _v1_transform_cls = v1.Pad

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        parsed_padding(padding)
        self.padding = padding if isinstance(padding, int) else list(padding)
        self._set_fill(fill)
        self.padding_mode = padding_mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        fill = fill_of(self._fill, inpt)
        return self._call_kernel(F.pad, inpt, self.padding, fill, self.padding_mode)


class RandomZoomOut(_Filling, RandomTransform):
    """Puts the picture at a random place of a larger one, with probability `p`.

    Raises:
        ValueError: a range of sides that is empty or begins below one.
    """

    def __init__(
        self, fill: Any = 0, side_range: Sequence[float] = (1.0, 4.0), p: float = 0.5
    ) -> None:
        super().__init__(p)
        self._set_fill(fill)
        if side_range[0] < 1.0 or side_range[0] > side_range[1]:
            raise ValueError(f"Invalid side range provided {side_range}.")
        self.side_range = side_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = query_size(flat_inputs)
        low, high = self.side_range
        side = low + cupola.rand(1) * (high - low)
        lack_x, lack_y = int(width * side) - width, int(height * side) - height
        place = cupola.rand(2)
        left, top = int(lack_x * place[0]), int(lack_y * place[1])
        return {"padding": [left, top, lack_x - left, lack_y - top]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return self._call_kernel(F.pad, inpt, **params, fill=fill_of(self._fill, inpt))


class RandomRotation(_Filling):
    """Turns by a random angle from `degrees`, counter-clockwise."""

    _shown = ("degrees", "interpolation", "expand", "fill", "center")
    _v1_transform_cls = v1.RandomRotation

    def __init__(
        self,
        degrees: Any,
        interpolation: Any = "nearest",
        expand: bool = False,
        center: Any = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        checked = v1.RandomRotation(degrees, expand=expand, center=center)
        self.degrees, self.expand, self.center = checked.degrees, expand, center
        self.interpolation = interpolation
        self._set_fill(fill)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"angle": uniform(*self.degrees)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        how = (params["angle"], self.interpolation, self.expand, self.center)
        return self._call_kernel(F.rotate, inpt, *how, fill_of(self._fill, inpt))


class RandomAffine(_Filling):
    """Turns, moves, scales and shears at random about the centre.

    Raises:
        ValueError: translations outside [0, 1], or scales that are not positive.
    """

    _shown = ("degrees", "translate", "scale", "shear", "interpolation", "fill", "center")
    _v1_transform_cls = v1.RandomAffine

    def __init__(
        self,
        degrees: Any,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Any = None,
        interpolation: Any = "nearest",
        fill: Any = 0,
        center: Any = None,
    ) -> None:
        super().__init__()
        checked = v1.RandomAffine(degrees, translate, scale, shear, center=center)
        self.degrees, self.shear = checked.degrees, checked.shear
        self.translate, self.scale, self.center = translate, scale, center
        self.interpolation = interpolation
        self._set_fill(fill)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = query_size(flat_inputs)
        ranges = (self.degrees, self.translate, self.scale, self.shear)
        drawn = v1.RandomAffine.get_params(*ranges, [width, height])
        return dict(zip(("angle", "translate", "scale", "shear"), drawn, strict=True))

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        how = {"interpolation": self.interpolation, "center": self.center}
        return self._call_kernel(F.affine, inpt, **params, **how, fill=fill_of(self._fill, inpt))


class RandomCrop(_Filling):
    """Cuts out a rectangle of `size` (height, width) at a random place.

    Raises:
        ValueError: the picture is smaller than `size` and `pad_if_needed` is off.
    """

    _shown = ("size", "padding", "pad_if_needed", "fill", "padding_mode")
    _v1_transform_cls = v1.RandomCrop

    def __init__(
        self,
        size: Any,
        padding: Any = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size = pair(size)
        left, top, right, bottom = parsed_padding(padding) if padding else (0, 0, 0, 0)
        self.padding = [left, right, top, bottom] if padding else None
        self.pad_if_needed, self.padding_mode = pad_if_needed, padding_mode
        self._set_fill(fill)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        whole, part = list(query_size(flat_inputs)), self.size
        left, right, top, bottom = self.padding or (0, 0, 0, 0)
        around = [[top, bottom], [left, right]]
        for axis in (0, 1):
            lack = part[axis] - whole[axis] - sum(around[axis])
            if self.pad_if_needed and lack > 0:
                around[axis] = [side + lack for side in around[axis]]
            whole[axis] += sum(around[axis])
        if whole[0] < part[0] or whole[1] < part[1]:
            padded = "padded " if self.padding is not None else ""
            raise ValueError(
                f"Required crop size {part} is larger than {padded}input image size {tuple(whole)}."
            )
        rest = [whole[0] - part[0], whole[1] - part[1]]
        place = [int(cupola.randint(0, r + 1, size=())) if r > 0 else 0 for r in rest]
        return {
            "needs_crop": any(rest),
            "top": place[0],
            "left": place[1],
            "height": part[0],
            "width": part[1],
            "needs_pad": any(around[0] + around[1]),
            "padding": [around[1][0], around[0][0], around[1][1], around[0][1]],
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if params["needs_pad"]:
            fill = fill_of(self._fill, inpt)
            inpt = self._call_kernel(F.pad, inpt, params["padding"], fill, self.padding_mode)
        if params["needs_crop"]:
            part = {name: params[name] for name in ("top", "left", "height", "width")}
            inpt = self._call_kernel(F.crop, inpt, **part)
        return inpt


class RandomPerspective(_Filling, RandomTransform):
    """Moves the corners at random, with probability `p`.

    Raises:
        ValueError: a distortion outside [0, 1].
    """

    _v1_transform_cls = v1.RandomPerspective

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: Any = "bilinear",
        fill: Any = 0,
    ) -> None:
        super().__init__(p)
        if not 0 <= distortion_scale <= 1:
            raise ValueError("Argument distortion_scale value should be between 0 and 1")
        self.distortion_scale, self.interpolation = distortion_scale, interpolation
        self._set_fill(fill)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = query_size(flat_inputs)
        corners = v1.RandomPerspective.get_params(width, height, self.distortion_scale)
        return {"coefficients": perspective_coefficients(*corners)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        how = {"interpolation": self.interpolation, "fill": fill_of(self._fill, inpt)}
        return self._call_kernel(F.perspective, inpt, None, None, **params, **how)


class ElasticTransform(_Filling):
    """Moves pixels by smooth random displacements of strength `alpha` and smoothness `sigma`."""

    _v1_transform_cls = v1.ElasticTransform

    def __init__(
        self, alpha: Any = 50.0, sigma: Any = 5.0, interpolation: Any = "bilinear", fill: Any = 0
    ) -> None:
        super().__init__()
        self.alpha, self.sigma = number_pair(alpha, "alpha"), number_pair(sigma, "sigma")
        self.interpolation = interpolation
        self._set_fill(fill)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size = list(query_size(flat_inputs))
        return {"displacement": v1.ElasticTransform.get_params(self.alpha, self.sigma, size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        how = {"interpolation": self.interpolation, "fill": fill_of(self._fill, inpt)}
        return self._call_kernel(F.elastic, inpt, **params, **how)
