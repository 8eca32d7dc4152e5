"""The standard's special cases of element-wise functions of real numbers: every one that it
lists, over tables of operands.
"""

import itertools
import math
import operator

import numpy as np
import pytest

from beside_strict import REAL, ours, plain, xp

INF, NAN, PI = math.inf, math.nan, math.pi
OPERANDS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, INF, -INF, NAN]

# NaN gives NaN everywhere but where it is named.
UNARY = {
    "abs": [(-0.0, 0.0), (-INF, INF), (INF, INF), (0.0, 0.0)],
    "acos": [(1.0, 0.0), (2.0, NAN), (-2.0, NAN), (INF, NAN), (-1.0, PI), (0.0, PI / 2)],
    "acosh": [(0.5, NAN), (-1.0, NAN), (1.0, 0.0), (INF, INF), (-INF, NAN)],
    "asin": [(2.0, NAN), (-2.0, NAN), (0.0, 0.0), (-0.0, -0.0), (1.0, PI / 2), (INF, NAN)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (INF, PI / 2), (-INF, -PI / 2)],
    "atanh": [(2.0, NAN), (-2.0, NAN), (1.0, INF), (-1.0, -INF), (0.0, 0.0), (-0.0, -0.0)],
    "ceil": [(INF, INF), (-INF, -INF), (0.0, 0.0), (-0.0, -0.0), (-0.5, -0.0), (2.5, 3.0)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN)],
    "cosh": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, INF)],
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0)],
    "floor": [(INF, INF), (-INF, -INF), (0.0, 0.0), (-0.0, -0.0), (0.5, 0.0), (-2.5, -3.0)],
    "log": [(-1.0, NAN), (0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-INF, NAN)],
    "log10": [(-1.0, NAN), (0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF)],
    "log1p": [(-2.0, NAN), (-1.0, -INF), (-0.0, -0.0), (0.0, 0.0), (INF, INF)],
    "log2": [(-1.0, NAN), (0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF)],
    "negative": [(0.0, -0.0), (-0.0, 0.0), (INF, -INF)],
    "reciprocal": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (-INF, -0.0)],
    "round": [(INF, INF), (-0.0, -0.0), (0.5, 0.0), (-0.5, -0.0), (2.5, 2.0), (-2.5, -2.0)],
    "sign": [(0.0, 0.0), (-0.0, 0.0), (-2.5, -1.0), (3.0, 1.0), (INF, 1.0), (-INF, -1.0)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "sqrt": [(-1.0, NAN), (0.0, 0.0), (-0.0, -0.0), (INF, INF)],
    "square": [(-0.0, 0.0), (-INF, INF)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0)],
    "trunc": [(INF, INF), (-INF, -INF), (0.0, 0.0), (-0.0, -0.0), (-0.5, -0.0), (2.5, 2.0)],
}  # fmt: skip


def matches(found, expected, tolerance=1e-6):
    if math.isnan(expected):
        return math.isnan(found)
    if expected == 0 or math.isinf(expected):
        return found == expected and math.copysign(1, found) == math.copysign(1, expected)
    return math.isclose(found, expected, rel_tol=tolerance)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", UNARY)
def test_one_operand(name, dtype):
    cases = [*UNARY[name], (NAN, NAN)]
    found = plain(getattr(xp, name)(ours(np.array([v for v, _ in cases], dtype)))).tolist()
    wrong = [(v, f, e) for (v, e), f in zip(cases, found, strict=True) if not matches(f, e)]
    assert not wrong, f"(operand, result, should be): {wrong}"


def divided(a, b):
    if math.isnan(a) or math.isnan(b) or (math.isinf(a) and math.isinf(b)):
        return NAN
    if b == 0:
        sign = math.copysign(1, a) * math.copysign(1, b)
        return NAN if a == 0 else sign * INF
    return a / b


def floored(a, b):
    q = divided(a, b)
    return q if not math.isfinite(q) or q == 0 else math.copysign(math.floor(q), q)


def rest(a, b):
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or b == 0:
        return NAN
    return a % b


def power(a, b):
    """C99's pow, which is the standard's; where it is NaN or a pole, Python raises an error."""
    try:
        return math.pow(a, b)
    except ValueError:
        if a != 0:
            return NAN
        return math.copysign(INF, a) if b % 2 == 1 else INF


def angle(a, b):
    return NAN if math.isnan(a) or math.isnan(b) else math.atan2(a, b)


def either(f):
    return lambda a, b: NAN if math.isnan(a) or math.isnan(b) else f(a, b)


def length(a, b):
    return math.hypot(a, b)


def log_of_sum(a, b):
    with np.errstate(all="ignore"):
        return float(np.logaddexp(a, b))


BINARY = {
    "atan2": angle, "copysign": math.copysign, "divide": divided, "floor_divide": floored,
    "hypot": length, "logaddexp": log_of_sum, "pow": power, "remainder": rest,
    "maximum": either(max), "minimum": either(min), "add": operator.add,
    "subtract": operator.sub, "multiply": operator.mul, "equal": operator.eq,
    "not_equal": operator.ne, "less": operator.lt, "greater_equal": operator.ge,
}  # fmt: skip
SYMBOLS = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "floor_divide": operator.floordiv, "remainder": operator.mod,
    "pow": operator.pow, "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt,
    "greater_equal": operator.ge,
}  # fmt: skip
IN_PLACE = {
    "add": operator.iadd, "subtract": operator.isub, "multiply": operator.imul,
    "divide": operator.itruediv, "floor_divide": operator.ifloordiv,
    "remainder": operator.imod, "pow": operator.ipow,
}  # fmt: skip


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(name, dtype):
    cases = list(itertools.product(OPERANDS, OPERANDS))
    if name in ("maximum", "minimum"):  # which zero is the greater one is not specified
        cases = [(a, b) for a, b in cases if not a == b == 0]
    a, b = (np.array(column, dtype) for column in zip(*cases, strict=True))
    forms = [getattr(xp, name)]
    forms += [table[name] for table in (SYMBOLS, IN_PLACE) if name in table]
    for f in forms:
        found = plain(f(ours(a), ours(b))).tolist()
        wrong = [
            (x, y, r, e)
            for (x, y), r in zip(cases, found, strict=True)
            if not matches(float(r), e := float(BINARY[name](x, y)), 1e-5)
        ]
        assert not wrong, f"(operands, result, should be): {wrong}"


def test_neighbours():
    for dtype in REAL:
        a = np.array([0.0, -0.0, 1.0, 1.0, NAN, INF], dtype)
        b = np.array([-0.0, 0.0, 2.0, 1.0, 1.0, 0.0], dtype)
        found = plain(xp.nextafter(ours(a), ours(b)))
        expected = np.nextafter(a, b)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found[:2]), [True, False])


def test_predicates():
    a = np.array(OPERANDS, "float32")
    for name in ("isnan", "isinf", "isfinite", "signbit"):
        np.testing.assert_array_equal(plain(getattr(xp, name)(ours(a))), getattr(np, name)(a))
