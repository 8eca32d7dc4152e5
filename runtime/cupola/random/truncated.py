"""Truncated normal numbers: torch.nn.init.trunc_normal_."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import erf, sqrt

import numpy as np

from cupola import dtypes

from .generator import CPUGenerator, drawing
from .normal import normal
from .rounding import narrow
from .uniform import uniform

# Where this share of the plain normal falls inside the bounds, redrawing the rest is cheap.
_REDRAW_SHARE = 0.3


def trunc_normal(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.float32,
    mean: float = 0.0,
    std: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """Normal numbers of [low, high] (torch.nn.init.trunc_normal_ since torch 2.13).

    Redraws whole tensors of normal numbers until all places have been filled from within the
    bounds; where the bounds hold little of the normal's mass, uniform candidates are accepted with
    the density instead. Shapes: shape.
    """

    def below(x: float) -> float:
        return (1.0 + erf((x - mean) / std / sqrt(2.0))) / 2.0

    with drawing(generator) as source:
        if below(high) - below(low) > _REDRAW_SHARE:
            return _redrawn(
                lambda: normal(shape, dtype, mean, std, strides=strides, generator=source),
                narrow(np.float64([low, high]), dtype),
            )
        return _accepted(
            lambda a, b: uniform(shape, dtype, a, b, strides=strides, generator=source),
            dtype, mean, std, low, high,
        )  # fmt: skip


def _redrawn(draw: Callable[[], np.ndarray], bounds: np.ndarray) -> np.ndarray:
    values = draw()
    while True:
        outside = (values < bounds[0]) | (values > bounds[1])
        if not outside.any():
            return values
        values = np.where(outside, draw(), values)


def _accepted(
    draw: Callable[[float, float], np.ndarray],
    dtype: dtypes.dtype,
    mean: float,
    std: float,
    low: float,
    high: float,
) -> np.ndarray:
    mode = max(low, min(mean, high))
    log_peak = -0.5 * ((mode - mean) / std) ** 2
    kind = np.float64 if dtype.name == "float64" else np.float32

    def log_density(values: np.ndarray) -> np.ndarray:
        # Five in-place operators in torch: each rounds to the tensor's dtype.
        steps = (
            lambda x: x - kind(mean),
            lambda x: x / kind(std),
            lambda x: x * x,
            lambda x: x * kind(-0.5),
            lambda x: x - kind(log_peak),
        )
        for step in steps:
            values = narrow(step(values.astype(kind)), dtype)
        return values

    def rejected(candidates: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            chance = narrow(np.log(draw(0.0, 1.0).astype(kind)), dtype)
        return chance > log_density(candidates)

    values = draw(low, high)
    pending = rejected(values)
    while pending.any():
        candidates = draw(low, high)
        values = np.where(pending, candidates, values)
        pending &= rejected(candidates)
    return values
