"""The second interface's sequences of image changes: they draw in another order than the first's,
and take floating-point images.
"""

from __future__ import annotations

from typing import Any

import cupola
from cupola.tensor import Tensor
from cupola.utils._pytree import tree_flatten, tree_unflatten
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.transforms import augment
from cupola_compat.torchvision.transforms.v2 import images as F
from cupola_compat.torchvision.transforms.v2.base import (
    PICTURES,
    PLACES,
    Transform,
    check_type,
)

RICHER = {"Posterize": F.posterize, "AutoContrast": F.autocontrast, "Equalize": F.equalize}


class _Draws(Transform, augment._Augment):
    """Signs are drawn as numbers from [0, 1), thresholds are parts of the largest value.

    Raises:
        TypeError: a sample with masks, boxes or points, without a picture, or with several.
    """

    def forward(self, *inputs: Any) -> Any:
        flat_inputs, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        needed = self._needs_transform_list(flat_inputs)
        found = []
        for index, inpt in enumerate(flat_inputs):
            if isinstance(inpt, PLACES):
                raise TypeError(
                    f"Inputs of type {type(inpt).__name__} are not supported by "
                    f"{type(self).__name__}()"
                )
            if needed[index] and check_type(inpt, PICTURES):
                found.append(index)
        if not found:
            raise TypeError("Found no image in the sample.")
        if len(found) > 1:
            raise TypeError(
                "Auto augment transformations are only properly defined for a single image or "
                f"video, but found {len(found)}."
            )
        given = flat_inputs[found[0]]
        picture = given.as_subclass(Tensor) if isinstance(given, Tensor) else given
        output = self._augmented(picture)
        is_kind = isinstance(given, tv_tensors.TVTensor)
        flat_inputs[found[0]] = tv_tensors.wrap(output, like=given) if is_kind else output
        return tree_unflatten(flat_inputs, spec)

    def _augmented(self, img: Any) -> Any:
        raise NotImplementedError

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

    _shown = ("interpolation", "policy")

    def _augmented(self, img: Any) -> Any:
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

    _augmented = augment.RandAugment.forward


class TrivialAugmentWide(_Draws, augment.TrivialAugmentWide):
    """One random change of a random strength."""

    _augmented = augment.TrivialAugmentWide.forward


class AugMix(_Draws, augment.AugMix):
    """A random mixture of the image with chains of random changes of it."""

    _augmented = augment.AugMix.forward
