"""The second interface's sequences of image changes: they draw in another order than the first's,
and take floating-point images.
"""

from __future__ import annotations

from typing import Any

import cupola
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms import augment, random_color
from cupola_compat.torchvision.transforms.v2 import functional as F

RICHER = {"Posterize": F.posterize, "AutoContrast": F.autocontrast, "Equalize": F.equalize}


class _Draws(augment._Augment):
    """Signs are drawn as numbers from [0, 1), thresholds are parts of the largest value."""

    def _is_negative(self) -> bool:
        return bool(cupola.rand(()).item() <= 0.5)

    def _change(self, img: Any, name: str, strength: float, fill: Any) -> Any:
        if name == "Solarize" and isinstance(img, Tensor) and img.is_floating_point():
            strength = strength / 255.0
        if name in RICHER:
            return RICHER[name](img, *([int(strength)] if name == "Posterize" else []))
        return super()._change(img, name, strength, fill)


class AutoAugment(_Draws, augment.AutoAugment):
    """One of the pairs of changes that were learned for a data set."""

    def forward(self, img: Any) -> Any:
        height, width = F.get_size(img)
        policy = self.policies[int(cupola.randint(len(self.policies), ()).item())]
        space = self._changes(height, width)
        for name, p, level in policy:
            if cupola.rand(()).item() > cupola.tensor(p).item():
                continue
            levels, signed = space.get(name, (None, False))
            strength = 0.0 if level is None or levels is None else float(levels[level].item())
            negative = levels is not None and signed and self._is_negative()
            img = self._apply(img, name, -strength if negative else strength)
        return img


class RandAugment(_Draws, augment.RandAugment):
    """`num_ops` random changes of one strength."""


class TrivialAugmentWide(_Draws, augment.TrivialAugmentWide):
    """One random change of a random strength."""


class AugMix(_Draws, augment.AugMix):
    """A random mixture of the image with chains of random changes of it."""


class RandomPosterize(random_color.RandomPosterize):
    """`functional.posterize` with probability `p`."""

    def _change(self, img: Any) -> Any:
        return F.posterize(img, self.bits)


class RandomAutocontrast(random_color.RandomAutocontrast):
    """`functional.autocontrast` with probability `p`."""

    _change = staticmethod(F.autocontrast)


class RandomEqualize(random_color.RandomEqualize):
    """`functional.equalize` with probability `p`."""

    _change = staticmethod(F.equalize)
