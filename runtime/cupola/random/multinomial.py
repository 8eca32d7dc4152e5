"""Draws from a list of weights: torch.multinomial."""

from __future__ import annotations

import numpy as np

from cupola import dtypes

from .generator import CPUGenerator, drawing
from .inversion import exponential
from .layout import like_strides
from .stream import unit_float64

_MOST_CATEGORIES = 1 << 24


def multinomial(
    weights: np.ndarray,
    num_samples: int,
    replacement: bool = False,
    *,
    strides: tuple[int, ...] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """Indices drawn with probabilities in proportion to ``weights`` (torch.multinomial).

    One sample, or several without replacement: the largest quotients of weights and exponential
    numbers, in falling order. Several with replacement: one float64 uniform a sample, looked up in
    the cumulative weights.

    Shapes: weights (C,) or (N, C) -> (num_samples,) or (N, num_samples), int64. ``strides`` are
    those of the weights, if they are not contiguous.
    Raises RuntimeError for weights that are no distribution or too few of them.
    """
    _check(weights, num_samples, replacement)
    rows = np.atleast_2d(weights)
    if rows.shape[0] == 0:
        return np.empty((*weights.shape[:-1], num_samples), np.int64)
    _check_values(rows)
    if replacement and num_samples > 1:
        indices = _with_replacement(rows, num_samples, generator)
    else:
        dtype = dtypes.from_numpy_dtype(weights.dtype)
        layout = None if strides is None else like_strides(weights.shape, strides)
        clock = exponential(weights.shape, dtype, strides=layout, generator=generator)
        with np.errstate(divide="ignore", invalid="ignore"):
            race = np.atleast_2d(weights / clock).astype(np.float64)
        if num_samples == 1:
            indices = race.argmax(axis=-1, keepdims=True)
        else:
            indices = np.argsort(-race, axis=-1, kind="stable")[:, :num_samples]
    return indices.reshape(*weights.shape[:-1], num_samples).astype(np.int64)


def _with_replacement(
    rows: np.ndarray, num_samples: int, generator: CPUGenerator | None
) -> np.ndarray:
    kind = np.float64 if rows.dtype == np.float64 else np.float32
    out = np.empty((len(rows), num_samples), np.int64)
    with drawing(generator) as source:
        for row, target in zip(rows.astype(kind), out):
            # cumsum adds one after the other in the weights' precision, as torch's loop does.
            cumulative = np.cumsum(row, dtype=kind)
            cumulative /= cumulative[-1]
            cumulative[-1] = 1
            uniforms = unit_float64(source.stream.words(2 * num_samples))
            target[...] = np.searchsorted(cumulative.astype(np.float64), uniforms)
    return out


def _check(weights: np.ndarray, num_samples: int, replacement: bool) -> None:
    if weights.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, not {weights.ndim}")
    if weights.dtype.kind in "biuc":
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {weights.dtype}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    categories = weights.shape[-1]
    if not replacement and num_samples > categories:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement; "
            f"{num_samples} of {categories} were asked for"
        )
    if categories > _MOST_CATEGORIES:
        raise RuntimeError("number of categories cannot exceed 2^24")


def _check_values(rows: np.ndarray) -> None:
    values = rows.astype(np.float64)
    if not ((values >= 0) & (values < np.inf)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not values.sum(axis=-1).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
