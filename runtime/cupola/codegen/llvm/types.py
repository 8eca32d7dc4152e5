"""LLVM's spelling of element types and numbers.

An element has a type in memory and one in registers: bool is a byte in memory and a bit in a
register; float16 and bfloat16 are computed in float32 and rounded where they are cast or stored, so
that what a kernel fuses is rounded once.
"""

from __future__ import annotations

import struct

from cupola.codegen.llvm.target import Target
from cupola.dtypes import dtype

_INTEGERS = {f"{sign}int{bits}": f"i{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")}
REGISTER = _INTEGERS | {
    "bool": "i1",
    "float16": "float",
    "bfloat16": "float",
    "float32": "float",
    "float64": "double",
}
MEMORY = REGISTER | {"bool": "i8", "float16": "half", "bfloat16": "i16"}
BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "half": 16, "float": 32, "double": 64}


def supported(d: dtype) -> bool:
    """Whether generated CPU code handles elements of this type (all but complex and float8)."""
    return d.name in REGISTER


def is_float(type_: str) -> bool:
    return type_ in ("float", "double", "half")


def vector(type_: str, lanes: int) -> str:
    return type_ if lanes == 1 else f"<{lanes} x {type_}>"


def suffix(type_: str, lanes: int) -> str:
    """The overload suffix of an intrinsic's name: ``v8f32``, ``i64``."""
    scalar = {"half": "f16", "float": "f32", "double": "f64"}.get(type_, type_)
    return scalar if lanes == 1 else f"v{lanes}{scalar}"


def literal(type_: str, value: float | int | bool) -> str:
    """A constant; floats are written as the bits of the double that equals them."""
    if type_ == "i1":
        return "true" if value else "false"
    if is_float(type_):
        number = float(value)
        if type_ == "float":
            try:
                number = struct.unpack("<f", struct.pack("<f", number))[0]
            except OverflowError:
                number = float("inf") if number > 0 else float("-inf")
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    bits = BITS[type_]
    whole = int(value) & ((1 << bits) - 1)
    return str(whole - (1 << bits) if whole >> (bits - 1) else whole)


def attributes(target: Target) -> str:
    """Group #0: how wide vectors may be, which also decides how they are passed to functions."""
    wide = target.vector_bytes * 8
    text = f'"prefer-vector-width"="{wide}" "min-legal-vector-width"="{wide}"'
    return f"attributes #0 = {{ nounwind {text} }}"
