"""Random changes of geometry, as objects; they draw in torchvision's order."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import cupola
from cupola import nn
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms import functional as F
from cupola_compat.torchvision.transforms.classes import _pair
from cupola_compat.torchvision.transforms.interpolation import (
    InterpolationMode,
    interpolation_mode,
)
from cupola_compat.torchvision.transforms.random_color import uniform

NEAREST, BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR


def _angles(value: Any, name: str, sizes: tuple[int, ...] = (2,)) -> list[float]:
    """A range of degrees: of one number, as much to both sides."""
    if isinstance(value, numbers.Number):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        return [-float(value), float(value)]
    _check_length(value, name, sizes)
    return [float(v) for v in value]


def _check_length(value: Any, name: str, sizes: tuple[int, ...]) -> None:
    words = " or ".join(map(str, sizes))
    if not isinstance(value, Sequence):
        raise TypeError(f"{name} should be a sequence of length {words}.")
    if len(value) not in sizes:
        raise ValueError(f"{name} should be a sequence of length {words}.")


def _fill_for(img: Any, fill: Any) -> Any:
    """What `functional` takes: for tensors a number for each channel."""
    if not isinstance(img, Tensor):
        return fill
    if isinstance(fill, (int, float)):
        return [float(fill)] * F.get_dimensions(img)[0]
    return [float(v) for v in fill]


def _checked_fill(fill: Any) -> Any:
    if fill is None:
        return 0
    if not isinstance(fill, (Sequence, numbers.Number)):
        raise TypeError("Fill should be either a sequence or a number.")
    return fill


class FiveCrop(nn.Module):
    """`functional.five_crop`."""

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = _pair(size)

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.five_crop(img, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class TenCrop(nn.Module):
    """`functional.ten_crop`."""

    def __init__(self, size: Any, vertical_flip: bool = False) -> None:
        super().__init__()
        self.size, self.vertical_flip = _pair(size), vertical_flip

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.ten_crop(img, self.size, self.vertical_flip)

    def extra_repr(self) -> str:
        return f"size={self.size}, vertical_flip={self.vertical_flip}"


class RandomRotation(nn.Module):
    """Turns by a random angle from `degrees`, counter-clockwise."""

    def __init__(
        self,
        degrees: Any,
        interpolation: InterpolationMode | int = NEAREST,
        expand: bool = False,
        center: Sequence[int] | None = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.degrees = _angles(degrees, "degrees")
        if center is not None:
            _check_length(center, "center", (2,))
        self.interpolation, self.expand = interpolation_mode(interpolation), expand
        self.center, self.fill = center, _checked_fill(fill)

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """A random angle."""
        return uniform(degrees[0], degrees[1])

    def forward(self, img: Any) -> Any:
        angle, fill = self.get_params(self.degrees), _fill_for(img, self.fill)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, fill)

    def extra_repr(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        return (
            f"degrees={self.degrees}, interpolation={self.interpolation.value}, "
            f"expand={self.expand}{center}, fill={self.fill}"
        )


class RandomAffine(nn.Module):
    """Turns, moves, scales and shears at random about the centre.

    Raises:
        ValueError: translations outside [0, 1], or scales that are not positive.
    """

    def __init__(
        self,
        degrees: Any,
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: Any = None,
        interpolation: InterpolationMode | int = NEAREST,
        fill: Any = 0,
        center: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.degrees = _angles(degrees, "degrees")
        if translate is not None:
            _check_length(translate, "translate", (2,))
            if not all(0.0 <= t <= 1.0 for t in translate):
                raise ValueError("translation values should be between 0 and 1")
        if scale is not None:
            _check_length(scale, "scale", (2,))
            if min(scale) <= 0:
                raise ValueError("scale values should be positive")
        if center is not None:
            _check_length(center, "center", (2,))
        self.translate, self.scale, self.center = translate, scale, center
        self.shear = None if shear is None else _angles(shear, "shear", (2, 4))
        self.interpolation, self.fill = interpolation_mode(interpolation), _checked_fill(fill)

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """Angle, translation in pixels, scale and shear; `img_size` is [width, height]."""
        angle, move, scale = uniform(degrees[0], degrees[1]), (0, 0), 1.0
        if translate is not None:
            limits = [float(t * side) for t, side in zip(translate, img_size, strict=True)]
            move = tuple(round(uniform(-limit, limit)) for limit in limits)
        if scale_ranges is not None:
            scale = uniform(scale_ranges[0], scale_ranges[1])
        shear_x = shear_y = 0.0
        if shears is not None:
            shear_x = uniform(shears[0], shears[1])
            shear_y = uniform(shears[2], shears[3]) if len(shears) == 4 else 0.0
        return angle, move, scale, (shear_x, shear_y)

    def forward(self, img: Any) -> Any:
        _, height, width = F.get_dimensions(img)
        drawn = self.get_params(
            self.degrees, self.translate, self.scale, self.shear, [width, height]
        )
        fill = _fill_for(img, self.fill)
        return F.affine(
            img, *drawn, interpolation=self.interpolation, fill=fill, center=self.center
        )

    def extra_repr(self) -> str:
        given = {name: getattr(self, name) for name in ("translate", "scale", "shear")}
        if self.interpolation is not NEAREST:
            given["interpolation"] = self.interpolation.value
        given |= {"fill": self.fill or None, "center": self.center}
        more = "".join(f", {k}={v}" for k, v in given.items() if v is not None)
        return f"degrees={self.degrees}{more}"


class RandomPerspective(nn.Module):
    """Moves the corners at random, with probability `p`."""

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: InterpolationMode | int = BILINEAR,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.distortion_scale, self.p = distortion_scale, p
        self.interpolation, self.fill = interpolation_mode(interpolation), _checked_fill(fill)

    @staticmethod
    def get_params(
        width: int, height: int, distortion_scale: float
    ) -> tuple[list[list[int]], list[list[int]]]:
        """The corners before and after, clockwise from the upper left."""
        reach_x, reach_y = (int(distortion_scale * (side // 2)) for side in (width, height))
        left, right = (0, reach_x + 1), (width - reach_x - 1, width)
        top, bottom = (0, reach_y + 1), (height - reach_y - 1, height)
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        start = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        end = [[int(cupola.randint(*axis, (1,)).item()) for axis in axes] for axes in corners]
        return start, end

    def forward(self, img: Any) -> Any:
        if cupola.rand(1).item() >= self.p:
            return img
        _, height, width = F.get_dimensions(img)
        start, end = self.get_params(width, height, self.distortion_scale)
        return F.perspective(img, start, end, self.interpolation, _fill_for(img, self.fill))

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ElasticTransform(nn.Module):
    """Moves pixels by smooth random displacements of strength `alpha` and smoothness `sigma`."""

    def __init__(
        self,
        alpha: Any = 50.0,
        sigma: Any = 5.0,
        interpolation: InterpolationMode | int = BILINEAR,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.alpha = [float(alpha)] * 2 if isinstance(alpha, (int, float)) else list(alpha)
        self.sigma = [float(sigma)] * 2 if isinstance(sigma, (int, float)) else list(sigma)
        self.interpolation = interpolation_mode(interpolation)
        numbers_ = [fill] if isinstance(fill, (int, float)) else fill
        self.fill = [float(v) for v in numbers_]

    @staticmethod
    def get_params(alpha: list[float], sigma: list[float], size: list[int]) -> Tensor:
        """Random displacements (1, H, W, 2) in halves of the image's sides."""
        parts = []
        for strength, smooth, side in zip(alpha, sigma, reversed(size), strict=True):
            part = cupola.rand([1, 1, *size]) * 2 - 1
            if smooth > 0.0:
                part = F.gaussian_blur(part, [int(8 * smooth + 1) | 1] * 2, list(sigma))
            parts.append(part * strength / side)
        return cupola.cat(parts, 1).permute(0, 2, 3, 1)

    def forward(self, tensor: Any) -> Any:
        displacement = self.get_params(self.alpha, self.sigma, F.get_dimensions(tensor)[1:])
        return F.elastic_transform(tensor, displacement, self.interpolation, self.fill)

    def extra_repr(self) -> str:
        return (
            f"alpha={self.alpha}, sigma={self.sigma}, interpolation={self.interpolation}, "
            f"fill={self.fill}"
        )


def drawn_rectangle(
    size: Sequence[int], scale: Sequence[float], ratio: Sequence[float], value: Any
) -> tuple[int, int, int, int, Tensor] | None:
    """Row, column, height, width and value for an image of `size` [channels, height, width];
    None where ten tries do not fit.
    """
    channels, rows, columns = size
    low, high = cupola.log(cupola.tensor(list(ratio))).tolist()
    for _ in range(10):
        area = rows * columns * uniform(scale[0], scale[1])
        aspect = cupola.exp(cupola.empty(1).uniform_(low, high)).item()
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height >= rows or width >= columns:
            continue
        if value is None:
            v = cupola.empty([channels, height, width], dtype=cupola.float32).normal_()
        else:
            v = cupola.tensor(value)[:, None, None]
        i = int(cupola.randint(0, rows - height + 1, size=(1,)).item())
        j = int(cupola.randint(0, columns - width + 1, size=(1,)).item())
        return i, j, height, width, v
    return None


class RandomErasing(nn.Module):
    """Overwrites a random rectangle of a tensor with `value`, with probability `p`.

    Raises:
        ValueError: areas or a probability outside [0, 1], or a value of the wrong length.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        if not 0 <= p <= 1:
            raise ValueError("Random erasing probability should be between 0 and 1")
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: Any = None
    ) -> tuple[int, int, int, int, Tensor]:
        """Row, column, height, width and value; of the whole image where ten tries do not fit."""
        size = img.shape[-3:]
        part = drawn_rectangle(size, scale, ratio, value)
        return (0, 0, *size[1:], img) if part is None else part

    def forward(self, img: Tensor) -> Tensor:
        if cupola.rand(1).item() >= self.p:
            return img
        value: Any = self.value
        if isinstance(value, (int, float)):
            value = [float(value)]
        elif isinstance(value, str):
            value = None
        else:
            value = [float(v) for v in value]
        if value is not None and len(value) not in (1, img.shape[-3]):
            raise ValueError(
                "If value is a sequence, it should have either a single value or "
                f"{img.shape[-3]} (number of input channels)"
            )
        return F.erase(img, *self.get_params(img, self.scale, self.ratio, value), self.inplace)

    def extra_repr(self) -> str:
        return (
            f"p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, "
            f"inplace={self.inplace}"
        )
