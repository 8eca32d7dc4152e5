"""Distributions drawn by inverting their cumulative function at one float64 uniform a number:
Tensor.exponential_, Tensor.cauchy_, Tensor.geometric_.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log1p, prod

import numpy as np

from cupola import dtypes

from .generator import CPUGenerator, drawing
from .layout import in_layout
from .rounding import FLOATING, fma64, narrow, need_floating
from .stream import BLOCK, unit_float64


def _invert(
    inverse: Callable[[np.ndarray], np.ndarray],
    shape: Sequence[int],
    dtype: dtypes.dtype,
    strides: Sequence[int] | None,
    generator: CPUGenerator | None,
) -> np.ndarray:
    count = prod(shape)
    out = np.empty(count, dtype.np)
    with drawing(generator) as source, np.errstate(divide="ignore", invalid="ignore"):
        for start in range(0, count, BLOCK):
            part = out[start : start + BLOCK]
            part[...] = narrow(inverse(unit_float64(source.stream.words(2 * part.size))), dtype)
    return in_layout(out, shape, strides)


def exponential(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.float32,
    rate: float = 1.0,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """-log(1 - u) / rate (Tensor.exponential_). Shapes: shape.

    Raises RuntimeError unless rate > 0 and the dtype is a floating one.
    """
    if not rate > 0.0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate}")
    if dtype.name not in FLOATING:
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {dtype}"
        )
    scale = -1.0 / rate
    return _invert(lambda u: scale * np.log1p(-u), shape, dtype, strides, generator)


def cauchy(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.float32,
    median: float = 0.0,
    sigma: float = 1.0,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """median + sigma * tan(pi * (u - 1/2)) (Tensor.cauchy_). Shapes: shape.

    Raises RuntimeError unless sigma > 0 and the dtype is a floating one.
    """
    if not sigma > 0.0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    if dtype.name not in FLOATING:
        raise RuntimeError(
            "Cauchy distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {dtype}"
        )
    return _invert(
        lambda u: fma64(sigma, np.tan(np.pi * (u - 0.5)), median), shape, dtype, strides, generator
    )


def geometric(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.float32,
    p: float = 0.5,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """ceil(log(u) / log(1 - p)), as floats or integers (Tensor.geometric_). Shapes: shape.

    Raises RuntimeError unless 0 < p < 1, NotImplementedError for bool and the wide unsigned types.
    """
    if not 0.0 < p < 1.0:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    if dtype.name not in ("uint8", "int8", "int16", "int32", "int64"):
        need_floating(dtype, "geometric_cpu")
    log_failure = log1p(-p)
    return _invert(lambda u: np.ceil(np.log(u) / log_failure), shape, dtype, strides, generator)
