"""Elementwise functions (torch's "Pointwise Ops")."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.functional._convert import (
    cast_node,
    common_shape,
    expand_node,
    operands,
    result_type,
)
from cupola.functional._register import first_tensor, only_tensors, operator, rounded_once, settled
from cupola.ir.node import Node
from cupola.ir.number import Dynamic
from cupola.ir.op import Primitive
from cupola.ir.source import const, rounded
from cupola.ops import elementwise as ew
from cupola.ops import gamma
from cupola.tensor import Tensor, apply, wrap


def _float_unary(
    name: str, primitive: Primitive, doc: str, aliases: tuple[str, ...] = ()
) -> Callable[..., Tensor]:
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
erf = _float_unary("erf", gamma.erf, "Error function")
erfc = _float_unary("erfc", gamma.erfc, "Complementary error function")
erfinv = _float_unary("erfinv", gamma.erfinv, "Inverse error function")
lgamma = _float_unary("lgamma", gamma.lgamma, "Logarithm of the gamma function's absolute value")
digamma = _float_unary("digamma", gamma.digamma, "Derivative of lgamma")
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
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the "
            "`~` or `logical_not()` operator instead."
        )
    return apply(ew.neg, input)


@operator(inplace=True, out=True, aliases=("absolute",))
def abs(input: Tensor) -> Tensor:
    """Absolute value; of complex numbers the modulus (torch.abs)."""
    if input._n.dtype.is_complex:
        return apply(ew.modulus, input)
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
    """x * x; bools give int64 (torch.square)."""
    return mul(input, input) if input._n.dtype.category else input.long()


@operator(inplace=True, out=True)
def frac(input: Tensor) -> Tensor:
    """Fractional part, with the sign of the input (torch.frac)."""
    return sub(input, trunc(input))


def both(primitive: Primitive, a: Any, b: Any, dtype: DType | None = None) -> Tensor:
    """Applies a binary primitive after broadcasting and promotion."""
    if isinstance(a, Tensor):
        x = a.node
        if isinstance(b, Tensor):
            y = b.node
            if x.dtype is y.dtype and x.device is y.device and (dtype is None or dtype is x.dtype):
                if x.shape != y.shape:
                    shape = common_shape(x.shape, y.shape)
                    x, y = expand_node(x, shape), expand_node(y, shape)
                return wrap(primitive(x, y))
        elif type(b) in _PLAIN[x.dtype.category] and (dtype is None or dtype is x.dtype):
            value = b if primitive in _EXACT else rounded(b, x.dtype)
            return wrap(primitive(x, const(value, x.shape, x.dtype, x.device)))
    elif not isinstance(b, Tensor):
        first_tensor(primitive.name, a)
    x, y = operands(a, b, dtype=dtype, exact=primitive in _EXACT)
    return wrap(primitive(x, y))


# Numbers that take over a tensor's dtype, by its category: bool, integer, floating point, complex.
_PLAIN = ((), (int,), (float, int, Dynamic), ())
# Beside half types PyTorch computes these with the number in float32, the rest with it rounded.
_EXACT = frozenset((ew.mul, ew.div, ew.floor_divide))


@operator(inplace=True, out=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input + alpha * other (torch.add)."""
    if alpha != 1:
        found = result_type(input, other)
        if isinstance(alpha, float) and found.category < 2:
            raise RuntimeError(
                "For integral input tensors, argument alpha must not be a floating point number."
            )
        return _scaled(ew.add, input, other, alpha, found)
    return both(ew.add, input, other)


def _as(x: Any, dtype: DType) -> Any:
    """An operand in the dtype of the result, in which PyTorch multiplies; numbers as they are."""
    if not isinstance(x, Tensor) or x._n.dtype is dtype:
        return x
    return wrap(cast_node(x.node, dtype))


def _scaled(primitive: Primitive, input: Any, other: Any, alpha: Any, found: DType) -> Tensor:
    """``primitive`` of input and alpha * other. Beside half types PyTorch rounds both numbers, but
    not their product.
    """
    alpha = rounded(alpha, found)
    if isinstance(other, Tensor):
        if isinstance(input, Tensor) and found in (dtypes.float16, dtypes.bfloat16):
            scaled = mul(other.float(), alpha)  # neither device may round the product
            return both(primitive, input.float(), scaled).to(found)
        return both(primitive, input, mul(_as(other, found), alpha))
    return wrap(primitive(*operands(input, rounded(other, found) * alpha, exact=True)))


@operator(inplace=True, out=True, aliases=("subtract",))
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """input - alpha * other (torch.sub)."""
    if (isinstance(input, Tensor) and input._n.dtype is dtypes.bool) or (
        isinstance(other, Tensor) and other._n.dtype is dtypes.bool
    ):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
            "trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    if alpha != 1:
        return _scaled(ew.sub, input, other, alpha, result_type(input, other))
    return both(ew.sub, input, other)


@operator
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * input (torch.rsub)."""
    first_tensor("rsub", input)
    return sub(other, input, alpha=alpha)


@operator(inplace=True, out=True, aliases=("multiply",))
def mul(input: Any, other: Any) -> Tensor:
    """input * other (torch.mul)."""
    return both(ew.mul, input, other)


@operator(inplace=True, out=True, aliases=("divide",))
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other; ``rounding_mode`` is None, 'trunc' or 'floor' (torch.div)."""
    found = result_type(input, other)
    if rounding_mode == "floor":
        return _integer_safe(ew.floor_divide, input, other)
    if rounding_mode == "trunc":
        if found.category < 2:
            x, y = operands(input, other)
            _refuse_zero(other)
            whole = ew.div(cast_node(x, dtypes.float64), cast_node(y, dtypes.float64))
            return wrap(cast_node(ew.trunc(whole), found))
        return wrap(ew.trunc(settled(both(ew.div, input, other)).node))
    if rounding_mode is not None:
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'"
        )
    return both(
        ew.div, input, other, dtype=found if found.category >= 2 else dtypes.get_default_dtype()
    )


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
    return _integer_safe(ew.floor_divide, input, other).detach()


@operator(inplace=True, out=True)
def remainder(input: Any, other: Any) -> Tensor:
    """Python's remainder: the sign of the divisor (torch.remainder)."""
    return _integer_safe(ew.remainder, input, other)


@operator(inplace=True, out=True)
def fmod(input: Any, other: Any) -> Tensor:
    """C's remainder: the sign of the dividend (torch.fmod)."""
    first_tensor("fmod", input)
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


def _float_binary(
    name: str,
    primitive: Primitive,
    doc: str,
    aliases: tuple[str, ...] = (),
    numbers: bool = False,
) -> Callable[..., Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        if numbers:
            first_tensor(name, input)
        else:
            only_tensors(name, input=input, other=other)
        found = result_type(input, other)
        return both(
            primitive,
            input,
            other,
            dtype=found if found.category >= 2 else dtypes.get_default_dtype(),
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} (torch.{name})."
    operator(function, inplace=True, out=True, aliases=aliases)
    return function


atan2 = _float_binary("atan2", ew.atan2, "Angle of the point (other, input)", ("arctan2",))
copysign = _float_binary(
    "copysign", ew.copysign, "Magnitude of input with the sign of other", numbers=True
)
nextafter = _float_binary("nextafter", ew.nextafter, "Next floating value after input toward other")


def _two_tensors(name: str, a: Any, b: Any) -> None:
    first_tensor(name, a)
    first_tensor(name, b)


@operator(out=True)
def maximum(input: Any, other: Any) -> Tensor:
    """Elementwise maximum; NaN wins (torch.maximum)."""
    _two_tensors("maximum", input, other)
    return both(ew.maximum, input, other)


@operator(out=True)
def minimum(input: Any, other: Any) -> Tensor:
    """Elementwise minimum; NaN wins (torch.minimum)."""
    _two_tensors("minimum", input, other)
    return both(ew.minimum, input, other)


@operator(out=True)
def fmax(input: Any, other: Any) -> Tensor:
    """Elementwise maximum; numbers win over NaN (torch.fmax)."""
    _two_tensors("fmax", input, other)
    x, y = operands(input, other)
    if x.dtype.category < 2:
        return wrap(ew.maximum(x, y))
    return wrap(
        ew.where(
            ew.isnan(y),
            x,
            ew.where(ew.logical_or(ew.ge(x, y), ew.logical_not(ew.eq(x, x))), _pick(x, y), y),
        )
    )


def _pick(x: Node, y: Node) -> Node:
    return ew.where(ew.isnan(x), y, x)


@operator(out=True)
def fmin(input: Any, other: Any) -> Tensor:
    """Elementwise minimum; numbers win over NaN (torch.fmin)."""
    _two_tensors("fmin", input, other)
    x, y = operands(input, other)
    if x.dtype.category < 2:
        return wrap(ew.minimum(x, y))
    return wrap(
        ew.where(ew.isnan(y), x, ew.where(ew.logical_or(ew.le(x, y), ew.isnan(x)), _pick(x, y), y))
    )


@operator(inplace=True, out=True)
def hypot(input: Any, other: Any) -> Tensor:
    """sqrt(input^2 + other^2) (torch.hypot)."""
    _two_tensors("hypot", input, other)
    x, y = operands(input, other)
    return wrap(ew.hypot(x, y))


@operator(inplace=True, out=True)
@rounded_once
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Any, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2 (torch.addcmul)."""
    found = result_type(input, tensor1, tensor2)
    tensor1, tensor2 = _as(tensor1, found), _as(tensor2, found)
    product = mul(tensor1, tensor2) if value == 1 else mul(mul(tensor1, value), tensor2)
    return add(input, product)


@operator(inplace=True, out=True)
@rounded_once
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2 (torch.addcdiv)."""
    found = result_type(input, tensor1, tensor2)
    tensor1, tensor2 = _as(tensor1, found), _as(tensor2, found)
    top = tensor1 if value == 1 else mul(tensor1, value)
    return add(input, div(top, tensor2))
