"""Which layer's output differs first, in a step that is known to differ."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cupola_compat.parity.side import is_tensor, to_numpy
from cupola_compat.parity.training.curves import apart
from cupola_compat.parity.training.names import Modules

# Of a larger output, elements at equal distances are compared.
SAMPLE = 4096
# Calls that are kept of a step.
MOST = 20_000


@dataclasses.dataclass(frozen=True)
class Layer:
    """The first layer whose output differs.

    Attributes:
        step: number of the optimizer step, from 1.
        name: the layer's name in the model; empty where all outputs agree.
        kind: its class, in the original and in the conversion if that is another one.
        error: relative error of its output; inf where the two cannot be compared.
    """

    step: int
    name: str
    kind: str
    error: float

    def __str__(self) -> str:
        if not self.name:
            return (
                f"outputs of all layers agree in step {self.step}: look at what follows the last "
                "layer (loss, gradients, optimizer)"
            )
        error = f"{self.error:.1e}" if math.isfinite(self.error) else "not comparable"
        return (
            f"first layer: step {self.step}, output of {self.name} ({self.kind}): "
            f"relative error {error}"
        )


class Recorder:
    """Keeps the outputs of every module that is called, in order."""

    def __init__(self, modules: Modules):
        self._modules = modules
        self._names: dict[int, str] = {}
        self.calls: list[tuple[str, str, list[np.ndarray]]] = []

    def __call__(self, module: Any, args: Any, output: Any) -> None:
        """A forward hook."""
        if len(self.calls) >= MOST:
            return
        if id(module) not in self._names:
            self._names = self._modules.names()
        name = self._names.get(id(module), type(module).__name__)
        self.calls.append((name, type(module).__name__, list(map(_sample, _tensors(output)))))


def _tensors(value: Any) -> list[Any]:
    if is_tensor(value):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


def _sample(tensor: Any) -> np.ndarray:
    flat = to_numpy(tensor).reshape(-1)
    return flat[:: -(-flat.size // SAMPLE) or 1].copy()


def first_layer(step: int, want: list[Any], got: list[Any], allowed: float) -> Layer:
    """Compares calls one by one; those inside a layer come before the layer's own."""
    for (mine, kind, one), (its, other_kind, other) in zip(want, got, strict=False):
        kinds = kind if kind == other_kind else f"{kind} became {other_kind}"
        if mine != its:
            return Layer(step, f"{mine}, where the conversion calls {its}", kinds, math.inf)
        same = len(one) == len(other) and all(map(_alike, one, other))
        errors = map(apart, one, other) if same else [math.inf]
        error = max(errors, default=0.0)
        if not error <= allowed:
            return Layer(step, mine, kinds, error)
    if len(want) != len(got):
        longer = max(want, got, key=len)[min(len(want), len(got))]
        side = "original" if len(want) > len(got) else "conversion"
        return Layer(step, f"{longer[0]}, which only the {side} calls", longer[1], math.inf)
    return Layer(step, "", "", 0.0)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape
