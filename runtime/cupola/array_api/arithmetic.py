"""Element-wise functions of two arrays."""

from __future__ import annotations

from typing import Any

import cupola
from cupola import dtypes
from cupola.array_api.array_object import standard
from cupola.array_api.data_types import common
from cupola.dtypes import dtype as DType
from cupola.tensor import Tensor


def pair(x1: Any, x2: Any, floating: bool = False) -> tuple[Any, Any]:
    """Two operands of one dtype; a Python number becomes an array of no dimensions.

    Raises:
        TypeError: neither is an array, or the dtypes do not promote.
    """
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        raise TypeError(
            f"one of the operands must be an array, got {type(x1).__name__} and {type(x2).__name__}"
        )
    found = common(x1, x2)
    if floating and found.category < 2:
        found = dtypes.get_default_dtype()
    place = (x1 if isinstance(x1, Tensor) else x2).device
    return _operand(x1, found, place), _operand(x2, found, place)


def _operand(x: Any, dtype: DType, place: Any) -> Any:
    if not isinstance(x, Tensor):
        return cupola.full((), x, dtype=dtype, device=place)
    return x if x.dtype is dtype else x.to(dtype=dtype)


@standard
def add(x1: Any, x2: Any, /) -> Any:
    """Sum of two arrays."""
    return cupola.add(*pair(x1, x2))


@standard
def atan2(x1: Any, x2: Any, /) -> Any:
    """Angle of the points (x2, x1), in radians."""
    return cupola.atan2(*pair(x1, x2, floating=True))


@standard
def bitwise_and(x1: Any, x2: Any, /) -> Any:
    """Bits that both operands have."""
    return cupola.bitwise_and(*pair(x1, x2))


@standard
def bitwise_left_shift(x1: Any, x2: Any, /) -> Any:
    """Bits moved up by x2 places."""
    return cupola.bitwise_left_shift(*pair(x1, x2))


@standard
def bitwise_or(x1: Any, x2: Any, /) -> Any:
    """Bits that one of the operands has."""
    return cupola.bitwise_or(*pair(x1, x2))


@standard
def bitwise_right_shift(x1: Any, x2: Any, /) -> Any:
    """Bits moved down by x2 places; the sign stays."""
    return cupola.bitwise_right_shift(*pair(x1, x2))


@standard
def bitwise_xor(x1: Any, x2: Any, /) -> Any:
    """Bits that one operand has and the other has not."""
    return cupola.bitwise_xor(*pair(x1, x2))


@standard
def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """Values limited to a range; min and max do not take part in type promotion."""
    out = x
    if min is not None:
        out = cupola.maximum(*_same(out, min))
    if max is not None:
        out = cupola.minimum(*_same(out, max))
    return out.clone() if out is x else out


def _same(x: Any, bound: Any) -> tuple[Any, Any]:
    if not isinstance(bound, Tensor) and x.dtype.category == 1:
        limits = cupola.iinfo(x.dtype)
        bound = builtin_min(builtin_max(bound, limits.min), limits.max)
    return x, _operand(bound, x.dtype, x.device)


builtin_max, builtin_min = max, min


@standard
def copysign(x1: Any, x2: Any, /) -> Any:
    """Magnitude of x1 with the sign of x2."""
    return cupola.copysign(*pair(x1, x2, floating=True))


@standard
def divide(x1: Any, x2: Any, /) -> Any:
    """Quotient of two arrays."""
    return cupola.div(*pair(x1, x2, floating=True))


@standard
def equal(x1: Any, x2: Any, /) -> Any:
    """Whether elements are equal."""
    return cupola.eq(*pair(x1, x2))


@standard
def floor_divide(x1: Any, x2: Any, /) -> Any:
    """Quotient rounded down; with infinities and zeros, the rounded true quotient."""
    a, b = pair(x1, x2)
    if a.dtype.category < 2:
        return cupola.floor_divide(a, b)
    usual = cupola.isfinite(a) & cupola.isfinite(b) & (a != 0) & (b != 0)
    return cupola.where(usual, cupola.floor_divide(a, b), cupola.floor(a / b))


@standard
def greater(x1: Any, x2: Any, /) -> Any:
    """Whether elements of x1 are greater."""
    return cupola.gt(*pair(x1, x2))


@standard
def greater_equal(x1: Any, x2: Any, /) -> Any:
    """Whether elements of x1 are greater or equal."""
    return cupola.ge(*pair(x1, x2))


@standard
def hypot(x1: Any, x2: Any, /) -> Any:
    """Length of the vectors (x1, x2)."""
    return cupola.hypot(*pair(x1, x2, floating=True))


@standard
def less(x1: Any, x2: Any, /) -> Any:
    """Whether elements of x1 are less."""
    return cupola.lt(*pair(x1, x2))


@standard
def less_equal(x1: Any, x2: Any, /) -> Any:
    """Whether elements of x1 are less or equal."""
    return cupola.le(*pair(x1, x2))


@standard
def logaddexp(x1: Any, x2: Any, /) -> Any:
    """Logarithm of exp(x1) + exp(x2)."""
    return cupola.logaddexp(*pair(x1, x2, floating=True))


@standard
def logical_and(x1: Any, x2: Any, /) -> Any:
    """Whether both operands hold."""
    return cupola.logical_and(*pair(x1, x2))


@standard
def logical_or(x1: Any, x2: Any, /) -> Any:
    """Whether one of the operands holds."""
    return cupola.logical_or(*pair(x1, x2))


@standard
def logical_xor(x1: Any, x2: Any, /) -> Any:
    """Whether exactly one of the operands holds."""
    return cupola.logical_xor(*pair(x1, x2))


@standard
def maximum(x1: Any, x2: Any, /) -> Any:
    """The greater of two elements; NaN if one is."""
    return cupola.maximum(*pair(x1, x2))


@standard
def minimum(x1: Any, x2: Any, /) -> Any:
    """The lesser of two elements; NaN if one is."""
    return cupola.minimum(*pair(x1, x2))


@standard
def multiply(x1: Any, x2: Any, /) -> Any:
    """Product of two arrays, element by element."""
    return cupola.mul(*pair(x1, x2))


@standard
def nextafter(x1: Any, x2: Any, /) -> Any:
    """The next number after x1 towards x2."""
    return cupola.nextafter(*pair(x1, x2, floating=True))


@standard
def not_equal(x1: Any, x2: Any, /) -> Any:
    """Whether elements differ."""
    return cupola.ne(*pair(x1, x2))


@standard
def pow(x1: Any, x2: Any, /) -> Any:
    """x1 to the power of x2."""
    return cupola.pow(*pair(x1, x2))


@standard
def remainder(x1: Any, x2: Any, /) -> Any:
    """Remainder of the division, with the sign of x2 (as Python's ``%``)."""
    a, b = pair(x1, x2)
    rest = cupola.remainder(a, b)
    if a.dtype.category < 2:
        return rest
    return cupola.where(rest == 0, cupola.copysign(rest, b), rest)


@standard
def subtract(x1: Any, x2: Any, /) -> Any:
    """Difference of two arrays."""
    return cupola.sub(*pair(x1, x2))
