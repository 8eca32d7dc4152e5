"""Learned and random sequences of image changes: AutoAugment (arXiv:1805.09501), RandAugment
(arXiv:1909.13719), TrivialAugment (arXiv:2103.10158) and AugMix (arXiv:1912.02781).

On PIL images and on uint8 tensors; they draw in torchvision's order: same seed, same image.
"""

from __future__ import annotations

import enum
import math
from typing import Any

import cupola
from cupola import nn
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms import functional as F
from cupola_compat.torchvision.transforms.interpolation import InterpolationMode

NEAREST, BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR


class AutoAugmentPolicy(enum.Enum):
    """The data sets for which policies were learned."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# A policy is a pair of changes, each with its probability and its strength from 0 to 9.
POLICIES = {
    AutoAugmentPolicy.IMAGENET: """
        Posterize 0.4 8 Rotate 0.6 9
        Solarize 0.6 5 AutoContrast 0.6 -
        Equalize 0.8 - Equalize 0.6 -
        Posterize 0.6 7 Posterize 0.6 6
        Equalize 0.4 - Solarize 0.2 4
        Equalize 0.4 - Rotate 0.8 8
        Solarize 0.6 3 Equalize 0.6 -
        Posterize 0.8 5 Equalize 1.0 -
        Rotate 0.2 3 Solarize 0.6 8
        Equalize 0.6 - Posterize 0.4 6
        Rotate 0.8 8 Color 0.4 0
        Rotate 0.4 9 Equalize 0.6 -
        Equalize 0.0 - Equalize 0.8 -
        Invert 0.6 - Equalize 1.0 -
        Color 0.6 4 Contrast 1.0 8
        Rotate 0.8 8 Color 1.0 2
        Color 0.8 8 Solarize 0.8 7
        Sharpness 0.4 7 Invert 0.6 -
        ShearX 0.6 5 Equalize 1.0 -
        Color 0.4 0 Equalize 0.6 -
        Equalize 0.4 - Solarize 0.2 4
        Solarize 0.6 5 AutoContrast 0.6 -
        Invert 0.6 - Equalize 1.0 -
        Color 0.6 4 Contrast 1.0 8
        Equalize 0.8 - Equalize 0.6 -
    """,
    AutoAugmentPolicy.CIFAR10: """
        Invert 0.1 - Contrast 0.2 6
        Rotate 0.7 2 TranslateX 0.3 9
        Sharpness 0.8 1 Sharpness 0.9 3
        ShearY 0.5 8 TranslateY 0.7 9
        AutoContrast 0.5 - Equalize 0.9 -
        ShearY 0.2 7 Posterize 0.3 7
        Color 0.4 3 Brightness 0.6 7
        Sharpness 0.3 9 Brightness 0.7 9
        Equalize 0.6 - Equalize 0.5 -
        Contrast 0.6 7 Sharpness 0.6 5
        Color 0.7 7 TranslateX 0.5 8
        Equalize 0.3 - AutoContrast 0.4 -
        TranslateY 0.4 3 Sharpness 0.2 6
        Brightness 0.9 6 Color 0.2 8
        Solarize 0.5 2 Invert 0.0 -
        Equalize 0.2 - AutoContrast 0.6 -
        Equalize 0.2 - Equalize 0.6 -
        Color 0.9 9 Equalize 0.6 -
        AutoContrast 0.8 - Solarize 0.2 8
        Brightness 0.1 3 Color 0.7 0
        Solarize 0.4 5 AutoContrast 0.9 -
        TranslateY 0.9 9 TranslateY 0.7 9
        AutoContrast 0.9 - Solarize 0.8 3
        Equalize 0.8 - Invert 0.1 -
        TranslateY 0.7 9 AutoContrast 0.9 -
    """,
    AutoAugmentPolicy.SVHN: """
        ShearX 0.9 4 Invert 0.2 -
        ShearY 0.9 8 Invert 0.7 -
        Equalize 0.6 - Solarize 0.6 6
        Invert 0.9 - Equalize 0.6 -
        Equalize 0.6 - Rotate 0.9 3
        ShearX 0.9 4 AutoContrast 0.8 -
        ShearY 0.9 8 Invert 0.4 -
        ShearY 0.9 5 Solarize 0.2 6
        Invert 0.9 - AutoContrast 0.8 -
        Equalize 0.6 - Rotate 0.9 3
        ShearX 0.9 4 Solarize 0.3 3
        ShearY 0.8 8 Invert 0.7 -
        Equalize 0.9 - TranslateY 0.6 6
        Invert 0.9 - Equalize 0.6 -
        Contrast 0.3 3 Rotate 0.8 4
        Invert 0.8 - TranslateY 0.0 2
        ShearY 0.7 6 Solarize 0.4 8
        Invert 0.6 - Rotate 0.8 4
        ShearY 0.3 7 TranslateX 0.9 3
        ShearX 0.1 6 Invert 0.6 -
        Solarize 0.7 2 TranslateY 0.6 7
        ShearY 0.8 4 Invert 0.8 -
        ShearX 0.7 9 TranslateY 0.8 3
        ShearY 0.8 5 AutoContrast 0.7 -
        ShearX 0.7 2 Invert 0.1 -
    """,
}
Magnitudes = dict[str, tuple[Tensor | None, bool]]  # strengths, and whether the sign is random


def _levels(largest: float, bins: int) -> tuple[Tensor, bool]:
    return cupola.linspace(0.0, largest, bins), True


def _bits(most: int, lost: int, bins: int) -> tuple[Tensor, bool]:
    return most - (cupola.arange(bins) / ((bins - 1) / lost)).round().int(), False


def _space(bins: int, move: tuple[float, float], tilt: float, turn: float, color: float,
           bits: tuple[int, int]) -> Magnitudes:  # fmt: skip
    """The changes in torchvision's order: `move` is the largest shift (x, y), `tilt` of shears."""
    colors = {k: _levels(color, bins) for k in ("Brightness", "Color", "Contrast", "Sharpness")}
    return {
        "ShearX": _levels(tilt, bins),
        "ShearY": _levels(tilt, bins),
        "TranslateX": _levels(move[0], bins),
        "TranslateY": _levels(move[1], bins),
        "Rotate": _levels(turn, bins),
        **colors,
        "Posterize": _bits(*bits, bins),
        "Solarize": (cupola.linspace(255.0, 0.0, bins), False),
        "AutoContrast": (None, False),
        "Equalize": (None, False),
    }


FACTORS = {
    "Brightness": F.adjust_brightness,
    "Color": F.adjust_saturation,
    "Contrast": F.adjust_contrast,
    "Sharpness": F.adjust_sharpness,
}
PLAIN = {"AutoContrast": F.autocontrast, "Equalize": F.equalize, "Invert": F.invert}


def _draw(count: int) -> int:
    return int(cupola.randint(count, (1,)).item())


class _Augment(nn.Module):
    """What the sequences share: interpolation and fill."""

    def __init__(self, interpolation: InterpolationMode, fill: Any) -> None:
        super().__init__()
        self.interpolation, self.fill = interpolation, fill

    def _color(self, img: Any) -> Any:
        if not isinstance(img, Tensor) or self.fill is None:
            return self.fill
        if isinstance(self.fill, (int, float)):
            return [float(self.fill)] * F.get_dimensions(img)[0]
        return [float(f) for f in self.fill]

    def _is_negative(self) -> bool:
        """A random sign."""
        return bool(_draw(2))

    def _change(self, img: Any, name: str, strength: float, fill: Any) -> Any:
        """Applies one change of a given strength."""
        mode, move, shear, center = self.interpolation, [0, 0], [0.0, 0.0], None
        if name in ("ShearX", "ShearY"):
            shear[name == "ShearY"], center = math.degrees(math.atan(strength)), [0, 0]
        elif name in ("TranslateX", "TranslateY"):
            move[name == "TranslateY"] = int(strength)
        elif name == "Rotate":
            return F.rotate(img, strength, interpolation=mode, fill=fill)
        elif name in FACTORS:
            return FACTORS[name](img, 1.0 + strength)
        elif name == "Posterize":
            return F.posterize(img, int(strength))
        elif name == "Solarize":
            return F.solarize(img, strength)
        elif name == "Identity":
            return img
        else:
            return PLAIN[name](img)
        return F.affine(img, 0.0, move, 1.0, shear, interpolation=mode, fill=fill, center=center)

    def _apply(self, img: Any, name: str, strength: float) -> Any:  # type: ignore[override]
        return self._change(img, name, strength, self._color(img))


class AutoAugment(_Augment):
    """One of the pairs of changes that were learned for a data set.

    Raises:
        KeyError: a policy that is none of `AutoAugmentPolicy`.
    """

    def __init__(
        self,
        policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET,
        interpolation: InterpolationMode = NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        self.policy = policy
        self.policies = [_parsed(line) for line in POLICIES[policy].split("\n") if line.strip()]

    @staticmethod
    def get_params(transform_num: int) -> tuple[int, Tensor, Tensor]:
        """A policy's number, and for both changes a draw and a sign."""
        return _draw(transform_num), cupola.rand((2,)), cupola.randint(2, (2,))

    @staticmethod
    def _changes(height: int, width: int) -> Magnitudes:
        move = (150.0 / 331.0 * width, 150.0 / 331.0 * height)
        return _space(10, move, 0.3, 30.0, 0.9, (8, 4))

    def forward(self, img: Any) -> Any:
        _, height, width = F.get_dimensions(img)
        number, draws, signs = self.get_params(len(self.policies))
        space = self._changes(height, width)
        for (name, p, level), draw, sign in zip(
            self.policies[number], draws.tolist(), signs.tolist(), strict=True
        ):
            if draw > cupola.tensor(p).item():
                continue
            levels, signed = space.get(name, (None, False))
            strength = 0.0 if level is None or levels is None else float(levels[level].item())
            img = self._apply(img, name, -strength if signed and sign == 0 else strength)
        return img

    def extra_repr(self) -> str:
        return f"policy={self.policy}, fill={self.fill}"


def _parsed(line: str) -> list[tuple[str, float, int | None]]:
    words = line.split()
    return [
        (name, float(p), None if level == "-" else int(level))
        for name, p, level in (words[:3], words[3:])
    ]


class RandAugment(_Augment):
    """`num_ops` random changes of one strength."""

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: InterpolationMode = NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        self.num_ops, self.magnitude = num_ops, magnitude
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, img: Any) -> Any:
        _, height, width = F.get_dimensions(img)
        move = (150.0 / 331.0 * width, 150.0 / 331.0 * height)
        space: Magnitudes = {"Identity": (None, False)}
        space |= _space(self.num_magnitude_bins, move, 0.3, 30.0, 0.9, (8, 4))
        for _ in range(self.num_ops):
            name = list(space)[_draw(len(space))]
            levels, signed = space[name]
            strength = 0.0 if levels is None else float(levels[self.magnitude].item())
            img = self._apply(img, name, -strength if signed and self._is_negative() else strength)
        return img

    def extra_repr(self) -> str:
        return (
            f"num_ops={self.num_ops}, magnitude={self.magnitude}, "
            f"num_magnitude_bins={self.num_magnitude_bins}, interpolation={self.interpolation}, "
            f"fill={self.fill}"
        )


class TrivialAugmentWide(_Augment):
    """One random change of a random strength."""

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: InterpolationMode = NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        self.num_magnitude_bins = num_magnitude_bins

    def forward(self, img: Any) -> Any:
        space: Magnitudes = {"Identity": (None, False)}
        space |= _space(self.num_magnitude_bins, (32.0, 32.0), 0.99, 135.0, 0.99, (8, 6))
        name = list(space)[_draw(len(space))]
        levels, signed = space[name]
        strength = 0.0 if levels is None else float(levels[_draw(len(levels))].item())
        return self._apply(img, name, -strength if signed and self._is_negative() else strength)

    def extra_repr(self) -> str:
        return (
            f"num_magnitude_bins={self.num_magnitude_bins}, interpolation={self.interpolation}, "
            f"fill={self.fill}"
        )


def _weights(alpha: float, parts: int, count: int) -> Tensor:
    """`count` rows of random weights that add up to one."""
    concentration = cupola.full((parts,), float(alpha)).expand(count, -1)
    return cupola.distributions.Dirichlet(concentration).sample()


class AugMix(_Augment):
    """A random mixture of the image with chains of random changes of it.

    Raises:
        ValueError: a severity outside 1 to 10.
    """

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: InterpolationMode = BILINEAR,
        fill: Any = None,
    ) -> None:
        super().__init__(interpolation, fill)
        if not 1 <= severity <= 10:
            raise ValueError(f"The severity must be between [1, 10]. Got {severity} instead.")
        self.severity, self.mixture_width, self.chain_depth = severity, mixture_width, chain_depth
        self.alpha, self.all_ops = alpha, all_ops

    def _changes(self, height: int, width: int) -> Magnitudes:
        space = _space(10, (width / 3.0, height / 3.0), 0.3, 30.0, 0.9, (4, 4))
        colors = {name: space.pop(name) for name in FACTORS}
        return space | colors if self.all_ops else space

    def forward(self, img: Any) -> Any:
        _, height, width = F.get_dimensions(img)
        space = self._changes(height, width)
        source = img if isinstance(img, Tensor) else F.pil_to_tensor(img)
        batch = source.reshape(-1, *source.shape[-3:]) if source.dim() > 3 else source[None]
        n, ones = batch.shape[0], [1, 1, 1]
        share = _weights(self.alpha, 2, n)
        parts = _weights(self.alpha, self.mixture_width, n)
        parts = parts * share[:, 1].view(n, -1)
        mix = share[:, 0].view(n, *ones) * batch
        color = self.fill if isinstance(img, Tensor) else None
        for chain in range(self.mixture_width):
            changed = batch
            depth = self.chain_depth if self.chain_depth > 0 else _draw(3) + 1
            for _ in range(depth):
                name = list(space)[_draw(len(space))]
                levels, signed = space[name]
                strength = 0.0 if levels is None else float(levels[_draw(self.severity)].item())
                strength = -strength if signed and self._is_negative() else strength
                changed = self._change(changed, name, strength, color)
            mix = mix + parts[:, chain].view(n, *ones) * changed
        mix = mix.view(source.shape).to(source.dtype)
        return mix if isinstance(img, Tensor) else F.to_pil_image(mix)

    def extra_repr(self) -> str:
        names = ("severity", "mixture_width", "chain_depth", "alpha", "all_ops", "interpolation")
        return ", ".join(f"{name}={getattr(self, name)}" for name in (*names, "fill"))
