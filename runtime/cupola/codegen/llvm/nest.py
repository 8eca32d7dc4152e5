"""The loop nest around a kernel's code.

One loop runs over vector lanes: its *axis*. If it is an outer loop, the axis is cut into columns:
inner loops run outside the column loop, and reductions keep one accumulator a column, in memory on
the stack. If it is the last inner loop, reductions keep their accumulators in registers. All other
outer loops are flattened into rows.

The generated function computes a rectangle of rows and columns, named by its task (see ``plan``):

    void NAME(ptr head, ptr meta, ptr task, ptr scratch)

``head`` holds the addresses of the arrays' objects, then the scalars in 8-byte slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cupola.codegen.form import Inst, Kernel, Stage
from cupola.codegen.llvm import elementary, libm
from cupola.codegen.llvm.address import Addresses
from cupola.codegen.llvm.arith import arithmetic
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.convert import cast, round_to
from cupola.codegen.llvm.loops import Loops, States
from cupola.codegen.llvm.reduction import STRIP, Reductions
from cupola.codegen.llvm.target import Target
from cupola.codegen.llvm.types import BITS, REGISTER, attributes, supported

NAME = "kernel"  # of the generated function
POINTER_OFFSET = 16  # of the data pointer in a CPython array object
TASK = ("mode", "row", "row_end", "column", "column_end", "inner", "inner_end", "slot", "cells")


@dataclass(frozen=True)
class Program:
    """Generated code.

    Attributes:
        text: LLVM module.
        name: its function.
        axis: the loop that runs over lanes, -1 for none.
        columns: whether the axis is an outer loop.
        width: lanes.
        parts: 8-byte cells that one partial reduction needs; 0 if the code is not split.
        needs: library functions that the code calls, by symbol: operation, type, lanes.
    """

    text: str
    name: str
    axis: int
    columns: bool
    width: int
    parts: int
    needs: dict[str, tuple[str, str, int]]


class Nest:
    """Generates one kernel for one axis."""

    def __init__(self, kernel: Kernel, target: Target, axis: int, split: bool = False) -> None:
        for d in kernel.buffers + kernel.scalars:
            if not supported(d):
                raise NotImplementedError(f"generated CPU code does not handle {d.name}")
        self.kernel = kernel
        self.b = Builder(target)
        self.a = Addresses(self.b, kernel)
        self.axis = axis
        self.columns = 0 <= axis < kernel.outer
        self.width = lanes(kernel, target) if axis >= 0 else 1
        self.striped = self.columns and any(s.kind == "reduce" for s in kernel.stages)
        self.rows = [d for d in range(kernel.outer) if d != axis]
        self.loops = Loops(self.b, self.a, self.width)
        self.reductions = Reductions(kernel, self.b, self.a, self.loops, axis, self, split)
        self.shared: dict[tuple[int, int], Val] = {}

    def program(self) -> Program:
        kernel, b = self.kernel, self.b
        rows, latch = self._rows()
        body: list[str] = []
        for stage in kernel.stages:
            body += self._stage(stage)
        if self.striped:
            body = self._strips(body)
        else:
            body = [*body, "br label %row.latch"]
        entry = self._entry()
        text = [
            f"define void @{NAME}(ptr %head, ptr %meta, ptr %task, ptr %scratch) #0 {{",
            "entry:",
        ]
        text += entry + self.reductions.allocas + b.code[0] + ["br label %row.start"]
        text += rows + body + latch + ["exit:", "ret void", "}"]
        text += [f"@zeros = internal constant [{64 * 8} x i8] zeroinitializer, align 64"]
        text += list(b.declarations) + [attributes(b.target), ""]
        return Program(
            "\n".join(text),
            NAME,
            self.axis,
            self.columns,
            self.width,
            self.reductions.parts,
            b.needs,
        )

    # The frame: arguments, rows, strips of columns.

    def _entry(self) -> list[str]:
        lines = []
        for i in range(len(self.kernel.buffers)):
            lines += [
                f"%o{i}.p = getelementptr i64, ptr %head, i64 {i}",
                f"%o{i} = load ptr, ptr %o{i}.p, align 8",
                f"%o{i}.d = getelementptr i8, ptr %o{i}, i64 {POINTER_OFFSET}",
                f"%b{i} = load ptr, ptr %o{i}.d, align 8",
            ]
        lines.append("%zeros = bitcast ptr @zeros to ptr")
        for k, name in enumerate(TASK):
            lines += [
                f"%t.{name}.p = getelementptr i64, ptr %task, i64 {k}",
                f"%t.{name} = load i64, ptr %t.{name}.p, align 8",
            ]
        return lines

    def _rows(self) -> tuple[list[str], list[str]]:
        """Head and latch of the loop over flattened rows, whose loop counters advance like an
        odometer.
        """
        a = self.a
        if not self.rows:
            lines = ["row.start:", "%r = add i64 %t.row, 0", "br label %row.body", "row.body:"]
            return lines, ["row.latch:", "br label %exit"]
        start = ["row.start:"]
        head = [
            "br label %row.head",
            "row.head:",
            "%r = phi i64 [ %t.row, %row.start ], [ %r.next, %row.latch ]",
        ]
        latch = ["row.latch:", "%r.next = add i64 %r, 1"]
        rest, carry = "%t.row", "true"
        for d in reversed(self.rows):
            size = a.meta(d).name
            if d == self.rows[0]:
                start.append(f"%x{d}.0 = add i64 {rest}, 0")
            else:
                start += [f"%x{d}.0 = urem i64 {rest}, {size}", f"%q{d} = udiv i64 {rest}, {size}"]
                rest = f"%q{d}"
            head.append(f"%x{d} = phi i64 [ %x{d}.0, %row.start ], [ %x{d}.next, %row.latch ]")
            latch += [
                f"%x{d}.c = zext i1 {carry} to i64",
                f"%x{d}.up = add i64 %x{d}, %x{d}.c",
                f"%x{d}.over = icmp eq i64 %x{d}.up, {size}",
                f"%x{d}.next = select i1 %x{d}.over, i64 0, i64 %x{d}.up",
            ]
            carry = f"%x{d}.over"
            a.loops[d] = Val(f"%x{d}", "i64", 1, 1)
        head += [
            "%r.more = icmp slt i64 %r, %t.row_end",
            "br i1 %r.more, label %row.body, label %exit",
            "row.body:",
        ]
        return start + head, [*latch, "br label %row.head"]

    def _strips(self, body: list[str]) -> list[str]:
        return [
            "br label %strip.head",
            "strip.head:",
            "%s = phi i64 [ %t.column, %row.body ], [ %s.next, %strip.latch ]",
            "%s.more = icmp slt i64 %s, %t.column_end",
            "br i1 %s.more, label %strip.body, label %row.latch",
            "strip.body:",
            f"%s.full = add i64 %s, {STRIP}",
            "%s.fits = icmp slt i64 %s.full, %t.column_end",
            "%s.end = select i1 %s.fits, i64 %s.full, i64 %t.column_end",
            *body,
            "br label %strip.latch",
            "strip.latch:",
            "%s.next = add i64 %s.end, 0",
            "br label %strip.head",
        ]

    def _column_range(self) -> tuple[str, str]:
        return ("%s", "%s.end") if self.striped else ("%t.column", "%t.column_end")

    # Stages.

    def _stage(self, stage: Stage) -> list[str]:
        b = self.b
        b.code[1] = []
        b.forget(2)
        self.shared = {}
        if stage.kind == "reduce":
            return self.reductions.stage(stage)
        inner = self.reductions.inner if stage.kind == "map" else []
        ranges = [self.reductions.inner_range(d, False) for d in inner]
        if self.columns:
            ranges.append((self.axis, *self._column_range()))
        if ranges:
            last = ranges.pop()
            lines = self.loops.nested(
                ranges, 2, lambda level: self.loops.run(level, *last, self._simple(stage), [])[0]
            )
        else:
            self.a.level = 1
            self._simple(stage)([])
            lines = []
        return b.code[1] + lines

    def _simple(self, stage: Stage) -> Callable[[States], States]:
        def emit(states: States) -> States:
            values = self.evaluate(stage)
            for store in stage.stores:
                self.a.store(store.access, values[store.value])
            return states

        return emit

    # Instructions.

    def evaluate(self, stage: Stage, copy: int = 0) -> list[Val]:
        """Emits a stage's code at the current place.

        What the innermost loop does not change is computed once for its vector and its scalar part;
        ``copy`` tells apart unrolled iterations of the loop around it.
        """
        values: list[Val] = []
        for n, inst in enumerate(stage.code):
            v = self.shared.get((copy, n))
            if v is None:
                v = self._instruction(inst, [values[i] for i in inst.args], stage)
                if v.level < self.a.level:
                    self.shared[copy, n] = v
            values.append(v)
        return values

    def restart(self) -> None:
        """Forgets values of loops that have ended."""
        self.shared = {}

    def _instruction(self, inst: Inst, args: list[Val], stage: Stage) -> Val:
        b, op, d = self.b, inst.op, inst.dtype
        if op == "load":
            return self.a.load(int(inst.extra or 0), args)
        if op == "const":
            assert inst.extra is not None
            return round_to(b, b.const(REGISTER[d.name], inst.extra), d)
        if op == "loop":
            return self.a.loop_value(int(inst.extra or 0))
        if op == "scalar":
            return self._scalar(int(inst.extra or 0))
        if op == "meta":
            return self.a.meta(self.a.layout.integers[int(inst.extra or 0)])
        if op == "carry":
            k = int(inst.extra or 0)
            return self.reductions.carry(k)
        source = stage.code[inst.args[0]].dtype
        if op == "cast":
            return cast(b, args[0], source, d)
        return arithmetic(b, op, d, args, source)

    def _scalar(self, k: int) -> Val:
        b, d = self.b, self.kernel.scalars[k]
        p = f"getelementptr i64, ptr %head, i64 {len(self.kernel.buffers) + k}"
        at = b.put(p, "ptr", 1, 0)
        type_ = REGISTER[d.name]
        if type_ in ("float", "double"):
            v = b.put(f"load double, ptr {at.name}, align 8", "double", 1, 0)
            return round_to(b, b.convert("fptrunc", v, type_), d)
        v = b.put(f"load i64, ptr {at.name}, align 8", "i64", 1, 0)
        return (
            b.convert("trunc", v, type_)
            if type_ != "i1"
            else b.compare("icmp ne", v, b.const("i64", 0))
        )


def lanes(kernel: Kernel, target: Target) -> int:
    """Lanes that fill a register with the type most of the arithmetic is done in."""
    computed = [
        REGISTER[i.dtype.name] for s in kernel.stages for i in s.code
        if i.op not in ("loop", "meta", "const", "scalar") and i.dtype.name != "bool"
    ]  # fmt: skip
    floats = [BITS[t] // 8 for t in computed if t in ("float", "double")]
    sizes = floats or [BITS[t] // 8 for t in computed] or [1]
    return max(2, target.vector_bytes // max(sizes))


def weight(kernel: Kernel) -> int:
    """Rough cost of one innermost iteration in simple operations: what is worth sharing."""
    return max((_stage_weight(s) for s in kernel.stages), default=1)


def _stage_weight(stage: Stage) -> int:
    total = len(stage.stores)
    for i in stage.code:
        if i.op in libm.NAMES:
            total += 15 if any(i.op in table for table in elementary.FUNCTIONS.values()) else 60
        elif i.op in ("div", "sqrt", "idiv", "imod"):
            total += 5
        elif i.op not in ("const", "scalar", "meta", "loop", "carry"):
            total += 1
    return max(1, total)
