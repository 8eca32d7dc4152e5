"""C spellings of element types and constants, and the device functions that a kernel may need.

A type has two spellings: the one in memory and the one of a value in a register. They differ for
bool, stored as a byte. The 16-bit and 8-bit floats are one-member structs: values convert to
``float`` for arithmetic. The text needs no header, so that NVRTC needs no include path.
"""

from __future__ import annotations

import math

from cupola import dtypes
from cupola.dtypes import dtype

VALUE = {
    "bool": "bool",
    "uint8": "unsigned char",
    "int8": "signed char",
    "uint16": "unsigned short",
    "int16": "short",
    "uint32": "unsigned int",
    "int32": "int",
    "uint64": "unsigned long long",
    "int64": "long long",
    "float8_e4m3fn": "f8e4",
    "float8_e5m2": "f8e5",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "float",
    "float64": "double",
    "complex64": "c64",
    "complex128": "c128",
}
NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
"""Floats whose arithmetic is done in ``float``."""

_RANGE = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


def value_type(d: dtype) -> str:
    """C type of a value in a register.

    Raises:
        NotImplementedError: kernels cannot hold this type (complex32).
    """
    try:
        return VALUE[d.name]
    except KeyError:
        raise NotImplementedError(
            f"generated CUDA kernels have no element type {d.name}; cast to another type first"
        ) from None


def memory_type(d: dtype) -> str:
    """C type of an element in memory."""
    return "unsigned char" if d is dtypes.bool else value_type(d)


def work_type(d: dtype) -> str:
    """C type in which arithmetic on ``d`` is done and reductions accumulate."""
    return "float" if d.name in NARROW else value_type(d)


def constant(number: float | int | bool | complex | None, d: dtype) -> str:
    """A C expression for a Python number as a value of type ``d``."""
    name = d.name
    if number is None:
        raise ValueError("a constant instruction needs its number in `extra`")
    if d.is_complex:
        z = complex(number)
        part = dtypes.float32 if name == "complex64" else dtypes.float64
        return f"{value_type(d)}{{{constant(z.real, part)}, {constant(z.imag, part)}}}"
    if isinstance(number, complex):
        raise ValueError(f"the complex constant {number} cannot have the real type {name}")
    if name == "bool":
        return "true" if number else "false"
    if name in NARROW:
        return f"from_float<{value_type(d)}>({_real(float(number), 'f')})"
    if name == "float32":
        return _real(float(number), "f")
    if name == "float64":
        return _real(float(number), "")
    low, high = _RANGE[name]
    whole = int(number)
    if not low <= whole <= high:  # as a C conversion would: modulo 2**bits
        whole = (whole - low) % (high - low + 1) + low
    if whole == -(2**63):
        return "(-9223372036854775807LL - 1)"
    suffix = {"uint64": "ULL", "int64": "LL", "uint32": "U"}.get(name, "")
    return f"({value_type(d)})({whole}{suffix})" if not suffix else f"{whole}{suffix}"


def _real(x: float, suffix: str) -> str:
    cast = "float" if suffix else "double"
    if math.isnan(x):
        return f"({cast})__int_as_float(0x7fc00000)"
    if math.isinf(x) or (suffix and abs(x) >= 3.4028235677973366e38):
        return f"({cast})__int_as_float({'0x7f800000' if x > 0 else '(int)0xff800000'})"
    text = f"{x:.17g}" if not suffix else f"{x:.9g}"
    if not any(c in text for c in ".e"):
        text += ".0"
    return f"({text}{suffix})" if x < 0 or text[0] == "-" else text + suffix


def lowest(d: dtype) -> str:
    """The start of a maximum: minus infinity, or the smallest integer."""
    return _extreme(d, 0)


def highest(d: dtype) -> str:
    """The start of a minimum."""
    return _extreme(d, 1)


def _extreme(d: dtype, side: int) -> str:
    if d.is_floating_point:
        return constant(
            (-math.inf, math.inf)[side], dtypes.float64 if d.itemsize == 8 else dtypes.float32
        )
    if d is dtypes.bool:
        return ("false", "true")[side]
    return constant(_RANGE[d.name][side], d)
