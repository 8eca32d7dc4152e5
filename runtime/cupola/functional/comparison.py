"""Comparisons, truth values, bits and tests (torch's "Comparison Ops")."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cupola import dtypes
from cupola.functional._convert import operands, result_type
from cupola.functional._register import first_tensor, only_tensors, operator
from cupola.functional.pointwise import abs, add, both, mul, sub
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops import elementwise as ew
from cupola.tensor import Tensor, apply, wrap


def _compare(
    name: str, primitive: Primitive, doc: str, aliases: tuple[str, ...] = ()
) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        first_tensor(name, input)
        return both(primitive, input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc}, elementwise, as bool (torch.{name})."
    operator(function, inplace=True, out=True, aliases=aliases)
    return function


eq = _compare("eq", ew.eq, "input == other")
ne = _compare("ne", ew.ne, "input != other", ("not_equal",))
lt = _compare("lt", ew.lt, "input < other", ("less",))
le = _compare("le", ew.le, "input <= other", ("less_equal",))
gt = _compare("gt", ew.gt, "input > other", ("greater",))
ge = _compare("ge", ew.ge, "input >= other", ("greater_equal",))


def truth(x: Any) -> Node:
    """``x != 0`` as a bool node."""
    node = x.node
    return node if node.dtype is dtypes.bool else ew.cast(node, dtype=dtypes.bool)


def _logic(name: str, primitive: Primitive) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        first_tensor(name, input)
        first_tensor(name, other)
        x, y = operands(wrap(truth(input)), wrap(truth(other)))
        return wrap(primitive(x, y))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name.replace('_', ' ')} of truth values (torch.{name})."
    operator(function, inplace=True, out=True)
    return function


logical_and = _logic("logical_and", ew.logical_and)
logical_or = _logic("logical_or", ew.logical_or)
logical_xor = _logic("logical_xor", ew.logical_xor)


@operator(inplace=True, out=True)
def logical_not(input: Tensor) -> Tensor:
    """not input (torch.logical_not)."""
    return wrap(ew.logical_not(truth(input)))


def _bits(name: str, primitive: Primitive) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        found = result_type(input, other)
        if found.category >= 2:
            raise RuntimeError(f"\"{name}_cpu\" not implemented for '{found.name.capitalize()}'")
        return both(primitive, input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name.replace('_', ' ')} of integers and bools (torch.{name})."
    operator(function, inplace=True, out=True)
    return function


bitwise_and = _bits("bitwise_and", ew.bitwise_and)
bitwise_or = _bits("bitwise_or", ew.bitwise_or)
bitwise_xor = _bits("bitwise_xor", ew.bitwise_xor)
bitwise_left_shift = _bits("bitwise_left_shift", ew.left_shift)
bitwise_right_shift = _bits("bitwise_right_shift", ew.right_shift)


@operator(inplace=True, out=True, exact=True)
def bitwise_not(input: Tensor) -> Tensor:
    """Inverts bits; logical not of bools (torch.bitwise_not)."""
    if input._n.dtype.category >= 2:
        raise RuntimeError(
            f"\"bitwise_not_cpu\" not implemented for '{input.dtype.name.capitalize()}'"
        )
    return apply(ew.logical_not if input._n.dtype is dtypes.bool else ew.bitwise_not, input)


@operator
def isnan(input: Tensor) -> Tensor:
    """Where the input is not a number (torch.isnan)."""
    if input._n.dtype.category < 2:
        return ne(input, input)
    if input._n.dtype.is_complex:
        return logical_or(isnan(apply(ew.real, input)), isnan(apply(ew.imag, input)))
    return apply(ew.isnan, input)


@operator
def isinf(input: Tensor) -> Tensor:
    """Where the input is infinite (torch.isinf)."""
    if input._n.dtype.category < 2:
        return ne(input, input)
    if input._n.dtype.is_complex:
        return logical_or(isinf(apply(ew.real, input)), isinf(apply(ew.imag, input)))
    return eq(abs(input), math.inf)


@operator
def isfinite(input: Tensor) -> Tensor:
    """Where the input is finite (torch.isfinite)."""
    if input._n.dtype.category < 2:
        return eq(input, input)
    if input._n.dtype.is_complex:
        return logical_and(isfinite(apply(ew.real, input)), isfinite(apply(ew.imag, input)))
    return lt(abs(input), math.inf)


@operator(out=True, exact=True)
def isposinf(input: Tensor) -> Tensor:
    """Where the input is +inf (torch.isposinf)."""
    return eq(input, math.inf) if input._n.dtype.category >= 2 else ne(input, input)


@operator(out=True, exact=True)
def isneginf(input: Tensor) -> Tensor:
    """Where the input is -inf (torch.isneginf)."""
    return eq(input, -math.inf) if input._n.dtype.category >= 2 else ne(input, input)


@operator
def isreal(input: Tensor) -> Tensor:
    """Where the imaginary part is 0 (torch.isreal)."""
    return (
        eq(apply(ew.imag, input), 0)
        if input._n.dtype.is_complex
        else eq(input, input).logical_or(isnan(input))
    )


@operator
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol * |other| (torch.isclose)."""
    only_tensors("isclose", input=input, other=other)
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must not be negative, got {rtol} and {atol}")
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype} did not match {other.dtype}")
    same = eq(input, other)
    if equal_nan and input.dtype.category >= 2:
        same = logical_or(same, logical_and(isnan(input), isnan(other)))
    if input.dtype.category < 2:
        a, b = input.to(dtypes.float64), other.to(dtypes.float64)
    else:
        a, b = input, other
    near = le(abs(sub(a, b)), add(mul(abs(b), rtol), atol))
    return logical_or(same, logical_and(near, isfinite(sub(a, b))))


@operator
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close (torch.allclose)."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@operator
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same size and elements (torch.equal)."""
    return input._n.shape == other._n.shape and bool(eq(input, other).all())
