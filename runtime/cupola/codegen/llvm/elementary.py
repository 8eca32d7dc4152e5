"""Elementary functions as vector code, to 1 to 3 units in the last place.

They are right at zeros, infinities, NaN and subnormals. Arguments are reduced in the usual way
(Muller, Elementary Functions: Algorithms and Implementation, 3rd ed., ch. 11); the polynomials are
Chebyshev fits of the remaining functions, computed in 40 digits. What is not here, or not for a
type, is called from the C library lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cupola.codegen.llvm.builder import Builder, Val

_INF, _NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class _Format:
    """What the algorithms need to know about a floating-point format."""

    bits: str
    mantissa: int
    bias: int
    magic: float  # 1.5 * 2^mantissa: adding it rounds to an integer, which its low bits then hold
    magic_bits: int
    ln2: tuple[
        float, float
    ]  # the first with so many trailing zeros that its product with an exponent is exact
    sqrt_half: int
    exp: tuple[float, ...]  # (exp(r) - 1 - r) / r^2 on [-ln2/2, ln2/2]
    exp_range: tuple[float, float]
    expm1_range: tuple[float, float]
    tanh_end: float
    exp_normal: float


_FLOAT = _Format(
    "i32", 23, 127, 12582912.0, 0x4B400000, (0.693145751953125, 1.428606765330187e-06), 0x3F3504F3,
    (0.0013926250394433737, 0.00836323294788599, 0.04166655242443085, 0.16666576266288757, 0.5),
    (-105.0, 89.5), (-20.0, 89.0), 10.0, 87.0,
)  # fmt: skip
_DOUBLE = _Format(
    "i64", 52, 1023, 6755399441055744.0, 0x4338000000000000,
    (0.6931471805592082, 7.371002565167799e-13), 0x3FE6A09E667F3BCD,
    (
        2.5100472505694996e-08, 2.7620201591031547e-07, 2.7557268276905696e-06,
        2.4801521057868204e-05, 0.00019841269863171557, 0.0013888888917367081,
        0.008333333333330039, 0.041666666666623824, 0.16666666666666669, 0.5000000000000001,
    ),
    (-750.0, 711.0), (-40.0, 710.0), 20.0, 708.0,
)  # fmt: skip
_FORMATS = {"float": _FLOAT, "double": _DOUBLE}
_LOG2E = 1.4426950408889634

# (log(1+f) - f + f^2/2) / f^3 on [sqrt(1/2) - 1, sqrt(2) - 1]
_LOG_FLOAT = (
    0.06971611827611923, -0.11479733884334564, 0.11685419827699661, -0.12425687164068222,
    0.14249058067798615, -0.1666780263185501, 0.20000715553760529, -0.2499999701976776,
    0.3333333134651184,
)  # fmt: skip
# (2 atanh(s) - 2 s) / s^3 in s^2, s = f / (2 + f)
_LOG_DOUBLE = (
    0.14616576421644387, 0.15331711346672997, 0.18182889433757515, 0.22222211130560726,
    0.28571428626001427, 0.3999999999989945, 0.666666666666667,
)  # fmt: skip
_SIN = (
    -0.00019587387214414775,
    0.008332746103405952,
    -0.166666641831398,
)  # (sin(r) - r) / r^3 in r^2
_COS = (
    2.4547436623834074e-05,
    -0.0013888300163671374,
    0.0416666641831398,
)  # (cos(r) - 1 + r^2/2) / r^4
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
_ERF_END, _ERF_SPLIT = 3.95, 0.92
# erf(x)/x - 1 in x^2 on [0, 0.92^2], and -log(erfc(x)) on [0.92, 3.95]
_ERF_SMALL = (
    -0.0006012556259520352, 0.004997642245143652, -0.02676982991397381, 0.1128191128373146,
    -0.3761250376701355, 0.12837915122509003,
)  # fmt: skip
_ERF_LARGE = (
    -1.6605963537585922e-06, 4.649336187867448e-05, -0.0006002250011079013, 0.004774377681314945,
    -0.02645941451191902, 0.11014056205749512, 0.6317695379257202, 1.130261778831482,
    -0.0003259053628426045,
)  # fmt: skip


def _clamp(b: Builder, x: Val, low: float, high: float) -> Val:
    """NaN stays NaN."""
    return _at_most(b, _at_least(b, x, low), high)


def _at_least(b: Builder, x: Val, low: float) -> Val:
    bound = b.const(x.type, low)
    return b.select(b.compare("fcmp olt", x, bound), bound, x)


def _at_most(b: Builder, x: Val, high: float) -> Val:
    bound = b.const(x.type, high)
    return b.select(b.compare("fcmp ogt", x, bound), bound, x)


def _reduce_exp(b: Builder, x: Val) -> tuple[Val, Val]:
    """x = n ln2 + r: the bits of n + magic, and r."""
    f, t = _FORMATS[x.type], x.type
    shifted = b.fma(x, b.const(t, _LOG2E), b.const(t, f.magic))
    n = b.binary("fsub", shifted, b.const(t, f.magic))
    r = b.fma(n, b.const(t, -f.ln2[0]), x)
    return b.convert("bitcast", shifted, f.bits), b.fma(n, b.const(t, -f.ln2[1]), r)


def _power_of_two(b: Builder, n: Val, t: str) -> Val:
    """2^n for an integer n in the exponent's range."""
    f = _FORMATS[t]
    biased = b.binary("add", n, b.const(f.bits, f.bias))
    return b.convert("bitcast", b.binary("shl", biased, b.const(f.bits, f.mantissa)), t)


def _expm1_reduced(b: Builder, r: Val) -> Val:
    """exp(r) - 1 on [-ln2/2, ln2/2]."""
    return b.fma(b.binary("fmul", r, r), b.horner(r, _FORMATS[r.type].exp), r)


def exp(b: Builder, x: Val) -> Val:
    """Inline: leaves arguments whose result is neither a normal number nor 0 to the library.

    Masked scores are -inf: a softmax meets them in every row.
    """
    f, t = _FORMATS[x.type], x.type
    zero_below = b.const(t, f.exp_range[0])
    large = b.compare("fcmp uge", b.intrinsic("fabs", x), b.const(t, f.exp_normal))
    outside = b.binary("and", large, b.compare("fcmp ugt", x, zero_below))
    usual = b.select(b.compare("fcmp ugt", x, zero_below), _exp_of_moderate(b, x), b.const(t, 0.0))
    return b.rarely(outside, usual, lambda: b.call_library("exp", x))


def _exp(b: Builder, x: Val) -> Val:
    f, t = _FORMATS[x.type], x.type
    raw, r = _reduce_exp(b, _clamp(b, x, *f.exp_range))
    n = b.binary("sub", raw, b.const(f.bits, f.magic_bits))
    p = b.binary("fadd", _expm1_reduced(b, r), b.const(t, 1.0))
    # 2^n may lie outside the normal range: two factors that do not, and one rounding.
    half = b.binary("ashr", n, b.const(f.bits, 1))
    p = b.binary("fmul", p, _power_of_two(b, half, t))
    return b.binary("fmul", p, _power_of_two(b, b.binary("sub", n, half), t))


def _exp_of_moderate(b: Builder, x: Val) -> Val:
    """exp where the result is a normal number."""
    f, t = _FORMATS[x.type], x.type
    raw, r = _reduce_exp(b, x)
    p = b.binary("fadd", _expm1_reduced(b, r), b.const(t, 1.0))
    # n sits in raw's low bits: shifting it into the exponent field drops the rest.
    moved = b.binary("shl", raw, b.const(f.bits, f.mantissa))
    return b.convert("bitcast", b.binary("add", b.convert("bitcast", p, f.bits), moved), t)


def exp2(b: Builder, x: Val) -> Val:
    """In double for float32: the product with ln2 must not lose what the exponent magnifies."""
    wide = b.convert("fpext", x, "double")
    bounded = _clamp(b, wide, -200.0, 200.0)
    y = _exp_of_moderate(b, b.binary("fmul", bounded, b.const("double", 0.6931471805599453)))
    return b.convert("fptrunc", y, "float")


def expm1(b: Builder, x: Val) -> Val:
    return _signed_zero(b, x, _expm1(b, x))


def _signed_zero(b: Builder, x: Val, y: Val) -> Val:
    return b.select(b.compare("fcmp oeq", x, b.const(x.type, 0.0)), x, y)


def _expm1(b: Builder, x: Val) -> Val:
    f, t = _FORMATS[x.type], x.type
    raw, r = _reduce_exp(b, _clamp(b, x, *f.expm1_range))
    m = _expm1_reduced(b, r)
    # 2^n (m + 1) - 1 = 2 (h m + (h - 1/2)) with h = 2^(n-1), which is finite where the result is.
    h = _power_of_two(b, b.binary("sub", raw, b.const(f.bits, f.magic_bits + 1)), t)
    y = b.fma(h, m, b.binary("fsub", h, b.const(t, 0.5)))
    return b.binary("fadd", y, y)


def tanh(b: Builder, x: Val) -> Val:
    t = x.type
    a = _at_most(b, b.intrinsic("fabs", x), _FORMATS[t].tanh_end)
    m = _expm1(b, b.binary("fadd", a, a))
    y = b.binary("fdiv", m, b.binary("fadd", m, b.const(t, 2.0)))
    return b.with_sign(y, x)


def _split(b: Builder, x: Val) -> tuple[Val, Val]:
    """x = 2^e (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), for positive finite x."""
    f, t = _FORMATS[x.type], x.type
    scale = f.mantissa + 2
    tiny = b.compare("fcmp olt", x, b.const(t, 2.0 ** (1 - f.bias)))
    x = b.select(tiny, b.binary("fmul", x, b.const(t, 2.0**scale)), x)
    bits = b.convert("bitcast", x, f.bits)
    above = b.binary("sub", bits, b.const(f.bits, f.sqrt_half))
    e = b.binary("ashr", above, b.const(f.bits, f.mantissa))
    fraction = b.binary("sub", bits, b.binary("shl", e, b.const(f.bits, f.mantissa)))
    # Integer to float by the magic number: few processors convert 64-bit integers in vectors.
    moved = b.convert("bitcast", b.binary("add", e, b.const(f.bits, f.magic_bits)), t)
    exponent = b.binary("fsub", moved, b.const(t, f.magic))
    shift = b.select(tiny, b.const(t, -float(scale)), b.const(t, 0.0))
    rest = b.binary("fsub", b.convert("bitcast", fraction, t), b.const(t, 1.0))
    return rest, b.binary("fadd", exponent, shift)


def _log_fraction(b: Builder, f: Val) -> Val:
    """log(1+f) - f."""
    t = f.type
    if t == "float":
        square = b.binary("fmul", f, f)
        cubic = b.binary("fmul", b.binary("fmul", f, square), b.horner(f, _LOG_FLOAT))
        return b.fma(square, b.const(t, -0.5), cubic)
    s = b.binary("fdiv", f, b.binary("fadd", f, b.const(t, 2.0)))
    z = b.binary("fmul", s, s)
    half = b.binary("fmul", b.binary("fmul", f, f), b.const(t, 0.5))
    tail = b.binary("fmul", z, b.horner(z, _LOG_DOUBLE))
    # 2 s = f - f^2/2 + s f^2/2 exactly, so that little rounding is added to f.
    return b.binary("fsub", b.binary("fmul", s, b.binary("fadd", half, tail)), half)


def _log_positive(b: Builder, x: Val) -> Val:
    t = x.type
    f, e = _split(b, x)
    high, low = _FORMATS[t].ln2
    tail = b.fma(e, b.const(t, low), _log_fraction(b, f))
    return b.fma(e, b.const(t, high), b.binary("fadd", f, tail))


def _log_domain(b: Builder, x: Val, y: Val) -> Val:
    """y where x is positive and finite, else the logarithm's special values."""
    t = x.type
    zero, inf = b.const(t, 0.0), b.const(t, _INF)
    other = b.select(b.compare("fcmp olt", x, zero), b.const(t, _NAN), x)
    other = b.select(b.compare("fcmp oeq", x, zero), b.const(t, -_INF), other)
    good = b.binary("and", b.compare("fcmp ogt", x, zero), b.compare("fcmp olt", x, inf))
    return b.select(good, y, other)


def log(b: Builder, x: Val) -> Val:
    return _log_domain(b, x, _log_positive(b, x))


def log2(b: Builder, x: Val) -> Val:
    f, e = _split(b, x)
    y = b.fma(b.binary("fadd", f, _log_fraction(b, f)), b.const(x.type, _LOG2E), e)
    return _log_domain(b, x, y)


def log10(b: Builder, x: Val) -> Val:
    wide = b.convert("fpext", x, "double")
    y = b.binary("fmul", _log_positive(b, wide), b.const("double", 0.4342944819032518))
    return _log_domain(b, x, b.convert("fptrunc", y, "float"))


def log1p(b: Builder, x: Val) -> Val:
    """log(u) + (x - (u - 1)) / u with u = 1 + x rounded: the second term is what the rounding
    lost.
    """
    t = x.type
    u = b.binary("fadd", x, b.const(t, 1.0))
    lost = b.binary("fsub", x, b.binary("fsub", u, b.const(t, 1.0)))
    y = b.binary("fadd", _log_positive(b, u), b.binary("fdiv", lost, u))
    return _signed_zero(b, x, _log_domain(b, u, y))


def sin(b: Builder, x: Val) -> Val:
    return _sincos(b, x, 0, "sinf")


def cos(b: Builder, x: Val) -> Val:
    return _sincos(b, x, 1, "cosf")


def _sincos(b: Builder, x: Val, quarter: int, slow: str) -> Val:
    """float32; the argument is reduced in double, with fused products exactly up to 2^45, else by
    the C library.
    """
    if not b.target.fma:
        return b.call_scalar(slow, x)
    d, t = "double", "float"
    wide = b.convert("fpext", x, d)
    shifted = b.fma(wide, b.const(d, 0.6366197723675814), b.const(d, _DOUBLE.magic))
    q = b.binary("fsub", shifted, b.const(d, _DOUBLE.magic))
    r = b.fma(q, b.const(d, -_HALF_PI[1]), b.fma(q, b.const(d, -_HALF_PI[0]), wide))
    r = b.convert("fptrunc", r, t)
    n = b.convert("trunc", b.convert("bitcast", shifted, "i64"), "i32")
    if quarter:
        n = b.binary("add", n, b.const("i32", quarter))
    z = b.binary("fmul", r, r)
    sine = b.fma(b.binary("fmul", r, z), b.horner(z, _SIN), r)
    cosine = b.fma(
        b.binary("fmul", z, z), b.horner(z, _COS), b.fma(z, b.const(t, -0.5), b.const(t, 1.0))
    )
    odd = b.compare("icmp ne", b.binary("and", n, b.const("i32", 1)), b.const("i32", 0))
    y = b.convert("bitcast", b.select(odd, cosine, sine), "i32")
    sign = b.binary("shl", b.binary("and", n, b.const("i32", 2)), b.const("i32", 30))
    y = b.convert("bitcast", b.binary("xor", y, sign), t)
    if not quarter:
        y = _signed_zero(b, x, y)
    huge = b.compare("fcmp ogt", b.intrinsic("fabs", x), b.const(t, 2.0**45))
    return b.rarely(huge, y, lambda: b.call_scalar(slow, x))


def erf(b: Builder, x: Val) -> Val:
    """float32: a polynomial near zero, 1 - exp(polynomial) beyond."""
    t = x.type
    z = b.binary("fmul", x, x)
    small = b.fma(x, b.horner(z, _ERF_SMALL), x)
    size = b.intrinsic("fabs", x)
    a = _at_most(b, size, _ERF_END)
    power = b.horner(a, tuple(-c for c in _ERF_LARGE))
    large = b.binary("fsub", b.const(t, 1.0), _exp_of_moderate(b, power))
    near = b.compare("fcmp olt", size, b.const(t, _ERF_SPLIT))
    return b.select(near, small, b.with_sign(large, x))


def pow_(b: Builder, x: Val, y: Val) -> Val:
    """float32, through double, where exp(y log|x|) has all the digits that are needed."""
    d = "double"
    size = b.convert("fpext", b.intrinsic("fabs", x), d)
    wide = b.convert("fpext", y, d)
    product = b.binary("fmul", wide, _log_domain(b, size, _log_positive(b, size)))
    r = b.convert("fptrunc", _exp_of_moderate(b, _clamp(b, product, -200.0, 200.0)), "float")
    zero, one = b.const("float", 0.0), b.const("float", 1.0)
    whole = b.compare("fcmp oeq", b.intrinsic("floor", y), y)
    half = b.binary("fmul", y, b.const("float", 0.5))
    odd = b.binary("and", whole, b.compare("fcmp une", b.intrinsic("floor", half), half))
    # -1 to an infinite power is 1, where log gives 0 times infinity.
    unit = b.compare("fcmp oeq", b.intrinsic("fabs", x), one)
    known = b.compare("fcmp oeq", y, y)
    r = b.select(b.binary("and", unit, known), one, r)
    bits = b.binary("and", b.convert("bitcast", x, "i32"), b.const("i32", 0x80000000))
    signed = b.binary("or", b.convert("bitcast", r, "i32"), bits)
    r = b.select(odd, b.convert("bitcast", signed, "float"), r)
    finite = b.compare("fcmp ogt", x, b.const("float", -_INF))
    negative = b.binary("and", b.compare("fcmp olt", x, zero), finite)
    fractional = b.compare("fcmp one", b.intrinsic("floor", y), y)
    r = b.select(b.binary("and", negative, fractional), b.const("float", _NAN), r)
    is_one = b.binary("or", b.compare("fcmp oeq", x, one), b.compare("fcmp oeq", y, zero))
    return b.select(is_one, one, r)


_BOTH: dict[str, Callable[..., Val]] = {
    "exp": _exp, "expm1": expm1, "log": log, "log1p": log1p, "tanh": tanh,
}  # fmt: skip
FUNCTIONS: dict[str, dict[str, Callable[..., Val]]] = {
    "float": _BOTH
    | {"exp2": exp2, "log2": log2, "log10": log10, "sin": sin, "cos": cos, "erf": erf, "pow": pow_},
    "double": _BOTH,
}

# Short and frequent enough to be copied into kernels; the others are calls, which keeps compilation
# fast.
_INLINE: dict[str, dict[str, Callable[..., Val]]] = {
    "float": {"exp": exp, "log": log, "tanh": tanh, "erf": erf},
    "double": {"exp": exp},
}


def call(b: Builder, op: str, args: list[Val]) -> Val:
    """An elementary function in a kernel: inline in vector loops, a call in what is left of
    them.
    """
    inline = _INLINE[args[0].type].get(op)
    if inline is not None and max(a.lanes for a in args) > 1:
        return inline(b, *args)
    return b.call_library(op, *args)
