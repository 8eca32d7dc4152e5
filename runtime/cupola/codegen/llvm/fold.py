"""Reductions: accumulators, their steps, and how partial results combine.

Float sums and products are folded in the element's own type for a short while (``BLOCK`` elements
an accumulator) and then in double, which bounds the error better than pairwise summation does.
Everything else folds exactly.
"""

from __future__ import annotations

from cupola.codegen.form import Reduce
from cupola.codegen.llvm import arith
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.convert import round_to
from cupola.codegen.llvm.types import BITS, REGISTER, is_float
from cupola.dtypes import dtype, int64

BLOCK = 1024  # elements, for each accumulator that is added to in turn
_NO_INDEX = (1 << 63) - 1


class Fold:
    """One reduction.

    Attributes:
        dtype: type of the folded values.
        carry: type of the result.
        parts: LLVM types of the accumulator's components (value, and index for arg reductions).
        totals: the same for what is kept between blocks.
        blocked: whether accumulators must be merged into totals from time to time.
    """

    def __init__(self, reduce: Reduce, d: dtype) -> None:
        self.op = reduce.op.removeprefix("arg")
        self.arg = reduce.op.startswith("arg")
        self.dtype = d
        self.carry = int64 if self.arg else d
        self.bit = REGISTER[d.name] == "i1"
        type_ = "i8" if self.bit else REGISTER[d.name]
        self.blocked = is_float(type_) and self.op in ("sum", "prod")
        self.parts = [type_, "i64"] if self.arg else [type_]
        self.totals = ["double"] if self.blocked else self.parts

    def identity(self, totals: bool = False) -> list[float | int]:
        if self.op in ("sum", "prod"):
            return [0 if self.op == "sum" else 1]
        if is_float(self.parts[0]):
            extreme: float | int = float("inf")
        elif self.bit:
            extreme = 0 if self.op == "max" else 1
        else:
            bits = BITS[self.parts[0]]
            extreme = (1 << (bits - 1)) - 1 if self.dtype.is_signed else (1 << bits) - 1
        if self.op == "max" and not self.bit:
            if is_float(self.parts[0]):
                extreme = -extreme
            else:
                extreme = -extreme - 1 if self.dtype.is_signed else 0
        return [extreme, _NO_INDEX] if self.arg else [extreme]

    def prepare(self, b: Builder, value: Val) -> Val:
        return b.convert("zext", value, "i8") if self.bit else value

    def step(self, b: Builder, state: list[Val], value: Val, index: Val | None) -> list[Val]:
        """Folds one value (or one a lane) into the accumulator."""
        value = self.prepare(b, value)
        if not self.arg:
            return [self._combine(b, state[0], value)]
        assert index is not None
        better = self._beats(b, value, state[0])
        return [b.select(better, value, state[0]), b.select(better, index, state[1])]

    def merge(self, b: Builder, total: list[Val], part: list[Val]) -> list[Val]:
        """Adds an accumulator to the totals."""
        if self.blocked:
            return [self._combine(b, total[0], b.convert("fpext", part[0], "double"))]
        return self.join(b, total, part)

    def join(self, b: Builder, x: list[Val], y: list[Val]) -> list[Val]:
        """Combines two accumulators, or two totals."""
        if not self.arg:
            return [self._combine(b, x[0], y[0])]
        earlier = b.compare("icmp slt", y[1], x[1])
        better = self._beats(b, y[0], x[0])
        worse = self._beats(b, x[0], y[0])
        equal = b.binary("xor", b.binary("or", better, worse), b.const("i1", True))
        better = b.binary("or", better, b.binary("and", equal, earlier))
        return [b.select(better, y[0], x[0]), b.select(better, y[1], x[1])]

    def across(self, b: Builder, state: list[Val]) -> list[Val]:
        """Combines the lanes into one."""
        lanes = state[0].lanes
        while lanes > 1:
            lanes //= 2
            low = [_lanes(b, v, 0, lanes) for v in state]
            high = [_lanes(b, v, lanes, lanes) for v in state]
            state = self.join(b, low, high)
        return state

    def result(self, b: Builder, total: list[Val]) -> Val:
        """The carry, in register form."""
        if self.arg:
            none = b.compare("icmp eq", total[1], b.const("i64", _NO_INDEX))
            return b.select(none, b.const("i64", 0), total[1])
        if self.bit:
            return b.compare("icmp ne", total[0], b.const("i8", 0))
        if self.blocked:
            return round_to(
                b, b.convert("fptrunc", total[0], REGISTER[self.dtype.name]), self.dtype
            )
        return total[0]

    def _combine(self, b: Builder, x: Val, y: Val) -> Val:
        if self.bit:
            return b.binary("or" if self.op in ("sum", "max") else "and", x, y)
        if self.op == "sum":
            return b.binary("fadd" if is_float(x.type) else "add", x, y)
        if self.op == "prod":
            return b.binary("fmul" if is_float(x.type) else "mul", x, y)
        return (arith.maximum if self.op == "max" else arith.minimum)(b, self.dtype, [y, x])

    def _beats(self, b: Builder, x: Val, y: Val) -> Val:
        greater = arith.compare(b, "gt" if self.op == "max" else "lt", self.dtype, x, y)
        if not is_float(x.type):
            return greater
        first_nan = b.binary("and", b.compare("fcmp uno", x, x), b.compare("fcmp ord", y, y))
        return b.binary("or", greater, first_nan)


def _lanes(b: Builder, v: Val, start: int, count: int) -> Val:
    if count == 1:
        return b.lane(v, start)
    return b.shuffle(v, list(range(start, start + count)))
