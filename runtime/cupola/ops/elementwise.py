"""Elementwise primitives: operands of equal shape and dtype (the functional layer broadcasts and
promotes).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops._build import computed_in_float32, install, like, of_real, same_shape

Rule = Callable[..., Any]


def _machine(op: str) -> Rule:
    def lower(build: Any, *args: Any, dtype: DType, **_: Any) -> Any:
        return build(op, dtype, *args)

    return lower


def _declare(
    name: str,
    reference: Rule,
    vjp: Any,
    lower: Rule | None,
    bool_result: bool = False,
    cost: int = 1,
    of_complex: bool = True,
) -> Primitive:
    def infer(*xs: Node, **_: Any) -> tuple[tuple[int, ...], DType]:
        shape = xs[0].shape if len(xs) == 1 else same_shape(name, *xs)
        return shape, dtypes.bool if bool_result else xs[-1].dtype

    if not of_complex:
        infer = of_real(name, infer)
    if vjp is not None and not isinstance(vjp, tuple):
        vjp = (vjp,)
    return Primitive(
        name, "elementwise", infer, computed_in_float32(reference), vjp, lower, cost=cost
    ).register()


def unary(
    name: str,
    function: str | Rule,
    vjp: Any = None,
    lower: Rule | None = None,
    cost: int = 1,
    machine: bool = True,
    of_complex: bool = True,
) -> Primitive:
    """Declares ``y = name(x)``; ``function`` is NumPy's name or a reference ``f(xp, x)``."""
    if isinstance(function, str):
        numpy_name = function

        def reference(xp: Any, x: Any) -> Any:
            return getattr(xp, numpy_name)(x)
    else:
        reference = function
    if lower is None and machine:
        lower = _machine(name)
    return _declare(name, reference, vjp, lower, cost=cost, of_complex=of_complex)


def binary(
    name: str,
    function: str | Rule,
    vjp: Any = None,
    lower: Rule | None = None,
    cost: int = 1,
    machine: bool = True,
    bool_result: bool = False,
    of_complex: bool = True,
) -> Primitive:
    """Declares ``y = name(a, b)`` with one gradient rule an operand."""
    if isinstance(function, str):
        numpy_name = function

        def reference(xp: Any, a: Any, b: Any) -> Any:
            return getattr(xp, numpy_name)(a, b)
    else:
        reference = function
    if lower is None and machine:
        lower = _machine(name)
    return _declare(name, reference, vjp, lower, bool_result, cost, of_complex)


# --- arithmetic

neg = unary("neg", "negative", lambda g, y, x: neg(g))
add = binary("add", "add", (lambda g, y, a, b: g, lambda g, y, a, b: g))
sub = binary("sub", lambda xp, a, b: a - b, (lambda g, y, a, b: g, lambda g, y, a, b: neg(g)))
mul = binary(
    "mul",
    "multiply",
    (lambda g, y, a, b: g * conj_of(b), lambda g, y, a, b: g * conj_of(a)),
)
div = binary(
    "div",
    lambda xp, a, b: xp.true_divide(a, b).astype(a.dtype, copy=False),
    (lambda g, y, a, b: g / conj_of(b), lambda g, y, a, b: neg(g * conj_of(a / (b * b)))),
    cost=4,
)
conj = unary("conj", "conj", lambda g, y, x: conj(g), machine=False)


def conj_of(x: Node) -> Node:
    """The conjugate where it differs from the value."""
    return conj(x) if x.dtype.is_complex else x


install("add", add)
install("sub", sub)
install("mul", mul)
install("truediv", div)
Node.__neg__ = lambda self: neg(self)  # type: ignore[attr-defined]


def _zero(g: Node, y: Node, *xs: Node) -> Node:
    return like(g, 0)


def _floor_divide(build: Any, a: Any, b: Any, dtype: DType) -> Any:
    if dtype.is_floating_point:
        # Python's rule, as in PyTorch: from the exact remainder, so that the quotient is not
        # rounded twice.
        r = build("fmod", dtype, a, b)
        exact = build("div", dtype, build("sub", dtype, a, r), b)
        less = build("sub", dtype, exact, build.const(1, dtype))
        exact = build("where", dtype, _opposite(build, r, b, dtype), less, exact)
        rounded = build("floor", dtype, exact)
        half = build.const(0.5, dtype)
        close = build("gt", dtypes.bool, build("sub", dtype, exact, rounded), half)
        out = build(
            "where", dtype, close, build("add", dtype, rounded, build.const(1, dtype)), rounded
        )
        plain = build("div", dtype, a, b)
        none = build.const(0, dtype)
        # A quotient of 0 has the sign of the true one.
        signed = build("mul", dtype, plain, none)
        out = build("where", dtype, build("eq", dtypes.bool, out, none), signed, out)
        return build("where", dtype, build("eq", dtypes.bool, b, none), plain, out)
    q = build("idiv", dtype, a, b)
    if not dtype.is_signed:
        return q
    adjust = _opposite(build, build("imod", dtype, a, b), b, dtype)
    return build("where", dtype, adjust, build("sub", dtype, q, build.const(1, dtype)), q)


def _remainder(build: Any, a: Any, b: Any, dtype: DType) -> Any:
    r = build("fmod" if dtype.is_floating_point else "imod", dtype, a, b)
    if not dtype.is_signed:
        return r
    return build("where", dtype, _opposite(build, r, b, dtype), build("add", dtype, r, b), r)


def _opposite(build: Any, r: Any, b: Any, dtype: DType) -> Any:
    """Whether a remainder is not 0 and has another sign than the divisor."""
    zero = build.const(0, dtype)
    nonzero = build("ne", dtypes.bool, r, zero)
    signs = build(
        "ne", dtypes.bool, build("lt", dtypes.bool, r, zero), build("lt", dtypes.bool, b, zero)
    )
    return build("and", dtypes.bool, nonzero, signs)


def _check_zero(xp: Any, b: Any) -> None:
    if b.dtype.kind in "iu" and (b == 0).any():
        raise RuntimeError("ZeroDivisionError")


def _floor_divide_reference(xp: Any, a: Any, b: Any) -> Any:
    _check_zero(xp, b)
    if a.dtype.kind == "f":
        out = xp.floor_divide(a, b)
        return xp.where(b == 0, a / b, out)
    return xp.floor_divide(a, b)


def _remainder_reference(xp: Any, a: Any, b: Any) -> Any:
    _check_zero(xp, b)
    return xp.remainder(a, b)


def _fmod_reference(xp: Any, a: Any, b: Any) -> Any:
    _check_zero(xp, b)
    return xp.fmod(a, b)


floor_divide = binary(
    "floor_divide",
    _floor_divide_reference,
    (_zero, _zero),
    _floor_divide,
    cost=20,
    of_complex=False,
)
remainder = binary(
    "remainder",
    _remainder_reference,
    (lambda g, y, a, b: g, lambda g, y, a, b: neg(g * floor(div(a, b)))),
    _remainder,
    cost=20,
    of_complex=False,
)
fmod = binary(
    "fmod",
    _fmod_reference,
    (lambda g, y, a, b: g, lambda g, y, a, b: neg(g * trunc(div(a, b)))),
    lambda build, a, b, dtype: build("fmod" if dtype.is_floating_point else "imod", dtype, a, b),
    cost=20,
    of_complex=False,
)


def _pow_base(g: Node, y: Node, a: Node, b: Node) -> Node:
    rule = g * conj_of(b * pow(a, b - 1.0))
    return where(eq(b, like(b, 0)), like(g, 0), rule)


def _pow_exponent(g: Node, y: Node, a: Node, b: Node) -> Node:
    zero = (
        logical_and(eq(a, like(a, 0)), ge(b, like(b, 0)))
        if not a.dtype.is_complex
        else eq(a, like(a, 0))
    )
    return where(zero, like(g, 0), g * conj_of(y * log(a)))


def _pow_reference(xp: Any, a: Any, b: Any) -> Any:
    """Integers to negative powers are 0, but for 1 and -1."""
    if b.dtype.kind not in "i":
        return xp.power(a, b)
    below = b < 0
    out = xp.power(a, xp.where(below, -b, b))
    return xp.where(below & (a != 1) & (a != -1), 0, out).astype(a.dtype)


pow = binary(
    "pow",
    _pow_reference,
    (_pow_base, _pow_exponent),
    lambda build, a, b, dtype: build("pow", dtype, a, b) if dtype.is_floating_point else None,
    cost=40,
)


def _square_of(a: Node, b: Node) -> Node:
    """The squared length of (a, b), 1 where it is 0: there the angle has no slope."""
    square = a * a + b * b
    return where(eq(square, like(a, 0)), like(a, 1), square)


atan2 = binary(
    "atan2",
    "arctan2",
    (
        lambda g, y, a, b: g * b / _square_of(a, b),
        lambda g, y, a, b: neg(g * a) / _square_of(a, b),
    ),
    cost=40,
    of_complex=False,
)


def _extreme(better: str) -> tuple[Rule, Rule]:
    def first(g: Node, y: Node, a: Node, b: Node) -> Node:
        loses = (lt if better == "max" else gt)(a, b)  # never where one is NaN
        return where(loses, like(g, 0), where(eq(a, b), g * 0.5, g))

    def second(g: Node, y: Node, a: Node, b: Node) -> Node:
        return first(g, y, b, a)

    return first, second


maximum = binary("maximum", "maximum", _extreme("max"), _machine("max"), of_complex=False)
minimum = binary("minimum", "minimum", _extreme("min"), _machine("min"), of_complex=False)
copysign = binary(
    "copysign",
    "copysign",
    (
        lambda g, y, a, b: g * where(eq(a, like(a, 0)), like(a, 0), copysign(like(a, 1), a * b)),
        _zero,
    ),
    machine=True,
    of_complex=False,
)
hypot = binary(
    "hypot",
    "hypot",
    (lambda g, y, a, b: g * (a / y), lambda g, y, a, b: g * (b / y)),
    machine=False,
    of_complex=False,
)
nextafter = binary(
    "nextafter", "nextafter", (lambda g, y, a, b: g, _zero), cost=20, of_complex=False
)
gcd = binary("gcd", "gcd", machine=False, cost=40)


def _exponent_of(x: Node, **_: Any) -> tuple[tuple[int, ...], DType]:
    return x.shape, dtypes.int32


exponent = Primitive(
    "exponent",
    "elementwise",
    _exponent_of,
    computed_in_float32(lambda xp, x: xp.frexp(x)[1].astype("int32")),
).register()

# --- comparison and logic


def _comparison(name: str, function: str, ordered: bool = True) -> Primitive:
    def lower(build: Any, a: Any, b: Any, dtype: DType) -> Any:
        return build(name, dtypes.bool, a, b)

    return binary(name, function, lower=lower, bool_result=True, of_complex=not ordered)


eq = _comparison("eq", "equal", ordered=False)
ne = _comparison("ne", "not_equal", ordered=False)
lt = _comparison("lt", "less")
le = _comparison("le", "less_equal")
gt = _comparison("gt", "greater")
ge = _comparison("ge", "greater_equal")

logical_and = binary("logical_and", "logical_and", lower=_machine("and"), bool_result=True)
logical_or = binary("logical_or", "logical_or", lower=_machine("or"), bool_result=True)
logical_xor = binary("logical_xor", "logical_xor", lower=_machine("xor"), bool_result=True)
logical_not = unary("logical_not", "logical_not", lower=_machine("not"))
bitwise_and = binary("bitwise_and", "bitwise_and", lower=_machine("and"))
bitwise_or = binary("bitwise_or", "bitwise_or", lower=_machine("or"))
bitwise_xor = binary("bitwise_xor", "bitwise_xor", lower=_machine("xor"))
bitwise_not = unary("bitwise_not", "invert", lower=_machine("not"))
left_shift = binary("left_shift", "left_shift", lower=_machine("shl"))
right_shift = binary("right_shift", "right_shift", lower=_machine("shr"))


def _predicate(name: str, reference: Rule, lower: Rule | None) -> Primitive:
    return _declare(name, reference, None, lower, bool_result=True)


isnan = _predicate(
    "isnan", lambda xp, x: xp.isnan(x), lambda build, x, dtype: build("isnan", dtypes.bool, x)
)

# --- signs and rounding

abs = unary("abs", "abs", lambda g, y, x: g * sign(x), of_complex=False)


def _sign_lower(build: Any, x: Any, dtype: DType) -> Any:
    zero, one = build.const(0, dtype), build.const(1, dtype)
    up = build("where", dtype, build("gt", dtypes.bool, x, zero), one, zero)
    down = build("const", dtype, extra=-1) if dtype.is_signed else zero
    return build("where", dtype, build("lt", dtypes.bool, x, zero), down, up)


sign = unary(
    "sign",
    lambda xp, x: (
        xp.where(xp.isnan(x), xp.zeros_like(x), xp.sign(x)) if x.dtype.kind == "f" else xp.sign(x)
    ),
    _zero,
    _sign_lower,
    cost=3,
    of_complex=False,
)


def _sgn_back(g: Node, y: Node, x: Node) -> Node:
    """What turns the number; what makes it longer changes nothing."""
    if not x.dtype.is_complex:
        return _zero(g, y, x)
    along = cast(real(conj(y) * g), dtype=x.dtype)
    size = cast(modulus(x), dtype=x.dtype)
    flat = eq(x, like(x, 0))
    turn = (g - y * along) / where(flat, like(x, 1), size)
    return where(flat, like(x, 0), turn)


sgn = unary(
    "sgn",
    lambda xp, x: xp.where(x == 0, 0, x / xp.where(x == 0, 1, xp.abs(x))).astype(x.dtype),
    _sgn_back,
    machine=False,
)
floor = unary("floor", "floor", _zero, of_complex=False)
ceil = unary("ceil", "ceil", _zero, of_complex=False)
trunc = unary("trunc", "trunc", _zero, of_complex=False)
round = unary("round", "rint", _zero, of_complex=False)

# --- exponentials, roots

exp = unary("exp", "exp", lambda g, y, x: g * conj_of(y), cost=12)
expm1 = unary("expm1", "expm1", lambda g, y, x: g * conj_of(y + 1.0), cost=16)
exp2 = unary("exp2", "exp2", lambda g, y, x: g * conj_of(y) * math.log(2.0), cost=12)
log = unary("log", "log", lambda g, y, x: g / conj_of(x), cost=14)
log1p = unary("log1p", "log1p", lambda g, y, x: g / conj_of(x + 1.0), cost=16)
log2 = unary("log2", "log2", lambda g, y, x: g / conj_of(x * math.log(2.0)), cost=14)
log10 = unary("log10", "log10", lambda g, y, x: g / conj_of(x * math.log(10.0)), cost=14)
sqrt = unary("sqrt", "sqrt", lambda g, y, x: g / conj_of(y * 2.0), cost=4)
rsqrt = unary(
    "rsqrt",
    lambda xp, x: (1 / xp.sqrt(x)).astype(x.dtype, copy=False),
    lambda g, y, x: g * conj_of(y * y * y) * -0.5,
    lambda build, x, dtype: build("div", dtype, build.const(1, dtype), build("sqrt", dtype, x)),
    cost=8,
)
reciprocal = unary(
    "reciprocal",
    lambda xp, x: (1 / x).astype(x.dtype, copy=False),
    lambda g, y, x: neg(g * conj_of(y * y)),
    lambda build, x, dtype: build("div", dtype, build.const(1, dtype), x),
    cost=4,
)


def _sigmoid_reference(xp: Any, x: Any) -> Any:
    t = xp.exp(-xp.abs(x)) if x.dtype.kind != "c" else xp.exp(-x)
    if x.dtype.kind == "c":
        return 1 / (1 + t)
    return xp.where(x >= 0, 1 / (1 + t), t / (1 + t)).astype(x.dtype)


def _sigmoid_lower(build: Any, x: Any, dtype: DType) -> Any:
    one = build.const(1, dtype)
    return build(
        "div", dtype, one, build("add", dtype, one, build("exp", dtype, build("neg", dtype, x)))
    )


sigmoid = unary(
    "sigmoid",
    _sigmoid_reference,
    lambda g, y, x: g * conj_of(y * (1.0 - y)),
    _sigmoid_lower,
    cost=16,
)


def _log_sigmoid_lower(build: Any, x: Any, dtype: DType) -> Any:
    below = build("min", dtype, x, build.const(0, dtype))
    shrunk = build("exp", dtype, build("neg", dtype, build("abs", dtype, x)))
    return build("sub", dtype, below, build("log1p", dtype, shrunk))


log_sigmoid = unary(
    "log_sigmoid",
    lambda xp, x: xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x))),
    lambda g, y, x: g * sigmoid(neg(x)),
    _log_sigmoid_lower,
    cost=30,
    of_complex=False,
)

# --- trigonometric and hyperbolic

sin = unary("sin", "sin", lambda g, y, x: g * conj_of(cos(x)), cost=16)
cos = unary("cos", "cos", lambda g, y, x: neg(g * conj_of(sin(x))), cost=16)
tan = unary("tan", "tan", lambda g, y, x: g * conj_of(1.0 + y * y), cost=30)
asin = unary("asin", "arcsin", lambda g, y, x: g * conj_of(rsqrt(1.0 - x * x)), cost=30)
acos = unary("acos", "arccos", lambda g, y, x: neg(g * conj_of(rsqrt(1.0 - x * x))), cost=30)
atan = unary("atan", "arctan", lambda g, y, x: g / conj_of(1.0 + x * x), cost=30)
sinh = unary("sinh", "sinh", lambda g, y, x: g * conj_of(cosh(x)), cost=30)
cosh = unary("cosh", "cosh", lambda g, y, x: g * conj_of(sinh(x)), cost=30)
tanh = unary("tanh", "tanh", lambda g, y, x: g * conj_of(1.0 - y * y), cost=16)
asinh = unary("asinh", "arcsinh", lambda g, y, x: g * conj_of(rsqrt(1.0 + x * x)), cost=30)
acosh = unary("acosh", "arccosh", lambda g, y, x: g * conj_of(rsqrt(x * x - 1.0)), cost=30)
atanh = unary("atanh", "arctanh", lambda g, y, x: g / conj_of(1.0 - x * x), cost=30)

# --- selection and conversion


def _where_infer(c: Node, a: Node, b: Node) -> Any:
    return same_shape("where", c, a, b), a.dtype


where = Primitive(
    "where",
    "elementwise",
    _where_infer,
    lambda xp, c, a, b: xp.where(c, a, b),
    (
        None,
        lambda g, y, c, a, b: where(c, g, like(g, 0)),
        lambda g, y, c, a, b: where(c, like(g, 0), g),
    ),
    _machine("where"),
).register()


def _cast_back(g: Node, y: Node, x: Node, dtype: DType) -> Node | None:
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        return None
    if g.dtype is dtypes.complex32:
        g = cast(g, dtype=dtypes.complex64)
    if g.dtype.is_complex and not x.dtype.is_complex:
        g = real(g)
    return cast(g, dtype=x.dtype)


def _cast_reference(xp: Any, x: Any, dtype: DType) -> Any:
    if x.dtype.names is not None:  # complex32 is a pair of halves
        x = (x["re"].astype(xp.float32) + x["im"].astype(xp.float32) * 1j).astype(xp.complex64)
    if dtype is dtypes.complex32:
        out = xp.empty(x.shape, dtype.np)
        out["re"], out["im"] = x.real, x.imag
        return out
    if dtype.category == 0:
        return x != 0
    if x.dtype.kind == "c" and dtype.category != 3:
        x = x.real
    if dtype.category == 1 and x.dtype.kind not in "iub":
        with np.errstate(invalid="ignore"):
            wide = x.astype(xp.float64) if x.dtype.itemsize < 8 else x
            if dtype.itemsize < 8:  # out of range wraps, as a C compiler's cast through int64 does
                return wide.astype(xp.int64).astype(dtype.np)
            return wide.astype(dtype.np)
    return x.astype(dtype.np)


def _cast_lower(build: Any, x: Any, dtype: DType) -> Any:
    return build("cast", dtype, x)


cast = Primitive(
    "cast",
    "elementwise",
    lambda x, dtype: (x.shape, dtype),
    _cast_reference,
    (_cast_back,),
    _cast_lower,
).register()
bitcast = Primitive(
    "bitcast",
    "elementwise",
    lambda x, dtype: (x.shape, dtype),
    lambda xp, x, dtype: xp.ascontiguousarray(x).view(dtype.np).reshape(x.shape),
    None,
    lambda build, x, dtype: build("bitcast", dtype, x),
).register()


def _zero_imag(g: Node) -> Node:
    return like(g, 0)


real = Primitive(
    "real",
    "elementwise",
    lambda x: (x.shape, x.dtype.to_real()),
    lambda xp, x: x.real.copy(),
    (lambda g, y, x: complex(g, _zero_imag(g)),),
).register()
imag = Primitive(
    "imag",
    "elementwise",
    lambda x: (x.shape, x.dtype.to_real()),
    lambda xp, x: x.imag.copy(),
    (lambda g, y, x: complex(_zero_imag(g), g),),
).register()
# The absolute value of complex numbers, without overflow.
modulus = Primitive(
    "modulus",
    "elementwise",
    lambda x: (x.shape, x.dtype.to_real()),
    lambda xp, x: xp.abs(x),
    (lambda g, y, x: complex(g, _zero_imag(g)) * sgn(x),),
).register()


def _complex_reference(xp: Any, a: Any, b: Any) -> Any:
    # Part by part: a + 1j * b makes NaN of an infinite imaginary part.
    out = xp.empty(a.shape, xp.complex128 if a.dtype == xp.float64 else xp.complex64)
    out.real, out.imag = a, b
    return out


complex = Primitive(
    "complex",
    "elementwise",
    lambda a, b: (a.shape, a.dtype.to_complex()),
    _complex_reference,
    (lambda g, y, a, b: real(g), lambda g, y, a, b: imag(g)),
).register()
