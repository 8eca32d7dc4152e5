"""Element-wise functions and operators, beside array-api-strict."""

import numpy as np
import pytest
from hypothesis import given

from beside_strict import (
    COMPLEX,
    EVERY,
    INTEGERS,
    NUMERIC,
    ORDERED,
    REAL,
    arrays,
    few,
    ours,
    pairs,
    same,
    strict,
    theirs,
    xp,
)

pytest.importorskip("array_api_strict")

FLOATING = REAL + COMPLEX
UNARY = {
    "abs": NUMERIC, "acos": FLOATING, "acosh": FLOATING, "asin": FLOATING, "asinh": FLOATING,
    "atan": FLOATING, "atanh": FLOATING, "bitwise_invert": ("bool", *INTEGERS), "ceil": ORDERED,
    "conj": NUMERIC, "cos": FLOATING, "cosh": FLOATING, "exp": FLOATING, "expm1": FLOATING,
    "floor": ORDERED, "imag": COMPLEX, "isfinite": NUMERIC, "isinf": NUMERIC, "isnan": NUMERIC,
    "log": FLOATING, "log10": FLOATING, "log1p": FLOATING, "log2": FLOATING,
    "logical_not": ("bool",), "negative": NUMERIC, "positive": NUMERIC, "real": NUMERIC,
    "reciprocal": FLOATING, "round": NUMERIC, "sign": NUMERIC, "signbit": REAL, "sin": FLOATING,
    "sinh": FLOATING, "sqrt": FLOATING, "square": NUMERIC, "tan": FLOATING, "tanh": FLOATING,
    "trunc": ORDERED,
}  # fmt: skip
BINARY = {
    "add": NUMERIC, "atan2": REAL, "bitwise_and": ("bool", *INTEGERS),
    "bitwise_or": ("bool", *INTEGERS), "bitwise_xor": ("bool", *INTEGERS), "copysign": REAL,
    "divide": FLOATING, "equal": EVERY, "floor_divide": ORDERED, "greater": ORDERED,
    "greater_equal": ORDERED, "hypot": REAL, "less": ORDERED, "less_equal": ORDERED,
    "logaddexp": REAL, "logical_and": ("bool",), "logical_or": ("bool",), "logical_xor": ("bool",),
    "maximum": ORDERED, "minimum": ORDERED, "multiply": NUMERIC, "not_equal": EVERY,
    "pow": NUMERIC, "remainder": ORDERED, "subtract": NUMERIC,
}  # fmt: skip
ZEROS = False


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_array(name):
    @few
    @given(arrays(UNARY[name]))
    def check(a):
        with np.errstate(all="ignore"):
            expected = getattr(strict(), name)(theirs(a))
        same(getattr(xp, name)(ours(a)), expected, zeros=True)

    check()


def defined(name, a, b):
    """Whether the standard says what the result is, and array-api-strict follows it."""
    integers = a.dtype.kind in "iu" and b.dtype.kind in "iu"
    if name == "pow":
        return not (integers and (b < 0).any()) and "c" not in a.dtype.kind + b.dtype.kind
    if name in ("floor_divide", "remainder") and integers:
        return (b != 0).all()
    if name == "floor_divide":  # there NumPy follows Python, and the standard prefers floor(a / b)
        return np.isfinite(a).all() and np.isfinite(b).all()
    return True


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arrays(name):
    @few
    @given(pairs(BINARY[name]).filter(lambda ab: defined(name, *ab)))
    def check(ab):
        with np.errstate(all="ignore"):
            expected = getattr(strict(), name)(*map(theirs, ab))
        same(getattr(xp, name)(*map(ours, ab)), expected, zeros=True)

    check()
