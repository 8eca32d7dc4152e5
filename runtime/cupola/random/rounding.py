"""Single roundings that NumPy has no function for: fused multiply-add, and torch's casts.

torch's AVX2 build contracts ``a * b + c`` into one instruction with one rounding, so the last bit
of many of its random numbers depends on it.
"""

from __future__ import annotations

from math import frexp

import numpy as np

from cupola import dtypes

_SPLITTER = 134217729.0  # 2^27 + 1 halves a float64's mantissa


def fma32(a: np.ndarray, b: float | np.ndarray, c: float | np.ndarray) -> np.ndarray:
    """``a * b + c`` of float32 values, rounded once to float32.

    The product is exact in float64; the sum is corrected where rounding it to float64 first would
    have moved it onto the midpoint of two float32 numbers.
    """
    product = np.multiply(a, b, dtype=np.float64)
    total = product + c
    midpoint = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
    if midpoint.any():
        error = two_sum(product, np.broadcast_to(np.float64(c), product.shape))[1]
        nudged = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
        total = np.where(midpoint & (error != 0), nudged, total)
    return total.astype(np.float32)


def scale_unit32(units: np.ndarray, span: float, low: float) -> np.ndarray:
    """``units * span + low`` rounded once to float32, for units that are multiples of 2^-24.

    Span and low are float32 numbers. Where neither is much larger than the other the sum fits in
    a float64, so that its only rounding is the last one.
    """
    if low == 0.0:
        return units * np.float32(span)
    if not -29 <= frexp(low)[1] - frexp(span)[1] <= 5:
        return fma32(units, span, low)
    total = units.astype(np.float64)
    total *= span
    total += low
    return total.astype(np.float32)


def fma64(a: float | np.ndarray, b: float | np.ndarray, c: float | np.ndarray) -> np.ndarray:
    """``a * b + c`` in float64, rounded once where no intermediate over- or underflows.

    Source: Boldo and Melquiond 2008, doi:10.1109/TC.2007.70819.
    """
    a, b, c = np.broadcast_arrays(np.float64(a), np.float64(b), np.float64(c))
    high, low = two_product(a, b)
    t_high, t_low = two_sum(c, low)
    v_high, v_low = two_sum(high, t_high)
    z, error = two_sum(t_low, v_low)
    # Rounding the small part to odd keeps the final rounding from being a second one.
    to_odd = (error != 0) & ((z.view(np.int64) & 1) == 0)
    if to_odd.any():
        z = np.where(to_odd, np.nextafter(z, np.where(error > 0, np.inf, -np.inf)), z)
    with np.errstate(invalid="ignore"):
        fused = v_high + z
    return np.where(np.isfinite(fused), fused, a * b + c)


def two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``a + b`` and the error of its rounding (Knuth)."""
    with np.errstate(invalid="ignore"):
        total = a + b
        shadow = total - a
        return total, (a - (total - shadow)) + (b - shadow)


def two_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``a * b`` and the error of its rounding (Dekker, Veltkamp)."""
    with np.errstate(invalid="ignore", over="ignore"):
        product = a * b
        shifted = _SPLITTER * a
        a_high = shifted - (shifted - a)
        a_low = a - a_high
        shifted = _SPLITTER * b
        b_high = shifted - (shifted - b)
        b_low = b - b_high
        error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def narrow(values: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    """Cast as torch does: to the 16-bit types by way of float32, to integers by truncation."""
    if dtype.itemsize == 2 and dtype.is_floating_point and values.dtype == np.float64:
        values = values.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype.np, copy=False)


def digits(dtype: dtypes.dtype) -> int:
    """Bits of a floating type's significand, the implied one included."""
    return {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype.name]


def largest(dtype: dtypes.dtype) -> float:
    """The largest finite number of a floating type."""
    return {
        "float16": 65504.0,
        "bfloat16": 3.3895313892515355e38,
        "float32": float(np.finfo(np.float32).max),
        "float64": float(np.finfo(np.float64).max),
    }[dtype.name]


FLOATING = ("float16", "bfloat16", "float32", "float64")


def need_floating(dtype: dtypes.dtype, function: str) -> None:
    """Raise unless ``dtype`` is one of the four floating types that are drawn.

    Raises:
        NotImplementedError: as torch does for a type that a kernel does not cover.
    """
    if dtype.name not in FLOATING:
        raise NotImplementedError(
            f'"{function}" not implemented for {dtype}; use one of {", ".join(FLOATING)}'
        )
