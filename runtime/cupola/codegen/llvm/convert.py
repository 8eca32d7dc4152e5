"""Casts between element types, and between an element's form in memory and in registers."""

from __future__ import annotations

from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.types import BITS, MEMORY, REGISTER, is_float
from cupola.dtypes import dtype


def to_register(b: Builder, v: Val, d: dtype) -> Val:
    """A loaded element, ready to compute with."""
    if d.name == "bool":
        return b.compare("icmp ne", v, b.const("i8", 0))
    if d.name == "float16":
        return b.convert("fpext", v, "float") if b.target.half else _half_to_float(b, v)
    if d.name == "bfloat16":
        wide = b.convert("zext", v, "i32")
        return b.convert("bitcast", b.binary("shl", wide, b.const("i32", 16)), "float")
    return v


def to_memory(b: Builder, v: Val, d: dtype) -> Val:
    """A register value in the form in which it is stored."""
    if d.name == "bool":
        return b.convert("zext", v, "i8")
    if d.name == "float16":
        return b.convert("fptrunc", v, "half") if b.target.half else _float_to_half(b, v)
    if d.name == "bfloat16":
        return _float_to_bfloat(b, v)
    return v


def memory_type(b: Builder, d: dtype) -> str:
    """float16 moves as an integer where the machine has no type for it."""
    return "i16" if d.name == "float16" and not b.target.half else MEMORY[d.name]


def round_to(b: Builder, v: Val, d: dtype) -> Val:
    """A float32 register value rounded to float16 or bfloat16; others unchanged."""
    if d.name in ("float16", "bfloat16"):
        return to_register(b, to_memory(b, v, d), d)
    return v


def _float_to_bfloat(b: Builder, v: Val) -> Val:
    bits = b.convert("bitcast", v, "i32")
    odd = b.binary("and", b.binary("lshr", bits, b.const("i32", 16)), b.const("i32", 1))
    rounded = b.binary("add", bits, b.binary("add", odd, b.const("i32", 0x7FFF)))
    quiet = b.binary("or", bits, b.const("i32", 0x400000))
    chosen = b.select(b.compare("fcmp uno", v, v), quiet, rounded)
    return b.convert("trunc", b.binary("lshr", chosen, b.const("i32", 16)), "i16")


def _half_to_float(b: Builder, v: Val) -> Val:
    """Shifts the fields into place and rescales by 2^112, which is exact, also for subnormals."""
    wide = b.convert("zext", v, "i32")
    sign = b.binary("shl", b.binary("and", wide, b.const("i32", 0x8000)), b.const("i32", 16))
    shifted = b.binary("shl", b.binary("and", wide, b.const("i32", 0x7FFF)), b.const("i32", 13))
    scaled = b.binary("fmul", b.convert("bitcast", shifted, "float"), b.const("float", 2.0**112))
    special = b.compare("icmp uge", shifted, b.const("i32", 0x7C00 << 13))
    kept = b.binary("or", shifted, b.const("i32", 0x7F800000))
    bits = b.select(special, kept, b.convert("bitcast", scaled, "i32"))
    return b.convert("bitcast", b.binary("or", bits, sign), "float")


def _float_to_half(b: Builder, v: Val) -> Val:
    """Rounds to nearest even in integer arithmetic; subnormal results round by a float addition."""
    bits = b.convert("bitcast", v, "i32")
    sign = b.binary("and", b.binary("lshr", bits, b.const("i32", 16)), b.const("i32", 0x8000))
    size = b.binary("and", bits, b.const("i32", 0x7FFFFFFF))
    odd = b.binary("and", b.binary("lshr", size, b.const("i32", 13)), b.const("i32", 1))
    bias = b.binary("add", odd, b.const("i32", 0xFFF - (112 << 23)))
    normal = b.binary("lshr", b.binary("add", size, bias), b.const("i32", 13))
    # 0.5 has the unit in the last place of the subnormal halves, so adding it rounds there.
    moved = b.binary("fadd", b.convert("bitcast", size, "float"), b.const("float", 0.5))
    tiny = b.binary("sub", b.convert("bitcast", moved, "i32"), b.const("i32", 0x3F000000))
    result = b.select(b.compare("icmp ult", size, b.const("i32", 113 << 23)), tiny, normal)
    huge = b.compare("icmp uge", size, b.const("i32", 143 << 23))
    result = b.select(huge, b.const("i32", 0x7C00), result)
    nan = b.compare("icmp ugt", size, b.const("i32", 0x7F800000))
    result = b.select(nan, b.const("i32", 0x7E00), result)
    return b.convert("trunc", b.binary("or", result, sign), "i16")


def cast(b: Builder, v: Val, source: dtype, to: dtype) -> Val:
    """Value of type ``source`` as ``to``.

    Floats to integers truncate and saturate; to 8- and 16-bit integers they go through int32, whose
    low bits remain, as C compilers and PyTorch do it on x86.
    """
    if source is to:
        return v
    a, z = v.type, REGISTER[to.name]
    if z == "i1":
        zero = b.const(a, 0)
        return b.compare("fcmp une" if is_float(a) else "icmp ne", v, zero)
    if is_float(a) and is_float(z):
        if a == z:
            return round_to(b, v, to)
        if a == "double":
            return round_to(b, b.convert("fptrunc", v, z), to)
        return b.convert("fpext", v, z)
    if is_float(a):
        if to.name == "uint64":
            return b.intrinsic("fptoui.sat", v, result="i64")
        wide = "i64" if z == "i64" or to.name == "uint32" else "i32"
        return b.convert("trunc", b.intrinsic("fptosi.sat", v, result=wide), z)
    if is_float(z):
        unsigned = a == "i1" or not source.is_signed
        return round_to(b, b.convert("uitofp" if unsigned else "sitofp", v, z), to)
    if BITS[a] >= BITS[z]:
        return b.convert("trunc", v, z)
    return b.convert("sext" if source.is_signed and a != "i1" else "zext", v, z)
