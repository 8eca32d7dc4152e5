"""Writes LLVM instructions into the loop level that they depend on.

Code is kept per loop level (0: once per call, 1: once per row, then the inner loops, last the
vector loop). An operation lands in the deepest level of its operands, so that what does not change
in a loop is computed outside it, and an operation written twice is emitted once. LLVM's own passes
that would do this are skipped: they cost more than all the rest of the compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cupola.codegen.llvm.target import Target
from cupola.codegen.llvm.types import literal, suffix, vector

_LEVELS = 80  # more than the loops that a kernel can have


@dataclass(frozen=True, slots=True)
class Val:
    """A value: operand text, scalar LLVM type, lanes (1: the same for all), and loop level."""

    name: str
    type: str
    lanes: int = 1
    level: int = 0

    @property
    def is_constant(self) -> bool:
        return not self.name.startswith("%")


class Builder:
    """Accumulates instructions; every method that computes returns the result as a ``Val``."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.code: list[list[str]] = [[] for _ in range(_LEVELS)]
        self.memo: list[dict[str, str]] = [{} for _ in range(_LEVELS)]
        self.declarations: dict[str, None] = {}
        self.needs: dict[str, tuple[str, str, int]] = {}  # of the library: operation, type, lanes
        self.count = 0

    def forget(self, level: int) -> None:
        """Starts levels from ``level`` on afresh."""
        for i in range(level, len(self.code)):
            self.code[i] = []
            self.memo[i] = {}

    def fresh(self, stem: str = "v") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def put(self, rhs: str, type_: str, lanes: int, level: int, once: bool = True) -> Val:
        """Emits ``name = rhs``, or finds an equal one (``once=False``: never, for loads)."""
        found = self.memo[level].get(rhs) if once else None
        if found is None:
            found = f"%{self.fresh()}"
            self.code[level].append(f"{found} = {rhs}")
            if once:
                self.memo[level][rhs] = found
        return Val(found, type_, lanes, level)

    def line(self, level: int, text: str) -> None:
        self.code[level].append(text)

    def declare(self, text: str) -> None:
        self.declarations[text] = None

    def const(self, type_: str, value: float | int | bool) -> Val:
        return Val(literal(type_, value), type_)

    def spread(self, v: Val, lanes: int) -> str:
        """Operand text of a value in that many lanes."""
        if v.lanes == lanes:
            return v.name
        if v.is_constant:
            return "<" + ", ".join([f"{v.type} {v.name}"] * lanes) + ">"
        wide = vector(v.type, lanes)
        first = self.put(
            f"insertelement {wide} poison, {v.type} {v.name}, i32 0", v.type, lanes, v.level
        )
        return self.put(
            f"shufflevector {wide} {first.name}, {wide} poison, <{lanes} x i32> zeroinitializer",
            v.type, lanes, v.level,
        ).name  # fmt: skip

    def widen(self, v: Val, lanes: int) -> Val:
        return v if v.lanes == lanes else Val(self.spread(v, lanes), v.type, lanes, v.level)

    def operands(self, *values: Val) -> tuple[int, int, list[str]]:
        lanes = max(v.lanes for v in values)
        level = max(v.level for v in values)
        return lanes, level, [self.spread(v, lanes) for v in values]

    def binary(self, op: str, a: Val, b: Val) -> Val:
        lanes, level, (x, y) = self.operands(a, b)
        return self.put(f"{op} {vector(a.type, lanes)} {x}, {y}", a.type, lanes, level)

    def compare(self, op: str, a: Val, b: Val) -> Val:
        """``op`` as in ``fcmp olt`` or ``icmp ult``."""
        lanes, level, (x, y) = self.operands(a, b)
        return self.put(f"{op} {vector(a.type, lanes)} {x}, {y}", "i1", lanes, level)

    def select(self, c: Val, a: Val, b: Val) -> Val:
        lanes, level, (p, x, y) = self.operands(c, a, b)
        t = vector(a.type, lanes)
        return self.put(f"select {vector('i1', lanes)} {p}, {t} {x}, {t} {y}", a.type, lanes, level)

    def convert(self, op: str, v: Val, to: str) -> Val:
        """``op`` as in ``sext``, ``fptrunc``, ``bitcast``."""
        if v.type == to:
            return v
        source, result = vector(v.type, v.lanes), vector(to, v.lanes)
        return self.put(f"{op} {source} {v.name} to {result}", to, v.lanes, v.level)

    def with_sign(self, size: Val, sign: Val) -> Val:
        """The size of one float with the sign of another (copysign), in integer arithmetic: LLVM's
        own copysign of a half and a rounded double asks for a library function that is not there.
        """
        bits = {"float": "i32", "double": "i64"}[size.type]
        top = 1 << (31 if bits == "i32" else 63)
        kept = self.binary("and", self.convert("bitcast", size, bits), self.const(bits, top - 1))
        added = self.binary("and", self.convert("bitcast", sign, bits), self.const(bits, top))
        return self.convert("bitcast", self.binary("or", kept, added), size.type)

    def intrinsic(self, name: str, *args: Val, result: str = "", tail: str = "") -> Val:
        """``llvm.name`` overloaded on the first argument's type; ``result`` when it differs."""
        lanes, level, texts = self.operands(*args)
        out = result or args[0].type
        types = [vector(a.type, lanes) for a in args]
        over = f".{suffix(out, lanes)}" if result else ""
        full = f"@llvm.{name}{over}.{suffix(args[0].type, lanes)}"
        extra = [tail] if tail else []
        declared = ", ".join(types + [t.split()[0] for t in extra])
        self.declare(f"declare {vector(out, lanes)} {full}({declared})")
        passed = ", ".join([f"{t} {x}" for t, x in zip(types, texts)] + extra)
        return self.put(f"call {vector(out, lanes)} {full}({passed})", out, lanes, level)

    def call_scalar(self, function: str, *args: Val) -> Val:
        """Calls a C function lane by lane."""
        lanes, level, _ = self.operands(*args)
        type_ = args[0].type
        self.declare(f"declare {type_} @{function}({', '.join(a.type for a in args)})")
        if lanes == 1:
            passed = ", ".join(f"{a.type} {a.name}" for a in args)
            return self.put(f"call {type_} @{function}({passed})", type_, 1, level)
        result = Val("poison", type_, lanes, level)
        for k in range(lanes):
            each = [self.lane(a, k) for a in args]
            passed = ", ".join(f"{a.type} {a.name}" for a in each)
            part = self.put(f"call {type_} @{function}({passed})", type_, 1, level)
            result = self.insert(result, part, k)
        return result

    def call_library(self, op: str, *args: Val) -> Val:
        """Calls a function of cupola's own library (see ``library``), which is compiled apart,
        once.
        """
        lanes, level, texts = self.operands(*args)
        type_ = args[0].type
        name, wide = f"cupola_{op}_{type_}_{lanes}", vector(type_, lanes)
        self.needs[name] = (op, type_, lanes)
        self.declare(f"declare {wide} @{name}({', '.join([wide] * len(args))})")
        passed = ", ".join(f"{wide} {x}" for x in texts)
        return self.put(f"call {wide} @{name}({passed})", type_, lanes, level)

    def lane(self, v: Val, k: int) -> Val:
        if v.lanes == 1:
            return v
        text = f"extractelement {vector(v.type, v.lanes)} {v.name}, i32 {k}"
        return self.put(text, v.type, 1, v.level)

    def insert(self, v: Val, part: Val, k: int) -> Val:
        wide, level = vector(v.type, v.lanes), max(v.level, part.level)
        text = f"insertelement {wide} {v.name}, {part.type} {part.name}, i32 {k}"
        return self.put(text, v.type, v.lanes, level)

    def shuffle(self, v: Val, lanes: list[int]) -> Val:
        wide = vector(v.type, v.lanes)
        mask = ", ".join(f"i32 {k}" for k in lanes)
        text = f"shufflevector {wide} {v.name}, {wide} poison, <{len(lanes)} x i32> <{mask}>"
        return self.put(text, v.type, len(lanes), v.level)

    def all_lanes(self, mask: Val) -> Val:
        return self._across("and", mask)

    def _across(self, op: str, mask: Val) -> Val:
        if mask.lanes == 1:
            return mask
        wide, name = vector("i1", mask.lanes), f"@llvm.vector.reduce.{op}.v{mask.lanes}i1"
        self.declare(f"declare i1 {name}({wide})")
        return self.put(f"call i1 {name}({wide} {mask.name})", "i1", 1, mask.level)

    def rarely(self, condition: Val, usual: Val, slow: Callable[[], Val]) -> Val:
        """``usual``, but where the condition holds in any lane: ``slow()``, in a branch."""
        test = self._across("or", condition)
        return self.either(test, test.level, slow, lambda: usual)

    def either(self, test: Val, level: int, yes: Callable[[], Val], no: Callable[[], Val]) -> Val:
        """One of two computations, each in a branch of its own; both belong to ``level``."""
        label, code = self.fresh("if"), self.code[level]
        code += [f"br i1 {test.name}, label %{label}.yes, label %{label}.no", f"{label}.yes:"]
        known = dict(self.memo[level])  # what a branch computes is not there after it
        first = yes()
        code += [f"br label %{label}.yes.end", f"{label}.yes.end:", f"br label %{label}.join"]
        code.append(f"{label}.no:")
        self.memo[level] = dict(known)
        second = no()
        code += [f"br label %{label}.no.end", f"{label}.no.end:", f"br label %{label}.join"]
        code.append(f"{label}.join:")
        self.memo[level] = known
        wide = vector(first.type, first.lanes)
        return self.put(
            f"phi {wide} [ {first.name}, %{label}.yes.end ], [ {second.name}, %{label}.no.end ]",
            first.type, first.lanes, level, once=False,
        )  # fmt: skip

    # Integer arithmetic on addresses, with the trivial cases folded.

    def add(self, a: Val, b: Val) -> Val:
        if a.name == "0":
            return b
        if b.name == "0":
            return a
        return self.binary("add", a, b)

    def mul(self, a: Val, b: Val) -> Val:
        for x, y in ((a, b), (b, a)):
            if x.name == "0":
                return x
            if x.name == "1":
                return y
        return self.binary("mul", a, b)

    def iota(self, type_: str, lanes: int) -> Val:
        """0, 1, 2, ... in the lanes."""
        text = "<" + ", ".join(f"{type_} {k}" for k in range(lanes)) + ">"
        return Val(text, type_, lanes)

    # Floating-point shorthands.

    def fma(self, a: Val, b: Val, c: Val) -> Val:
        """a*b + c, fused where the machine does that."""
        return self.intrinsic("fmuladd", a, b, c)

    def horner(self, x: Val, coefficients: tuple[float, ...]) -> Val:
        """The polynomial with these coefficients, highest power first."""
        total = self.const(x.type, coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, self.const(x.type, c))
        return total
