"""Elementwise functions (torch's "Pointwise Ops")."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.functional._convert import cast_node, operands, result_type, to_float
from cupola.functional._register import PUBLIC, operator
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops import elementwise as ew
from cupola.tensor import Tensor, apply, wrap


def _float_unary(name: str, primitive: Primitive, doc: str, aliases: tuple[str, ...] = ()) -> Callable[..., Tensor]:
    def function(input: Tensor) -> Tensor:
        node = input.node
        if node.dtype.category < 2:
            return wrap(primitive(cast_node(node, dtypes.get_default_dtype())))
        return apply(primitive, input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc}, elementwise (torch.{name}). Integers give the default dtype."
    operator(function, inplace=True, out=True, aliases=aliases)
    return function


def _same_unary(
    name: str, primitive: Primitive, doc: str, aliases: tuple[str, ...] = (), integers: bool = True
) -> Callable[..., Tensor]:
    def function(input: Tensor) -> Tensor:
        if not integers and input._n.dtype.category < 2:
            return input.clone()
        return apply(primitive, input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc}, elementwise (torch.{name})."
    operator(function, inplace=True, out=True, aliases=aliases)
    return function


exp = _float_unary("exp", ew.exp, "e to the power of the input")
exp2 = _float_unary("exp2", ew.exp2, "2 to the power of the input", ("special_exp2",))
expm1 = _float_unary("expm1", ew.expm1, "exp(x) - 1, accurate near 0")
log = _float_unary("log", ew.log, "Natural logarithm")
log2 = _float_unary("log2", ew.log2, "Logarithm to base 2")
log10 = _float_unary("log10", ew.log10, "Logarithm to base 10")
log1p = _float_unary("log1p", ew.log1p, "log(1 + x), accurate near 0")
sqrt = _float_unary("sqrt", ew.sqrt, "Square root")
rsqrt = _float_unary("rsqrt", ew.rsqrt, "Reciprocal of the square root")
reciprocal = _float_unary("reciprocal", ew.reciprocal, "1 / x")
sin = _float_unary("sin", ew.sin, "Sine")
cos = _float_unary("cos", ew.cos, "Cosine")
tan = _float_unary("tan", ew.tan, "Tangent")
asin = _float_unary("asin", ew.asin, "Inverse sine", ("arcsin",))
acos = _float_unary("acos", ew.acos, "Inverse cosine", ("arccos",))
atan = _float_unary("atan", ew.atan, "Inverse tangent", ("arctan",))
sinh = _float_unary("sinh", ew.sinh, "Hyperbolic sine")
cosh = _float_unary("cosh", ew.cosh, "Hyperbolic cosine")
tanh = _float_unary("tanh", ew.tanh, "Hyperbolic tangent")
asinh = _float_unary("asinh", ew.asinh, "Inverse hyperbolic sine", ("arcsinh",))
acosh = _float_unary("acosh", ew.acosh, "Inverse hyperbolic cosine", ("arccosh",))
atanh = _float_unary("atanh", ew.atanh, "Inverse hyperbolic tangent", ("arctanh",))
erf = _float_unary("erf", ew.erf, "Error function")
erfc = _float_unary("erfc", ew.erfc, "Complementary error function")
erfinv = _float_unary("erfinv", ew.erfinv, "Inverse error function")
lgamma = _float_unary("lgamma", ew.lgamma, "Logarithm of the absolute value of the gamma function")
digamma = _float_unary("digamma", ew.digamma, "Derivative of lgamma")
sigmoid = _float_unary("sigmoid", ew.sigmoid, "1 / (1 + exp(-x))")
floor = _same_unary("floor", ew.floor, "Largest integer not above the input", integers=False)
ceil = _same_unary("ceil", ew.ceil, "Smallest integer not below the input", integers=False)
trunc = _same_unary("trunc", ew.trunc, "Integer part", ("fix",), integers=False)
sign = _same_unary("sign", ew.sign, "-1, 0 or 1 by the sign")


@operator(inplace=True, out=True, aliases=("negative",))
def neg(input: Tensor) -> Tensor:
    """The negative, elementwise (torch.neg).

    Raises:
        RuntimeError: bool input.
    """
    if input._n.dtype is dtypes.bool:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the "
            "`~` or `logical_not()` operator instead."
        )
    return apply(ew.neg, input)


@operator(inplace=True, out=True, aliases=("absolute",))
def abs(input: Tensor) -> Tensor:
    """Absolute value; of complex numbers the modulus (torch.abs)."""
    if input._n.dtype.is_complex:
        re, im = apply(ew.real, input), apply(ew.imag, input)
        return hypot(re, im)
    if not input._n.dtype.is_signed:
        return input.clone()
    return apply(ew.abs, input)


@operator
def positive(input: Tensor) -> Tensor:
    """The input itself (torch.positive)."""
    if input._n.dtype is dtypes.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@operator(inplace=True, out=True)
def sgn(input: Tensor) -> Tensor:
    """Sign; for complex numbers x / |x| (torch.sgn)."""
    return apply(ew.sgn if input._n.dtype.is_complex else ew.sign, input)


@operator(inplace=True, out=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Nearest integer, halves to even; ``decimals`` digits are kept (torch.round)."""
    if input._n.dtype.category < 2:
        return input.clone()
    if decimals == 0:
        return apply(ew.round, input)
    scale = 10.0 ** builtins.abs(decimals)
    if decimals > 0:
        return div(apply(ew.round, mul(input, scale)), scale)
    return mul(apply(ew.round, div(input, scale)), scale)


@operator(inplace=True, out=True)
def square(input: Tensor) -> Tensor:
    """x * x (torch.square)."""
    return mul(input, input)


@operator(inplace=True, out=True)
def frac(input: Tensor) -> Tensor:
    """Fractional part, with the sign of the input (torch.frac)."""
    return sub(input, trunc(input))


@operator(inplace=True, out=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)); the input is clamped to [eps, 1 - eps] if given (torch.logit)."""
    if eps is not None:
        input = clamp(input, eps, 1 - eps)
    return log(div(input, rsub(input, 1)))


# --- two operands ---------------------------------------------------------------------------------------------------


def both(primitive: Primitive, a: Any, b: Any, dtype: DType | None = None) -> Tensor:
    """Applies a binary primitive after broadcasting and promotion."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        x, y = a.node, b.node
        if x.shape == y.shape and x.dtype is y.dtype and (dtype is None or dtype is x.dtype):
            return apply(primitive, a, b)
    x, y = operands(a, b, dtype=dtype)
    return wrap(primitive(x, y))


@operator(inplace=True, out=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other (torch.add)."""
    if alpha != 1:
        if isinstance(alpha, float) and result_type(input, other).category < 2:
            raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
        other = mul(other, alpha) if isinstance(other, Tensor) else other * alpha
    return both(ew.add, input, other)


@operator(inplace=True, out=True, aliases=("subtract",))
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other (torch.sub)."""
    if (isinstance(input, Tensor) and input._n.dtype is dtypes.bool) or (
        isinstance(other, Tensor) and other._n.dtype is dtypes.bool
    ):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    if alpha != 1:
        other = mul(other, alpha) if isinstance(other, Tensor) else other * alpha
    return both(ew.sub, input, other)


@operator
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input (torch.rsub)."""
    return sub(other, input, alpha=alpha)


@operator(inplace=True, out=True, aliases=("multiply",))
def mul(input: Any, other: Any) -> Tensor:
    """input * other (torch.mul)."""
    return both(ew.mul, input, other)


@operator(inplace=True, out=True, aliases=("divide",))
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; ``rounding_mode`` is None, 'trunc' or 'floor' (torch.div)."""
    if rounding_mode == "floor":
        return floor_divide(input, other)
    found = result_type(input, other)
    if rounding_mode == "trunc":
        if found.category < 2:
            x, y = operands(input, other)
            _refuse_zero(other)
            whole = ew.div(cast_node(x, dtypes.float64), cast_node(y, dtypes.float64))
            return wrap(cast_node(ew.trunc(whole), found))
        return wrap(ew.trunc(both(ew.div, input, other).node))
    if rounding_mode is not None:
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    return both(ew.div, input, other, dtype=found if found.category >= 2 else dtypes.get_default_dtype())


@operator(inplace=True, out=True)
def true_divide(input: Any, other: Any) -> Tensor:
    """input / other (torch.true_divide)."""
    return div(input, other)


def _refuse_zero(other: Any) -> None:
    if isinstance(other, int) and other == 0:
        raise RuntimeError("ZeroDivisionError")


def _integer_safe(primitive: Primitive, input: Any, other: Any) -> Tensor:
    if result_type(input, other).category < 2:
        _refuse_zero(other)
    return both(primitive, input, other)


@operator(inplace=True, out=True)
def floor_divide(input: Any, other: Any) -> Tensor:
    """floor(input / other) (torch.floor_divide)."""
    return _integer_safe(ew.floor_divide, input, other)


@operator(inplace=True, out=True)
def remainder(input: Any, other: Any) -> Tensor:
    """Python's remainder: the sign of the divisor (torch.remainder)."""
    return _integer_safe(ew.remainder, input, other)


@operator(inplace=True, out=True)
def fmod(input: Any, other: Any) -> Tensor:
    """C's remainder: the sign of the dividend (torch.fmod)."""
    return _integer_safe(ew.fmod, input, other)


@operator(inplace=True, out=True)
def pow(input: Any, exponent: Any) -> Tensor:
    """input to the power of exponent (torch.pow)."""
    if isinstance(exponent, (int, float)) and isinstance(input, Tensor):
        quick = _power(input, exponent)
        if quick is not None:
            return quick
        if input._n.dtype.category == 1 and isinstance(exponent, int) and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    return both(ew.pow, input, exponent)


def _power(x: Tensor, p: float) -> Tensor | None:
    """Small powers as products and roots: faster, and accurate."""
    floating = x._n.dtype.category >= 2
    if isinstance(p, float) and not floating:
        return None
    if p == 2:
        return mul(x, x)
    if p == 3:
        return mul(mul(x, x), x)
    if p == 1:
        return x.clone() if x._n.dtype is not dtypes.bool else None
    if floating and p == 0.5:
        return sqrt(x)
    if floating and p == -0.5:
        return rsqrt(x)
    if floating and p == -1:
        return reciprocal(x)
    return None


@operator(inplace=True, out=True)
def float_power(input: Any, exponent: Any) -> Tensor:
    """pow in double precision (torch.float_power)."""
    dtype = dtypes.complex128 if result_type(input, exponent).is_complex else dtypes.float64
    return both(ew.pow, input, exponent, dtype=dtype)


def _float_binary(name: str, primitive: Primitive, doc: str, aliases: tuple[str, ...] = ()) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        found = result_type(input, other)
        return both(primitive, input, other, dtype=found if found.category >= 2 else dtypes.get_default_dtype())

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} (torch.{name})."
    operator(function, inplace=True, out=True, aliases=aliases)
    return function


atan2 = _float_binary("atan2", ew.atan2, "Angle of the point (other, input)", ("arctan2",))
copysign = _float_binary("copysign", ew.copysign, "Magnitude of input with the sign of other")
nextafter = _float_binary("nextafter", ew.nextafter, "Next floating value after input toward other")


@operator(out=True, aliases=("max_binary",), public=True)
def maximum(input: Any, other: Any) -> Tensor:
    """Elementwise maximum; NaN wins (torch.maximum)."""
    return both(ew.maximum, input, other)


@operator(out=True)
def minimum(input: Any, other: Any) -> Tensor:
    """Elementwise minimum; NaN wins (torch.minimum)."""
    return both(ew.minimum, input, other)


@operator(out=True)
def fmax(input: Any, other: Any) -> Tensor:
    """Elementwise maximum; numbers win over NaN (torch.fmax)."""
    x, y = operands(input, other)
    if x.dtype.category < 2:
        return wrap(ew.maximum(x, y))
    return wrap(ew.where(ew.isnan(y), x, ew.where(ew.logical_or(ew.ge(x, y), ew.logical_not(ew.eq(x, x))), _pick(x, y), y)))


def _pick(x: Node, y: Node) -> Node:
    return ew.where(ew.isnan(x), y, x)


@operator(out=True)
def fmin(input: Any, other: Any) -> Tensor:
    """Elementwise minimum; numbers win over NaN (torch.fmin)."""
    x, y = operands(input, other)
    if x.dtype.category < 2:
        return wrap(ew.minimum(x, y))
    return wrap(ew.where(ew.isnan(y), x, ew.where(ew.logical_or(ew.le(x, y), ew.isnan(x)), _pick(x, y), y)))


@operator(inplace=True, out=True)
def hypot(input: Any, other: Any) -> Tensor:
    """sqrt(input^2 + other^2) (torch.hypot)."""
    return sqrt(add(square(input), square(other)))


@operator(out=True)
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)) without overflow (torch.logaddexp)."""
    top = maximum(input, other)
    safe = where(isinf(top), zeros_like_of(top), top)
    return add(log(add(exp(sub(input, safe)), exp(sub(other, safe)))), safe)


def zeros_like_of(x: Tensor) -> Tensor:
    """A constant 0 of the same shape and dtype."""
    from cupola.ops._build import like

    return wrap(like(x.node, 0))


@operator(inplace=True, out=True)
def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), 0 where input is 0 (torch.xlogy)."""
    found = result_type(input, other)
    x, y = operands(input, other, dtype=found if found.category >= 2 else dtypes.get_default_dtype())
    from cupola.ops._build import like

    zero = ew.logical_and(ew.eq(x, like(x, 0)), ew.logical_not(ew.isnan(y)))
    return wrap(ew.where(zero, like(x, 0), x * ew.log(y)))


@operator(inplace=True, out=True)
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input), computed from the nearer end as PyTorch does (torch.lerp)."""
    step = sub(end, input)
    if isinstance(weight, Tensor):
        near = lt(abs(weight), 0.5)
        return where(near, add(input, mul(weight, step)), sub(end, mul(step, rsub(weight, 1))))
    if builtins.abs(weight) < 0.5:
        return add(input, mul(step, weight))
    return sub(end, mul(step, 1 - weight))


@operator(inplace=True, out=True)
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2 (torch.addcmul)."""
    product = mul(tensor1, tensor2) if value == 1 else mul(mul(tensor1, value), tensor2)
    return add(input, product)


@operator(inplace=True, out=True)
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2 (torch.addcdiv)."""
    top = tensor1 if value == 1 else mul(tensor1, value)
    return add(input, div(top, tensor2))


# --- comparison and logic -------------------------------------------------------------------------------------------


def _compare(name: str, primitive: Primitive, doc: str, aliases: tuple[str, ...] = ()) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
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
            raise RuntimeError(f'"{name}_cpu" not implemented for \'{found.name.capitalize()}\'')
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


@operator(inplace=True, out=True)
def bitwise_not(input: Tensor) -> Tensor:
    """Inverts bits; logical not of bools (torch.bitwise_not)."""
    if input._n.dtype.category >= 2:
        raise RuntimeError(f"\"bitwise_not_cpu\" not implemented for '{input.dtype.name.capitalize()}'")
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


@operator(out=True)
def isposinf(input: Tensor) -> Tensor:
    """Where the input is +inf (torch.isposinf)."""
    return eq(input, math.inf) if input._n.dtype.category >= 2 else ne(input, input)


@operator(out=True)
def isneginf(input: Tensor) -> Tensor:
    """Where the input is -inf (torch.isneginf)."""
    return eq(input, -math.inf) if input._n.dtype.category >= 2 else ne(input, input)


@operator
def isreal(input: Tensor) -> Tensor:
    """Where the imaginary part is 0 (torch.isreal)."""
    return eq(apply(ew.imag, input), 0) if input._n.dtype.is_complex else eq(input, input).logical_or(isnan(input))


@operator
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """|input - other| <= atol + rtol * |other| (torch.isclose)."""
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
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close (torch.allclose)."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@operator
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same size and elements (torch.equal)."""
    return input._n.shape == other._n.shape and bool(eq(input, other).all())


# --- selection and limits -------------------------------------------------------------------------------------------


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """Elements of ``input`` where the condition holds, else of ``other`` (torch.where)."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}")
    found = result_type(input, other)
    flag, x, y = _three(condition, input, other, found)
    return wrap(ew.where(flag, x, y))


def _three(condition: Tensor, a: Any, b: Any, dtype: DType) -> tuple[Node, Node, Node]:
    from cupola.functional._convert import _node, _place, broadcast_shapes

    xs = (condition, a, b)
    shape = broadcast_shapes(*(x._n.shape for x in xs if isinstance(x, Tensor)))
    place = _place(xs)
    flag = _node(wrap(truth(condition)), dtypes.bool, shape, place)
    return flag, _node(a, dtype, shape, place), _node(b, dtype, shape, place)


PUBLIC["where"] = where
Tensor.where = lambda self, condition, y: where(condition, self, y)  # type: ignore[attr-defined]


@operator(inplace=True, out=True, aliases=("clip",))
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Limits values to [min, max] (torch.clamp).

    Raises:
        RuntimeError: neither limit is given.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    given = [v for v in (min, max) if v is not None]
    found = result_type(input, *given)
    if all(not isinstance(v, Tensor) for v in given):
        return _clamp_numbers(input, min, max, found)
    out = input
    if min is not None:
        out = both(ew.maximum, out, min, dtype=found)
    if max is not None:
        out = both(ew.minimum, out, max, dtype=found)
    return out


def _clamp_numbers(input: Tensor, low: Any, high: Any, dtype: DType) -> Tensor:
    """The gradient is 1 inside the limits, ends included, as in PyTorch; NaN passes."""
    x = cast_node(input.node, dtype)
    from cupola.ops._build import like

    y = x
    if low is not None:
        y = ew.where(ew.lt(x, like(x, low)), like(x, low), y)
    if high is not None:
        y = ew.where(ew.gt(y, like(x, high)), like(x, high), y)
    return wrap(y)


@operator(inplace=True, out=True)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Limits values from below (torch.clamp_min)."""
    return clamp(input, min=min)


@operator(inplace=True, out=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Limits values from above (torch.clamp_max)."""
    return clamp(input, max=max)


@operator(inplace=True, out=True)
def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """Replaces NaN and infinities; None means the largest or lowest finite value (torch.nan_to_num)."""
    if input.dtype.category < 2:
        return input.clone()
    from cupola.functional.info import finfo

    info = finfo(input.dtype)
    x = where(isnan(input), nan if nan is not None else 0.0, input)
    x = where(eq(x, math.inf), info.max if posinf is None else posinf, x)
    return where(eq(x, -math.inf), info.min if neginf is None else neginf, x)


@operator(inplace=True, out=True)
def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians (torch.deg2rad)."""
    return mul(wrap(to_float(input)), math.pi / 180)


@operator(inplace=True, out=True)
def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees (torch.rad2deg)."""
    return mul(wrap(to_float(input)), 180 / math.pi)


@operator(inplace=True, out=True)
def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0 (torch.sinc)."""
    x = mul(wrap(to_float(input)), math.pi)
    zero = eq(x, 0)
    safe = where(zero, 1.0, x)
    return where(zero, 1.0, div(sin(safe), safe))


@operator(inplace=True, out=True)
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, ``values`` at zero (torch.heaviside)."""
    step = gt(input, 0).to(input.dtype)
    return where(eq(input, 0), values, step)


@operator(out=True)
def polar(abs: Tensor, angle: Tensor) -> Tensor:
    """Complex numbers from modulus and angle (torch.polar)."""
    return apply(ew.complex, mul(abs, cos(angle)), mul(abs, sin(angle)))


@operator(name="complex", out=True, method=False)
def complex_(real: Tensor, imag: Tensor) -> Tensor:
    """Complex numbers from real and imaginary parts (torch.complex)."""
    return apply(ew.complex, real, imag)


@operator(public=False, method="_conj")
def conj_value(input: Tensor) -> Tensor:
    """The complex conjugate."""
    return apply(ew.conj, input) if input._n.dtype.is_complex else input


PUBLIC["conj"] = PUBLIC["conj_physical"] = conj_value
Tensor.conj = Tensor.conj_physical = Tensor.resolve_conj = conj_value  # type: ignore[attr-defined]
Tensor.resolve_neg = lambda self: self  # type: ignore[attr-defined]


@operator
def angle(input: Tensor) -> Tensor:
    """Angle of complex numbers; 0 or pi for real ones (torch.angle)."""
    if input._n.dtype.is_complex:
        return atan2(apply(ew.imag, input), apply(ew.real, input))
    x = wrap(to_float(input))
    return where(isnan(x), x, where(lt(x, 0), math.pi, 0.0).to(x.dtype))
