"""Random changes of colour, as objects; they draw in torchvision's order: same seed, same image."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import cupola
from cupola import nn
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms import functional as F

INFINITE = float("inf")


def uniform(low: float, high: float) -> float:
    """A draw between two numbers."""
    return float(cupola.empty(1).uniform_(float(low), float(high)).item())


def _range(name: str, value: Any, center: float, low: float, high: float) -> Any:
    """The range of a factor around `center`, None where it changes nothing."""
    if isinstance(value, numbers.Number):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative.")
        value = (center - float(value), center + float(value))
        if low == 0:
            value = (max(value[0], 0.0), value[1])
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        value = (float(value[0]), float(value[1]))
    else:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{name} values should be between {(low, high)}, but got {value}.")
    return None if value[0] == value[1] == center else value


class ColorJitter(nn.Module):
    """Changes brightness, contrast, saturation and hue at random, in random order."""

    def __init__(
        self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0
    ) -> None:
        super().__init__()
        self.brightness = _range("brightness", brightness, 1, 0, INFINITE)
        self.contrast = _range("contrast", contrast, 1, 0, INFINITE)
        self.saturation = _range("saturation", saturation, 1, 0, INFINITE)
        self.hue = _range("hue", hue, 0, -0.5, 0.5)

    @staticmethod
    def get_params(brightness: Any, contrast: Any, saturation: Any, hue: Any) -> tuple:
        """The order of the four changes, and their factors."""
        order = cupola.randperm(4)
        ranges = (brightness, contrast, saturation, hue)
        return (order, *(None if r is None else uniform(*r) for r in ranges))

    def forward(self, img: Any) -> Any:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for index in order.tolist():
            if factors[index] is not None:
                img = changes[index](img, factors[index])
        return img

    def extra_repr(self) -> str:
        parts = ("brightness", "contrast", "saturation", "hue")
        return ", ".join(f"{name}={getattr(self, name)}" for name in parts)


class _Sometimes(nn.Module):
    """A change that happens with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def _change(self, img: Any) -> Any:
        raise NotImplementedError

    def forward(self, img: Any) -> Any:
        return self._change(img) if cupola.rand(1).item() < self.p else img

    def extra_repr(self) -> str:
        own = {k: v for k, v in vars(self).items() if k[0] != "_" and k not in ("training", "p")}
        return ",".join(f"{k}={v}" for k, v in (own | {"p": self.p}).items())


class RandomInvert(_Sometimes):
    """`functional.invert` with probability `p`."""

    _change = staticmethod(F.invert)


class RandomAutocontrast(_Sometimes):
    """`functional.autocontrast` with probability `p`."""

    _change = staticmethod(F.autocontrast)


class RandomEqualize(_Sometimes):
    """`functional.equalize` with probability `p`."""

    _change = staticmethod(F.equalize)


class RandomGrayscale(_Sometimes):
    """Gray in as many channels as there were, with probability `p`."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def _change(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, num_output_channels=F.get_dimensions(img)[0])


class RandomPosterize(_Sometimes):
    """`functional.posterize` with probability `p`."""

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits

    def _change(self, img: Any) -> Any:
        return F.posterize(img, self.bits)


class RandomSolarize(_Sometimes):
    """`functional.solarize` with probability `p`."""

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def _change(self, img: Any) -> Any:
        return F.solarize(img, self.threshold)


class RandomAdjustSharpness(_Sometimes):
    """`functional.adjust_sharpness` with probability `p`."""

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def _change(self, img: Any) -> Any:
        return F.adjust_sharpness(img, self.sharpness_factor)


class GaussianBlur(nn.Module):
    """`functional.gaussian_blur` with a random deviation.

    Raises:
        ValueError: sizes that are not odd and positive, or a range that is empty or not positive.
    """

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        sizes = (kernel_size,) if isinstance(kernel_size, numbers.Number) else tuple(kernel_size)
        self.kernel_size = sizes * 2 if len(sizes) == 1 else sizes
        if any(size <= 0 or size % 2 == 0 for size in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        self.sigma = (sigma, sigma) if isinstance(sigma, numbers.Number) else tuple(sigma)
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError("sigma values should be positive and of the form (min, max).")

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """A random deviation."""
        return uniform(sigma_min, sigma_max)

    def forward(self, img: Any) -> Any:
        sigma = self.get_params(*self.sigma)
        return F.gaussian_blur(img, list(self.kernel_size), [sigma, sigma])

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, sigma={self.sigma}"


class LinearTransformation(nn.Module):
    """Takes `mean_vector` from the flattened image and multiplies it by a square matrix.

    Raises:
        ValueError: the sizes of image, matrix and vector do not agree.
    """

    def __init__(self, transformation_matrix: Tensor, mean_vector: Tensor) -> None:
        super().__init__()
        rows, columns = transformation_matrix.shape
        if rows != columns:
            raise ValueError(
                f"transformation_matrix should be square. Got {(rows, columns)} rectangular matrix."
            )
        if mean_vector.shape[0] != rows:
            raise ValueError(
                f"mean_vector should have the same length {mean_vector.shape[0]} as any one of the "
                f"dimensions of the transformation_matrix [{(rows, columns)}]"
            )
        self.transformation_matrix, self.mean_vector = transformation_matrix, mean_vector

    def forward(self, tensor: Tensor) -> Tensor:
        size = tensor.shape[-3] * tensor.shape[-2] * tensor.shape[-1]
        if size != self.transformation_matrix.shape[0]:
            raise ValueError(
                "Input tensor and transformation matrix have incompatible shape."
                f"[{' x '.join(map(str, tensor.shape[-3:]))}] != "
                f"{self.transformation_matrix.shape[0]}"
            )
        flat = tensor.reshape(-1, size) - self.mean_vector
        return (flat @ self.transformation_matrix.to(flat.dtype)).view(tensor.shape)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(transformation_matrix={self.transformation_matrix.tolist()}, "
            f"mean_vector={self.mean_vector.tolist()})"
        )


class RandomOrder(nn.Module):
    """Applies all transforms, in random order."""

    def __init__(self, transforms: list[Callable]) -> None:
        super().__init__()
        self.transforms = transforms

    def forward(self, img: Any) -> Any:
        import random

        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for index in order:
            img = self.transforms[index](img)
        return img

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)"


class RandomChoice(nn.Module):
    """Applies one of the transforms, drawn with probabilities `p`."""

    def __init__(self, transforms: list[Callable], p: list[float] | None = None) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, *args: Any) -> Any:
        import random

        return random.choices(self.transforms, weights=self.p)[0](*args)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"{type(self).__name__}({lines}\n)(p={self.p})"
