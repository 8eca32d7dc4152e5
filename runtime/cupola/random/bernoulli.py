"""Coin tosses: torch.bernoulli, Tensor.bernoulli_, and the noise of the dropout family."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from cupola import dtypes

from .generator import CPUGenerator, drawing
from .layout import in_layout
from .rounding import narrow
from .stream import BLOCK, unit_float32, unit_float64

_OUTPUTS = (
    "uint8", "int8", "int16", "int32", "int64", "bool", "float16", "bfloat16", "float32", "float64",
)  # fmt: skip

# The value that SELU tends to for negative inputs, negated: what alpha dropout fills in.
_SELU_LIMIT = 1.7580993408473766


def bernoulli(
    shape: Sequence[int],
    p: float | np.ndarray,
    dtype: dtypes.dtype = dtypes.float32,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """1 where a uniform number is below p, else 0 (torch.bernoulli, Tensor.bernoulli_).

    The uniform is float64 for a scalar p or an array of float64, else float32.

    Shapes: shape; an array p broadcasts to it.
    Raises RuntimeError for a p outside [0, 1], NotImplementedError for a dtype that torch has no
    kernel for.
    """
    if dtype.name not in _OUTPUTS:
        raise NotImplementedError(f'"bernoulli_cpu" not implemented for {dtype}')
    if isinstance(p, np.ndarray):
        return _per_element(shape, p, strides, generator).astype(dtype.np)
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return in_layout(_tosses(prod(shape), p, generator).astype(dtype.np), shape, strides)


def _tosses(count: int, p: float, generator: CPUGenerator | None) -> np.ndarray:
    out = np.empty(count, np.bool_)
    with drawing(generator) as source:
        for start in range(0, count, BLOCK):
            part = out[start : start + BLOCK]
            np.less(unit_float64(source.stream.words(2 * part.size)), p, out=part)
    return out


def _per_element(
    shape: Sequence[int],
    p: np.ndarray,
    strides: Sequence[int] | None,
    generator: CPUGenerator | None,
) -> np.ndarray:
    if p.dtype.kind in "biuc":
        raise NotImplementedError(
            f'"bernoulli_tensor_cpu_p_" not implemented for {p.dtype}; pass floating probabilities'
        )
    wide = p.dtype == np.float64
    p = p if wide else p.astype(np.float32)
    if not ((p >= 0) & (p <= 1)).all():
        raise RuntimeError("bernoulli expects every probability to be in [0, 1]")
    count = prod(shape)
    with drawing(generator) as source:
        if wide:
            uniforms = unit_float64(source.stream.words(2 * count))
        else:
            uniforms = unit_float32(source.stream.words(count))
    return in_layout(uniforms, shape, strides) < p


def dropout_noise(
    shape: Sequence[int],
    dtype: dtypes.dtype,
    p: float,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """What dropout multiplies its input with: 0, or 1 / (1 - p) where an element is kept.

    ``F.dropout(x, p)`` is ``x * dropout_noise(x.shape, x.dtype, p, strides=…)`` with the strides of
    ``empty_like(x)``. Nothing is drawn for p of 0 or 1. Shapes: shape; see :func:`feature_shape`.
    """
    kept = _kept(shape, p, strides, generator)
    scale = 0.0 if p == 1.0 else _quotient(1.0, 1.0 - p, dtype)
    return np.where(kept, narrow(np.float64(scale), dtype), dtype.np.type(0))


def alpha_dropout_noise(
    shape: Sequence[int],
    dtype: dtypes.dtype,
    p: float,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What alpha dropout multiplies its input with and adds to it (F.alpha_dropout).

    ``F.alpha_dropout(x, p, True)`` is ``x * noise + shift``, each operation rounded to the dtype.
    For p of 1 torch only multiplies with 0: noise and shift are 0. Shapes: shape, twice.
    """
    kept = _kept(shape, p, strides, generator)
    if p == 1.0:
        zeros = np.zeros(kept.shape, dtype.np)
        return zeros, zeros
    if p == 0.0:
        return np.ones(kept.shape, dtype.np), np.zeros(kept.shape, dtype.np)
    a = 1.0 / sqrt((_SELU_LIMIT * _SELU_LIMIT * p + 1.0) * (1.0 - p))
    # shift = (noise - 1) * limit * a + limit * a * p, one rounding an operation.
    dropped = _sum(_product(-1.0, _SELU_LIMIT * a, dtype), _SELU_LIMIT * a * p, dtype)
    stays = _sum(0.0, _SELU_LIMIT * a * p, dtype)
    noise = np.where(kept, dtype.np.type(_product(1.0, a, dtype)), dtype.np.type(0))
    return noise, np.where(kept, dtype.np.type(stays), dtype.np.type(dropped))


def feature_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The noise's shape for dropout1d, 2d and 3d: whole channels at a time, (N, C, 1, …).

    Raises RuntimeError for fewer than two dimensions.
    """
    if len(shape) < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return (shape[0], shape[1], *([1] * (len(shape) - 2)))


def _kept(
    shape: Sequence[int],
    p: float,
    strides: Sequence[int] | None,
    generator: CPUGenerator | None,
) -> np.ndarray:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if p in (0.0, 1.0):
        return np.full(tuple(shape), p == 0.0)
    return in_layout(_tosses(prod(shape), 1.0 - p, generator), shape, strides)


def _working(dtype: dtypes.dtype) -> type[np.floating]:
    """The type in which torch's kernels compute with numbers of ``dtype``."""
    return np.float64 if dtype.name == "float64" else np.float32


def _round(value: np.floating, dtype: dtypes.dtype) -> float:
    return float(narrow(np.asarray(value), dtype).astype(np.float64))


def _quotient(a: float, b: float, dtype: dtypes.dtype) -> float:
    kind = _working(dtype)
    return _round(kind(a) / kind(b), dtype)


def _product(a: float, b: float, dtype: dtypes.dtype) -> float:
    kind = _working(dtype)
    return _round(kind(a) * kind(b), dtype)


def _sum(a: float, b: float, dtype: dtypes.dtype) -> float:
    kind = _working(dtype)
    return _round(kind(a) + kind(b), dtype)
