"""One instruction of the loop form as one C expression."""

from __future__ import annotations

from cupola import dtypes
from cupola.codegen.cuda.types import NARROW, constant, value_type, work_type
from cupola.codegen.form import Inst
from cupola.dtypes import dtype

_BINARY = {"add": "+", "sub": "-", "mul": "*", "div": "/", "idiv": "/", "imod": "%"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_BITS = {"and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>"}
_UNARY_MATH = {
    "floor", "ceil", "trunc", "sqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "exp2",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "erf", "erfc", "lgamma", "tgamma",
}  # fmt: skip
_BINARY_MATH = {"pow", "atan2", "fmod", "copysign", "nextafter", "hypot"}


def expression(inst: Inst, args: tuple[str, ...], kinds: tuple[dtype, ...]) -> str:
    """C text that computes ``inst`` from operand names ``args`` of types ``kinds``.

    Raises:
        NotImplementedError: the operation is unknown or has no meaning for complex operands.
    """
    op, d = inst.op, inst.dtype
    if op == "const":
        return constant(inst.extra, d)
    if op == "where":
        return f"{args[0]} ? {args[1]} : {args[2]}"
    if op == "cast":
        return cast(args[0], kinds[0], d)
    if op == "bitcast":
        return f"bit_cast<{value_type(d)}>({args[0]})"
    if any(k.is_complex for k in kinds):
        return _complex(op, args, kinds, d)
    values = tuple(f"to_float({a})" if k.name in NARROW else a for a, k in zip(args, kinds))
    text = _real(op, values, kinds[0] if kinds else d)
    if d.name in NARROW:
        return f"from_float<{value_type(d)}>({text})"
    # Arithmetic on types smaller than int is done in int: bring the result back.
    return f"({value_type(d)})({text})" if d.category < 2 and op not in _COMPARE else text


def _real(op: str, a: tuple[str, ...], kind: dtype) -> str:
    work = work_type(kind)
    suffix = "f" if work == "float" else ""
    floating = kind.is_floating_point
    if op in _BINARY:
        return f"{a[0]} {_BINARY[op]} {a[1]}"
    if op in _COMPARE:
        return f"{a[0]} {_COMPARE[op]} {a[1]}"
    if op in _BITS:
        return f"{a[0]} {_BITS[op]} {a[1]}"
    if op in ("max", "min"):
        if floating:
            return f"nan_{op}<{work}>({a[0]}, {a[1]})"
        return f"{a[0]} {'>' if op == 'max' else '<'} {a[1]} ? {a[0]} : {a[1]}"
    if op == "neg":
        return f"-{a[0]}"
    if op == "abs":
        if floating:
            return f"fabs{suffix}({a[0]})"
        return f"{a[0]} < 0 ? -{a[0]} : {a[0]}" if kind.is_signed else a[0]
    if op == "fma":
        return f"fma{suffix}({a[0]}, {a[1]}, {a[2]})" if floating else f"{a[0]} * {a[1]} + {a[2]}"
    if op == "not":
        return f"!{a[0]}" if kind is dtypes.bool else f"~{a[0]}"
    if op == "isnan":
        return f"{a[0]} != {a[0]}"
    if op == "round":
        return f"rint{suffix}({a[0]})"
    if op in _UNARY_MATH or op in _BINARY_MATH:
        return f"{op}{suffix}({', '.join(a)})"
    raise NotImplementedError(f"the CUDA dialect has no operation {op!r}")


def _complex(op: str, a: tuple[str, ...], kinds: tuple[dtype, ...], d: dtype) -> str:
    if op in ("add", "sub", "mul", "div"):
        return f"{a[0]} {_BINARY[op]} {a[1]}"
    if op in ("eq", "ne"):
        return f"{a[0]} {_COMPARE[op]} {a[1]}"
    if op == "neg":
        return f"-{a[0]}"
    if op == "isnan":
        return f"{a[0]}.x != {a[0]}.x || {a[0]}.y != {a[0]}.y"
    if op == "abs":
        return f"hypot{'f' if kinds[0].name == 'complex64' else ''}({a[0]}.x, {a[0]}.y)"
    raise NotImplementedError(f"the CUDA dialect has no operation {op!r} on {kinds[0].name}")


def cast(a: str, source: dtype, target: dtype) -> str:
    """Conversion of a value: floats truncate to integers, anything but zero is true."""
    if source is target:
        return a
    to = value_type(target)
    if source.is_complex:
        if target is dtypes.bool:
            return f"{a}.x != 0 || {a}.y != 0"
        if target.is_complex:
            real = "float" if target.name == "complex64" else "double"
            return f"{to}{{({real}){a}.x, ({real}){a}.y}}"
        part = dtypes.float32 if source.name == "complex64" else dtypes.float64
        return cast(f"{a}.x", part, target)
    if source.name in NARROW:
        a = f"to_float({a})"
        if target.name == "float32":
            return a
    if target is dtypes.bool:
        return f"{a} != 0"
    if target.name in NARROW:
        return f"from_float<{to}>((float){a})"
    if target.is_complex:
        real = "float" if target.name == "complex64" else "double"
        return f"{to}{{({real}){a}, 0}}"
    if source.is_floating_point and target.category == 1 and target.itemsize < 8:
        # Through a wider signed integer, as CPUs do, so that -1.0 becomes 255 and not 0.
        wide = "long long" if not target.is_signed else "int"
        return f"({to})({wide}){a}"
    return f"({to}){a}"
