"""Functions that kernels call instead of containing them: modules compiled when first needed."""

from __future__ import annotations

from cupola.codegen.llvm import elementary
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.target import Target
from cupola.codegen.llvm.types import attributes, vector

_BINARY = ("pow",)


def library_function(target: Target, symbol: str, op: str, type_: str, lanes: int) -> str:
    """LLVM module that defines ``symbol``: an elementary function of one vector (or number) a
    parameter.
    """
    b = Builder(target)
    names = ["%x", "%y"] if op in _BINARY else ["%x"]
    result = elementary.FUNCTIONS[type_][op](b, *(Val(n, type_, lanes) for n in names))
    wide = vector(type_, lanes)
    parameters = ", ".join(f"{wide} {n}" for n in names)
    lines = [f"define {wide} @{symbol}({parameters}) #0 {{", "entry:", *b.code[0]]
    lines += [f"ret {wide} {result.name}", "}", *b.declarations, attributes(target), ""]
    return "\n".join(lines)
