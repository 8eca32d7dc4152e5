"""Number parts and number theory: mantissa and exponent, sign bits, common divisors."""

from __future__ import annotations

from typing import NamedTuple

from cupola import dtypes
from cupola.functional._convert import result_type
from cupola.functional._register import first_tensor, only_tensors, operator
from cupola.functional._results import printed
from cupola.functional.pointwise import (
    abs,
    add,
    both,
    copysign,
    div,
    exp2,
    log2,
    mul,
    pow,
)
from cupola.functional.selection import log_sum, where
from cupola.ops import elementwise as ew
from cupola.tensor import Tensor, apply


@printed("frexp")
class _Parts(NamedTuple):
    mantissa: Tensor
    exponent: Tensor


@operator(out=True)
def frexp(input: Tensor) -> _Parts:
    """Mantissa in (-1, -1/2] or [1/2, 1), and the exponent of 2 as int32 (torch.frexp).

    Raises:
        RuntimeError: the input is not floating point.
    """
    if not input._n.dtype.is_floating_point:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    exponent = apply(ew.exponent, input.detach())
    # In two steps: one power of 2 could overflow for the smallest numbers.
    half = exponent.floor_divide(2)
    rest = exponent.sub(half)
    scaled = mul(input, exp2(half.to(dtypes.float64).neg()).to(input.dtype))
    return _Parts(mul(scaled, exp2(rest.to(dtypes.float64).neg()).to(input.dtype)), exponent)


@operator(inplace=True, out=True)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2 ** other (torch.ldexp)."""
    first_tensor("ldexp", input)
    first_tensor("ldexp", other)
    return mul(input, pow(2.0, other))


@operator(out=True, exact=True)
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set, that of -0.0 included (torch.signbit).

    Raises:
        RuntimeError: complex input.
    """
    if input._n.dtype.is_complex:
        raise RuntimeError("signbit is not implemented for complex tensors.")
    if input._n.dtype.is_floating_point:
        return copysign(input.new_ones(()), input).lt(0)
    return input.lt(0) if input._n.dtype.is_signed else input.ne(input)


def _whole(name: str, input: Tensor, other: Tensor) -> None:
    first_tensor(name, input)
    first_tensor(name, other)
    found = result_type(input, other)
    if found.category != 1:
        raise RuntimeError(f"\"{name}_cpu\" not implemented for '{found.name.capitalize()}'")


@operator(inplace=True, out=True)
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """Greatest common divisor of integers (torch.gcd)."""
    _whole("gcd", input, other)
    return both(ew.gcd, input, other)


@operator(inplace=True, out=True)
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """Least common multiple of integers (torch.lcm)."""
    _whole("lcm", input, other)
    common = both(ew.gcd, input, other)
    safe = where(common.eq(0), 1, common)
    made = abs(mul(div(input, safe, rounding_mode="trunc"), other))
    return where(common.eq(0), 0, made)


@operator(out=True)
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2 ** input + 2 ** other) without overflow (torch.logaddexp2)."""
    only_tensors("logaddexp2", input=input, other=other)
    return log_sum(input, other, lambda gap: log2(add(exp2(gap), 1)))


def _rdiv(self: Tensor, other: Tensor) -> Tensor:
    """other / self, as old code spells it."""
    return self.reciprocal() * other


Tensor.__rdiv__ = _rdiv  # type: ignore[attr-defined]
