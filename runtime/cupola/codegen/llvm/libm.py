"""Functions that are called from the C library, lane by lane."""

from __future__ import annotations

from cupola.codegen.llvm.builder import Builder, Val

_UNARY = [
    *"exp expm1 log log1p log2 log10 exp2 sin cos tan asin acos atan".split(),
    *"sinh cosh tanh asinh acosh atanh erf erfc lgamma tgamma".split(),
]
_BINARY = "pow atan2 fmod nextafter hypot".split()

NAMES = frozenset(_UNARY + _BINARY)

# What LLVM itself may call when the machine has no instruction for an intrinsic.
_IMPLICIT = "floor ceil trunc roundeven sqrt fma fmod".split()

SYMBOLS = tuple(
    name + end for name in sorted(NAMES | set(_IMPLICIT)) for end in ("", "f")
)  # the symbols that generated code may refer to


def call(b: Builder, op: str, args: list[Val]) -> Val:
    return b.call_scalar(op + ("f" if args[0].type == "float" else ""), *args)
