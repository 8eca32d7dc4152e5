"""Element-wise functions of one array."""

from __future__ import annotations

from typing import Any

import cupola
from cupola.array_api.array_object import standard


@standard
def abs(x: Any, /) -> Any:
    """Magnitude."""
    return x.clone() if x.dtype.category < 2 and not x.dtype.is_signed else cupola.abs(x)


@standard
def acos(x: Any, /) -> Any:
    """Inverse cosine, in radians."""
    return cupola.acos(x)


@standard
def acosh(x: Any, /) -> Any:
    """Inverse hyperbolic cosine."""
    return cupola.acosh(x)


@standard
def asin(x: Any, /) -> Any:
    """Inverse sine, in radians."""
    return cupola.asin(x)


@standard
def asinh(x: Any, /) -> Any:
    """Inverse hyperbolic sine."""
    return cupola.asinh(x)


@standard
def atan(x: Any, /) -> Any:
    """Inverse tangent, in radians."""
    return cupola.atan(x)


@standard
def atanh(x: Any, /) -> Any:
    """Inverse hyperbolic tangent."""
    return cupola.atanh(x)


@standard
def bitwise_invert(x: Any, /) -> Any:
    """Every bit flipped."""
    return cupola.bitwise_not(x)


@standard
def ceil(x: Any, /) -> Any:
    """Rounded up."""
    return x.clone() if x.dtype.category < 2 else cupola.ceil(x)


@standard
def conj(x: Any, /) -> Any:
    """Complex conjugate; a real array as it is."""
    return cupola.conj_physical(x) if x.dtype.is_complex else x.clone()


@standard
def cos(x: Any, /) -> Any:
    """Cosine of radians."""
    return cupola.cos(x)


@standard
def cosh(x: Any, /) -> Any:
    """Hyperbolic cosine."""
    return cupola.cosh(x)


@standard
def exp(x: Any, /) -> Any:
    """e to the power of x."""
    return cupola.exp(x)


@standard
def expm1(x: Any, /) -> Any:
    """exp(x) - 1, exact near 0."""
    return cupola.expm1(x)


@standard
def floor(x: Any, /) -> Any:
    """Rounded down."""
    return x.clone() if x.dtype.category < 2 else cupola.floor(x)


@standard
def imag(x: Any, /) -> Any:
    """Imaginary parts; zeros of a real array."""
    return cupola.imag(x).clone() if x.dtype.is_complex else cupola.zeros_like(x)


@standard
def isfinite(x: Any, /) -> Any:
    """Whether elements are neither infinite nor NaN."""
    return cupola.isfinite(x)


@standard
def isinf(x: Any, /) -> Any:
    """Whether elements are infinite."""
    return cupola.isinf(x)


@standard
def isnan(x: Any, /) -> Any:
    """Whether elements are NaN."""
    return cupola.isnan(x)


@standard
def log(x: Any, /) -> Any:
    """Natural logarithm."""
    return cupola.log(x)


@standard
def log10(x: Any, /) -> Any:
    """Logarithm to base 10."""
    return cupola.log10(x)


@standard
def log1p(x: Any, /) -> Any:
    """log(1 + x), exact near 0."""
    return cupola.log1p(x)


@standard
def log2(x: Any, /) -> Any:
    """Logarithm to base 2."""
    return cupola.log2(x)


@standard
def logical_not(x: Any, /) -> Any:
    """Whether elements do not hold."""
    return cupola.logical_not(x)


@standard
def negative(x: Any, /) -> Any:
    """Elements with their sign changed."""
    return cupola.neg(x)


@standard
def positive(x: Any, /) -> Any:
    """A copy."""
    return x.clone()


@standard
def real(x: Any, /) -> Any:
    """Real parts; a copy of a real array."""
    return cupola.real(x).clone()


@standard
def reciprocal(x: Any, /) -> Any:
    """1 / x."""
    return cupola.reciprocal(x)


@standard
def round(x: Any, /) -> Any:
    """Rounded to the nearest integer, halves to even; complex numbers part by part."""
    if x.dtype.category < 2:
        return x.clone()
    if x.dtype.is_complex:
        return cupola.complex(cupola.round(cupola.real(x)), cupola.round(cupola.imag(x)))
    return cupola.round(x)


@standard
def sign(x: Any, /) -> Any:
    """-1, 0 or 1; x / abs(x) of a complex number; NaN of NaN."""
    if x.dtype.is_complex:
        return cupola.where(x == 0, cupola.zeros_like(x), x / cupola.abs(x))
    out = cupola.sign(x)
    return cupola.where(x != x, x, out) if x.dtype.category == 2 else out


@standard
def signbit(x: Any, /) -> Any:
    """Whether the sign bit is set, that of -0 and NaN included."""
    return cupola.signbit(x)


@standard
def sin(x: Any, /) -> Any:
    """Sine of radians."""
    return cupola.sin(x)


@standard
def sinh(x: Any, /) -> Any:
    """Hyperbolic sine."""
    return cupola.sinh(x)


@standard
def sqrt(x: Any, /) -> Any:
    """Square root."""
    return cupola.sqrt(x)


@standard
def square(x: Any, /) -> Any:
    """x * x."""
    return cupola.mul(x, x)


@standard
def tan(x: Any, /) -> Any:
    """Tangent of radians."""
    return cupola.tan(x)


@standard
def tanh(x: Any, /) -> Any:
    """Hyperbolic tangent."""
    return cupola.tanh(x)


@standard
def trunc(x: Any, /) -> Any:
    """Rounded towards 0."""
    return x.clone() if x.dtype.category < 2 else cupola.trunc(x)
