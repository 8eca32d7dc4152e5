"""Sequences of transforms, and transforms chosen at random (second interface)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupola
from cupola import nn
from cupola_compat.torchvision import transforms as v1
from cupola_compat.torchvision.transforms.v2.base import Transform


class _Several(Transform):
    """Transforms that are called one after the other, each with what the one before gave.

    Raises:
        TypeError: not a sequence.
        ValueError: an empty one.
    """

    _sequences: tuple[type, ...] = (Sequence,)

    def __init__(self, transforms: Any) -> None:
        super().__init__()
        if not isinstance(transforms, self._sequences):
            raise TypeError("Argument transforms should be a sequence of callables")
        if not transforms:
            raise ValueError("Pass at least one transform")
        self.transforms = transforms

    def _chain(self, order: Any, inputs: tuple[Any, ...]) -> Any:
        several = len(inputs) > 1
        for index in order:
            outputs = self.transforms[index](*inputs)
            inputs = outputs if several else (outputs,)
        return inputs if several else inputs[0]

    def extra_repr(self) -> str:
        return "\n".join(f"    {transform}" for transform in self.transforms)


class Compose(_Several):
    """Applies transforms one after the other."""

    def forward(self, *inputs: Any) -> Any:
        return self._chain(range(len(self.transforms)), inputs)


class RandomApply(_Several):
    """Applies all of `transforms` with probability `p`, or none.

    Raises:
        ValueError: a probability outside [0, 1].
    """

    _v1_transform_cls = v1.RandomApply
    _sequences = (Sequence, nn.ModuleList)

    def __init__(self, transforms: Sequence[Callable] | nn.ModuleList, p: float = 0.5) -> None:
        super().__init__(transforms)
        if not 0.0 <= p <= 1.0:
            raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
        self.p = p

    def forward(self, *inputs: Any) -> Any:
        if cupola.rand(1).item() >= self.p:
            return inputs if len(inputs) > 1 else inputs[0]
        return self._chain(range(len(self.transforms)), inputs)


class RandomOrder(_Several):
    """Applies all transforms, in random order."""

    extra_repr = Transform.extra_repr

    def forward(self, *inputs: Any) -> Any:
        return self._chain(cupola.randperm(len(self.transforms)).tolist(), inputs)


class RandomChoice(_Several):
    """Applies one of the transforms, drawn with probabilities in proportion to `p`.

    Raises:
        ValueError: `p` has another length than `transforms`.
    """

    def __init__(self, transforms: Sequence[Callable], p: list[float] | None = None) -> None:
        super().__init__(transforms)
        weights = [1.0] * len(transforms) if p is None else p
        if len(weights) != len(transforms):
            raise ValueError(
                f"Length of p doesn't match the number of transforms: "
                f"{len(weights)} != {len(transforms)}"
            )
        self.p = [weight / sum(weights) for weight in weights]

    extra_repr = Transform.extra_repr

    def forward(self, *inputs: Any) -> Any:
        index = int(cupola.multinomial(cupola.tensor(self.p), 1))
        return self.transforms[index](*inputs)
