"""Box-Muller in float32, bit for bit as torch's AVX2 build computes it.

torch evaluates logarithm, sine and cosine with the single-precision polynomials of the Cephes
library (S. L. Moshier) and the compiler fuses multiplications with the additions that follow.
Each fused step is computed here in float64, where the product is exact, and rounded to float32.
"""

from __future__ import annotations

import numpy as np

from .rounding import fma32

_F32 = np.float32

# log(1 + x) = x - x^2 / 2 + x^3 * polynomial(x), for x between sqrt(1/2) - 1 and sqrt(2) - 1.
_LOG = [
    float(_F32(c))
    for c in (
        7.0376836292e-2,
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )
]
# log(2) in two parts: the first has so few digits that its multiples are exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, float(_F32(-2.12194440e-4))
_SQRT_HALF = _F32(0.707106781186547524)
# pi / 4 in three parts, and the polynomials of sine and cosine on [-pi/4, pi/4].
_QUARTER_PI = [-float(_F32(c)) for c in (0.78515625, 2.4187564849853516e-4, 3.774894977445941e-8)]
_SIN = [float(_F32(c)) for c in (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)]
_COS = [float(_F32(c)) for c in (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)]

_GROUP = 16  # numbers made from one another: 8 radii and 8 angles
_ROWS = 2048  # groups worked on at a time, so that all temporaries stay in cache


class _Fused:
    """Fused multiply-adds on arrays of one size, without allocating."""

    def __init__(self, count: int) -> None:
        self._wide = np.empty(count, np.float64)
        self._narrow = np.empty(count, np.float32)

    def add(self, a: np.ndarray, b: np.ndarray, c: float | np.ndarray, out: np.ndarray) -> None:
        """out = a * b + c for float64 arrays that hold float32 numbers, rounded to float32."""
        np.multiply(a, b, out=self._wide)
        np.add(self._wide, c, out=self._wide)
        self.round(self._wide, out)

    def round(self, values: np.ndarray, out: np.ndarray) -> None:
        """out = values rounded to float32 precision."""
        np.copyto(self._narrow, values, casting="same_kind")
        np.copyto(out, self._narrow)


def box_muller(uniforms: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Turn uniform numbers of [0, 1) into normal ones, 16 by 16.

    In a group the first eight are radii and the last eight angles; so are the results cosine and
    sine parts. Shapes: uniforms (16 n,) float32 -> (16 n,) float32.
    """
    groups = uniforms.reshape(-1, _GROUP)
    out = np.empty_like(groups)
    for start in range(0, len(groups), _ROWS):
        rows = slice(start, start + _ROWS)
        _block(groups[rows], float(_F32(mean)), float(_F32(std)), out[rows])
    return out.reshape(-1)


def _block(group: np.ndarray, mean: float, std: float, out: np.ndarray) -> None:
    half = _GROUP // 2
    first = _F32(1) - group[:, :half].reshape(-1)
    second = group[:, half:].reshape(-1)
    fused = _Fused(first.size)
    radius = _log(first, fused)
    radius *= _F32(-2)
    np.sqrt(radius, out=radius)
    sine, cosine = _sincos(second * _F32(2 * np.pi), fused)
    for part, columns in ((cosine, slice(0, half)), (sine, slice(half, _GROUP))):
        part *= radius
        if (mean, std) != (0.0, 1.0):
            part = fma32(part, std, mean)
        out[:, columns] = part.reshape(-1, half)


def _log(x: np.ndarray, fused: _Fused) -> np.ndarray:
    """Natural logarithm of normal positive float32 numbers."""
    bits = x.view(np.int32)
    exponent = ((bits >> 23) - 126).astype(np.float32)
    fraction = ((bits & 0x007FFFFF) | 0x3F000000).view(np.float32)  # of [1/2, 1)
    small = fraction < _SQRT_HALF
    exponent -= small
    fraction = (fraction - _F32(1)) + fraction * small
    square = fraction * fraction
    wide = fraction.astype(np.float64)
    y = np.full(x.size, _LOG[0])
    for coefficient in _LOG[1:]:
        fused.add(y, wide, coefficient, y)
    y *= wide
    fused.round(y, y)
    fused.add(y, square.astype(np.float64), exponent * _F32(_LN2_LOW), y)
    result = y.astype(np.float32)
    result -= square * _F32(0.5)
    result += fraction
    result += exponent * _F32(_LN2_HIGH)
    return result


def _sincos(x: np.ndarray, fused: _Fused) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 angles of [0, 2 pi]."""
    octant = (x * _F32(4 / np.pi)).astype(np.int32)
    octant += 1
    octant &= -2
    multiple = octant.astype(np.float64)
    reduced = x.astype(np.float64)
    for part in _QUARTER_PI:
        fused.add(multiple, part, reduced, reduced)
    square = reduced * reduced
    fused.round(square, square)

    cosine = np.full(x.size, _COS[0])
    for coefficient in _COS[1:]:
        fused.add(cosine, square, coefficient, cosine)
    cosine *= square
    fused.round(cosine, cosine)
    fused.add(cosine, square, square * -0.5, cosine)
    cosine += 1.0

    sine = np.full(x.size, _SIN[0])
    for coefficient in _SIN[1:]:
        fused.add(sine, square, coefficient, sine)
    sine *= square
    fused.round(sine, sine)
    fused.add(sine, reduced, reduced, sine)

    sines, cosines = sine.astype(np.float32), cosine.astype(np.float32)
    sine_bits, cosine_bits = sines.view(np.int32), cosines.view(np.int32)
    # Every second quarter turn the two change places: exchanged as bits, without a branch.
    exchange = sine_bits ^ cosine_bits
    exchange &= -((octant & 2) >> 1)
    sine_bits ^= exchange
    cosine_bits ^= exchange
    # The sign bits: sine is negative in octants 4 to 7, cosine in 2 to 5.
    sine_bits ^= (octant & 4) << 29
    cosine_bits ^= (~(octant - 2) & 4) << 29
    return sines, cosines
