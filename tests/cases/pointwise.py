"""Samples of the elementwise functions."""

from cases import B, Case, F, I

_ANY = (
    "exp expm1 sin cos tan sinh cosh tanh asinh atan erf erfc sigmoid neg abs sign floor ceil "
    "trunc round square frac "
    "exp2 sgn deg2rad rad2deg sinc positive"
).split()
_POSITIVE = "log log2 log10 log1p sqrt rsqrt reciprocal lgamma digamma".split()
_UNIT = "asin acos atanh erfinv logit".split()
CASES = (
    [Case(n, lambda m, x, n=n: getattr(m, n)(x), (F(3, 5),)) for n in _ANY]
    + [
        Case(n, lambda m, x, n=n: getattr(m, n)(x), (F(3, 5, low=0.1, high=4.0),))
        for n in _POSITIVE
    ]
    + [Case(n, lambda m, x, n=n: getattr(m, n)(x), (F(3, 5, low=0.05, high=0.9),)) for n in _UNIT]
    + [Case("acosh", lambda m, x: m.acosh(x), (F(4, low=1.1, high=5),))]
    + [
        Case(f"{n}.int", lambda m, x, n=n: getattr(m, n)(x), (I(3, 5, low=1, high=7),), grad=False)
        for n in (
            "exp",
            "sqrt",
            "sin",
            "sigmoid",
            "neg",
            "abs",
            "sign",
            "floor",
            "square",
            "bitwise_not",
        )
    ]
    + [
        Case(n, lambda m, x, y, n=n: getattr(m, n)(x, y), (F(3, 1, 5), F(4, 1)))
        for n in (
            "add",
            "sub",
            "mul",
            "div",
            "maximum",
            "minimum",
            "atan2",
            "fmax",
            "fmin",
            "hypot",
            "logaddexp",
            "copysign",
        )
    ]
    + [
        Case(f"{n}.mixed", lambda m, x, y, n=n: getattr(m, n)(x, y), (I(3, 4), F(4)))
        for n in ("add", "sub", "mul", "div", "maximum")
    ]
    + [
        Case(
            n,
            lambda m, x, y, n=n: getattr(m, n)(x, y),
            (F(3, 4), F(3, 4, low=0.5, high=3, grad=False)),
        )
        for n in ("remainder", "fmod")
    ]
    + [
        Case(
            "floor_divide",
            lambda m, x, y: m.floor_divide(x, y),
            (F(3, 4), F(3, 4, low=0.5, high=3)),
            grad=False,
        )
    ]
    + [
        Case(
            f"{n}.int",
            lambda m, x, y, n=n: getattr(m, n)(x, y),
            (I(3, 4), I(3, 4, low=1, high=4)),
            grad=False,
        )
        for n in (
            "floor_divide",
            "remainder",
            "fmod",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
            "div",
        )
    ]
    + [
        Case(n, lambda m, x, y, n=n: getattr(m, n)(x, y), (F(3, 4), F(4)), grad=False)
        for n in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor")
    ]
    + [
        Case("pow.tensor", lambda m, x, y: m.pow(x, y), (F(3, 4, low=0.2, high=3), F(3, 4))),
        *[
            Case(f"pow.{p}", lambda m, x, p=p: m.pow(x, p), (F(3, 4, low=0.2, high=3),))
            for p in (0, 1, 2, 3, 0.5, -1, 2.5)
        ],
        Case("pow.base", lambda m, x: 2.0**x, (F(3),)),
        Case("pow.int", lambda m, x: x**3, (I(3, 4),), grad=False),
        Case("scalar", lambda m, x: (2 * x - 3) / 4 + 1 / (x + 5) - x % 2, (F(3, 4),)),
        Case("scalar.int", lambda m, x: (2 * x - 3) * 4 + x // 2, (I(3, 4),), grad=False),
        Case("int_plus_float", lambda m, x: x + 1.5, (I(3, 4),), grad=False),
        Case("bool_ops", lambda m, x, y: (x & y) | ~x ^ y, (B(3, 4), B(3, 4)), grad=False),
        Case("bool_add", lambda m, x, y: x + y, (B(3, 4), B(3, 4)), grad=False),
        Case("where", lambda m, c, x, y: m.where(c, x, y), (B(3, 1), F(3, 4), F(4))),
        Case("clamp", lambda m, x: m.clamp(x, -1, 1), (F(3, 4),)),
        Case("clamp.min", lambda m, x: x.clamp(min=0.5), (F(3, 4),)),
        Case("clamp.tensor", lambda m, x, y: m.clamp(x, max=y), (F(3, 4), F(4))),
        Case("lerp", lambda m, x, y: m.lerp(x, y, 0.3), (F(3, 4), F(3, 4))),
        Case("addcmul", lambda m, x, y, z: m.addcmul(x, y, z, value=0.5), (F(3, 4), F(3, 4), F(4))),
        Case(
            "addcdiv",
            lambda m, x, y, z: m.addcdiv(x, y, z, value=2),
            (F(3, 4), F(3, 4), F(4, low=1)),
        ),
        Case("nan_to_num", lambda m, x: m.nan_to_num(m.log(x)), (F(3, 4),), grad=False),
        Case("isnan", lambda m, x: m.isnan(m.log(x)) | m.isinf(x / 0), (F(3, 4),), grad=False),
        Case("isclose", lambda m, x: m.isclose(x, x + 1e-7), (F(3, 4, grad=False),), grad=False),
        Case("xlogy", lambda m, x, y: m.xlogy(x, y), (F(3, 4), F(3, 4, low=0.1, high=2))),
        Case("rounding", lambda m, x: m.div(x, 0.7, rounding_mode="trunc"), (F(3, 4),)),
        Case("round.decimals", lambda m, x: m.round(x, decimals=2), (F(3, 4),), grad=False),
        Case("to", lambda m, x: x.to(m.float64) * 2, (F(3, 4),)),
        Case(
            "to.int",
            lambda m, x: x.int() + x.long() + x.bool() + x.to(m.uint8).float(),
            (F(3, 4, low=0, high=9),),
            grad=False,
        ),
        Case("half", lambda m, x: (x.half() * 1.5 + 1).float(), (F(3, 4),), tolerance=2e-3),
        Case("bfloat16", lambda m, x: (x.bfloat16() * 1.5 + 1).float(), (F(3, 4),), tolerance=2e-2),
    ]
)
