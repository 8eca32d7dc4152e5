"""Arithmetic instructions of the loop form, one function each."""

from __future__ import annotations

from collections.abc import Callable

from cupola.codegen.llvm import elementary, libm
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.convert import round_to
from cupola.codegen.llvm.types import BITS, REGISTER, is_float
from cupola.dtypes import dtype

_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTEGER_BINARY = {"add": "add", "sub": "sub", "mul": "mul"}
_FLOAT_UNARY = {
    "floor": "floor", "ceil": "ceil", "trunc": "trunc", "round": "roundeven", "sqrt": "sqrt",
    "abs": "fabs",
}  # fmt: skip
_COMPARE = {
    "eq": ("oeq", "eq", "eq"), "ne": ("une", "ne", "ne"), "lt": ("olt", "slt", "ult"),
    "le": ("ole", "sle", "ule"), "gt": ("ogt", "sgt", "ugt"), "ge": ("oge", "sge", "uge"),
}  # fmt: skip


def arithmetic(b: Builder, op: str, d: dtype, args: list[Val], source: dtype) -> Val:
    """One instruction that only computes.

    ``d`` is the result's type, ``source`` that of the first argument.

    Raises:
        NotImplementedError: the loop form has no such operation.
    """
    if op in _COMPARE:
        return compare(b, op, source, *args)
    floating = is_float(args[0].type)
    if op in _FLOAT_BINARY and floating:
        result = b.binary(_FLOAT_BINARY[op], *args)
    elif op in _INTEGER_BINARY:
        result = (
            _boolean(b, op, args) if args[0].type == "i1" else b.binary(_INTEGER_BINARY[op], *args)
        )
    elif op in _FLOAT_UNARY and floating:
        result = b.intrinsic(_FLOAT_UNARY[op], *args)
    elif op in _OTHERS:
        result = _OTHERS[op](b, d, args)
    elif op in elementary.FUNCTIONS.get(args[0].type, {}):
        result = elementary.call(b, op, args)
    elif op in libm.NAMES and floating:
        result = libm.call(b, op, args)
    else:
        raise NotImplementedError(f"the LLVM dialect has no {op} of {source.name}")
    return round_to(b, result, d)


def compare(b: Builder, op: str, source: dtype, x: Val, y: Val) -> Val:
    floating, signed, unsigned = _COMPARE[op]
    if is_float(x.type):
        return b.compare(f"fcmp {floating}", x, y)
    # True is greater than false, so bits compare as unsigned numbers.
    is_signed = source.is_signed and x.type != "i1"
    return b.compare(f"icmp {signed if is_signed else unsigned}", x, y)


def _boolean(b: Builder, op: str, args: list[Val]) -> Val:
    return b.binary({"add": "or", "mul": "and", "sub": "xor"}[op], *args)


def _neg(b: Builder, d: dtype, args: list[Val]) -> Val:
    (x,) = args
    if not is_float(x.type):
        return b.binary("sub", b.const(x.type, 0), x)
    # A sign flip, NaN and zero included; 0 - x would lose the sign of zero.
    bits = "i32" if x.type == "float" else "i64"
    flipped = b.binary("xor", b.convert("bitcast", x, bits), b.const(bits, 1 << (BITS[bits] - 1)))
    return b.convert("bitcast", flipped, x.type)


def _abs(b: Builder, d: dtype, args: list[Val]) -> Val:
    (x,) = args
    if not d.is_signed:
        return x
    negative = b.compare("icmp slt", x, b.const(x.type, 0))
    return b.select(negative, b.binary("sub", b.const(x.type, 0), x), x)


def maximum(b: Builder, d: dtype, args: list[Val]) -> Val:
    return _extreme(b, d, args, "ogt", "sgt", "ugt")


def minimum(b: Builder, d: dtype, args: list[Val]) -> Val:
    return _extreme(b, d, args, "olt", "slt", "ult")


def _extreme(b: Builder, d: dtype, args: list[Val], real: str, signed: str, unsigned: str) -> Val:
    x, y = args
    if not is_float(x.type):
        order = signed if d.is_signed and x.type != "i1" else unsigned
        return b.select(b.compare(f"icmp {order}", x, y), x, y)
    # An ordered comparison is false for NaN and so keeps y; what is left is to keep x when x is
    # NaN.
    kept = b.select(b.compare(f"fcmp {real}", x, y), x, y)
    return b.select(b.compare("fcmp uno", x, x), x, kept)


def _divide(b: Builder, d: dtype, args: list[Val]) -> Val:
    """Toward zero. Division by zero gives 0, and the most negative number by -1 itself: neither may
    trap.
    """
    x, y = args
    if d.name == "bool":
        return b.binary("and", x, y)
    zero, one = b.const(x.type, 0), b.const(x.type, 1)
    by_zero = b.compare("icmp eq", y, zero)
    if not d.is_signed:
        quotient = b.binary("udiv", x, b.select(by_zero, one, y))
        return b.select(by_zero, zero, quotient)
    by_minus = b.compare("icmp eq", y, b.const(x.type, -1))
    safe = b.select(b.binary("or", by_zero, by_minus), one, y)
    quotient = b.select(by_minus, b.binary("sub", zero, x), b.binary("sdiv", x, safe))
    return b.select(by_zero, zero, quotient)


def _modulo(b: Builder, d: dtype, args: list[Val]) -> Val:
    """Sign of the dividend; modulo zero gives 0."""
    x, y = args
    if d.name == "bool":
        return b.const("i1", 0)
    zero, one = b.const(x.type, 0), b.const(x.type, 1)
    trivial = b.compare("icmp eq", y, zero)
    if d.is_signed:
        trivial = b.binary("or", trivial, b.compare("icmp eq", y, b.const(x.type, -1)))
    rest = b.binary("srem" if d.is_signed else "urem", x, b.select(trivial, one, y))
    return b.select(trivial, zero, rest)


def _shift_left(b: Builder, d: dtype, args: list[Val]) -> Val:
    x, y = args
    fits = b.compare("icmp ult", y, b.const(y.type, BITS[x.type]))
    shifted = b.binary("shl", x, b.select(fits, y, b.const(y.type, 0)))
    return b.select(fits, shifted, b.const(x.type, 0))


def _shift_right(b: Builder, d: dtype, args: list[Val]) -> Val:
    x, y = args
    bits = BITS[x.type]
    fits = b.compare("icmp ult", y, b.const(y.type, bits))
    if d.is_signed:
        return b.binary("ashr", x, b.select(fits, y, b.const(y.type, bits - 1)))
    shifted = b.binary("lshr", x, b.select(fits, y, b.const(y.type, 0)))
    return b.select(fits, shifted, b.const(x.type, 0))


def _not(b: Builder, d: dtype, args: list[Val]) -> Val:
    (x,) = args
    return b.binary("xor", x, b.const(x.type, True if x.type == "i1" else -1))


def _bitcast(b: Builder, d: dtype, args: list[Val]) -> Val:
    return b.convert("bitcast", args[0], REGISTER[d.name])


def _isnan(b: Builder, d: dtype, args: list[Val]) -> Val:
    (x,) = args
    return b.compare("fcmp uno", x, x) if is_float(x.type) else b.const("i1", False)


def _same(b: Builder, d: dtype, args: list[Val]) -> Val:
    return args[0]


_OTHERS: dict[str, Callable[[Builder, dtype, list[Val]], Val]] = {
    "neg": _neg,
    "abs": _abs,
    "max": maximum,
    "min": minimum,
    "idiv": _divide,
    "imod": _modulo,
    "shl": _shift_left,
    "shr": _shift_right,
    "not": _not,
    "bitcast": _bitcast,
    "isnan": _isnan,
    "and": lambda b, d, args: b.binary("and", *args),
    "or": lambda b, d, args: b.binary("or", *args),
    "xor": lambda b, d, args: b.binary("xor", *args),
    "where": lambda b, d, args: b.select(*args),
    "fma": lambda b, d, args: (
        b.intrinsic("fma", *args)
        if is_float(args[0].type)
        else b.binary("add", b.binary("mul", args[0], args[1]), args[2])
    ),
    "floor": _same,
    "ceil": _same,
    "trunc": _same,
    "round": _same,
    "copysign": lambda b, d, args: b.with_sign(*args),
}
