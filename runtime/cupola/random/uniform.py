"""Uniform real numbers: torch.rand, Tensor.uniform_."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cupola import dtypes

from .generator import CPUGenerator, drawing
from .layout import in_layout
from .rounding import fma64, largest, narrow, need_floating, scale_unit32
from .stream import BLOCK, Stream, unit_float32, unit_float64

# Scaled numbers take several float64 temporaries: smaller blocks keep them in cache.
_SCALED_BLOCK = BLOCK >> 3


def uniform(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.float32,
    low: float = 0.0,
    high: float = 1.0,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """Numbers of [low, high) (torch.rand, Tensor.uniform_).

    One word a number; two for float64. The 16-bit types round a float32 number. A complex type
    draws its real and imaginary parts in turn.

    Shapes: shape. ``strides`` (in elements) says in which order memory is filled.
    Raises RuntimeError for bounds that the dtype cannot hold or that are the wrong way round,
    NotImplementedError for integers.
    """
    if dtype.is_complex:
        parts = uniform(
            (*shape, 2),
            dtype.to_real(),
            low,
            high,
            strides=None if strides is None else [*(2 * s for s in strides), 1],
            generator=generator,
        )
        return np.ascontiguousarray(parts).view(dtype.np)[..., 0]
    _check(dtype, low, high)
    count = prod(shape)
    out = np.empty(count, dtype.np)
    block = BLOCK if (low, high) == (0.0, 1.0) else _SCALED_BLOCK
    with drawing(generator) as source:
        for start in range(0, count, block):
            part = out[start : start + block]
            part[...] = _block(source.stream, part.size, dtype, low, high)
    return in_layout(out, shape, strides)


def _block(stream: Stream, count: int, dtype: dtypes.dtype, low: float, high: float) -> np.ndarray:
    if dtype.name == "float64":
        values = unit_float64(stream.words(2 * count))
        if (low, high) == (0.0, 1.0):
            return values
        values = fma64(values, high - low, low)
    else:
        values = unit_float32(stream.words(count))
        if (low, high) != (0.0, 1.0):
            first, last = np.float32(low), np.float32(high)
            values = scale_unit32(values, float(last - first), float(first))
        elif dtype.name == "float32":
            return values
    # Rounding may reach the upper bound, which does not belong to the interval.
    values = narrow(values, dtype)
    values[values == dtype.np.type(high)] = dtype.np.type(low)
    return values


def _check(dtype: dtypes.dtype, low: float, high: float) -> None:
    need_floating(dtype, "check_uniform_bounds")
    limit = largest(dtype)
    for name, bound in (("from", low), ("to", high)):
        if not -limit <= bound <= limit:
            raise RuntimeError(f"{name} is out of bounds for {dtype}: {bound}; use a finite bound")
    if low > high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )
    if high - low > limit:
        raise RuntimeError(
            f"uniform_ expects to - from to fit in {dtype}, but found to={high} and from={low}"
        )
