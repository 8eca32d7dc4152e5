"""The loop nest around a kernel's code.

One loop runs over vector lanes: its *axis*. If it is an outer loop, the axis is cut into columns: inner loops run
outside the column loop and reductions keep one accumulator a column, in memory on the stack. If it is the last
inner loop, reductions keep their accumulators in registers. All other outer loops are flattened into rows.

The generated function computes a rectangle of rows and columns, named by its task (see ``plan``):

    void NAME(ptr head, ptr meta, ptr task, ptr scratch)

``head`` holds the addresses of the arrays' objects, then the scalars in 8-byte slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cupola.codegen.form import Inst, Kernel, Stage
from cupola.codegen.llvm.address import Addresses
from cupola.codegen.llvm.arith import arithmetic
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.convert import cast, round_to
from cupola.codegen.llvm.fold import BLOCK, Fold
from cupola.codegen.llvm.target import Target
from cupola.codegen.llvm.types import BITS, REGISTER, supported, vector

NAME = "kernel"  # of the generated function
STRIP = 1024  # columns whose accumulators are kept at a time
POINTER_OFFSET = 16  # of the data pointer in a CPython array object
TASK = ("mode", "row", "row_end", "column", "column_end", "inner", "inner_end", "slot")


@dataclass(frozen=True)
class Program:
    """Generated code.

    Attributes:
        text: LLVM module.
        name: its function.
        axis: the loop that runs over lanes, -1 for none.
        columns: whether the axis is an outer loop.
        width: lanes.
        parts: 8-byte cells that one partial reduction needs; 0 if the kernel cannot be split inside.
        weight: rough cost of one innermost iteration, in simple operations.
    """

    text: str
    name: str
    axis: int
    columns: bool
    width: int
    parts: int
    weight: int


class Nest:
    """Generates one kernel for one axis."""

    def __init__(self, kernel: Kernel, target: Target, axis: int) -> None:
        for d in kernel.buffers + kernel.scalars:
            if not supported(d):
                raise NotImplementedError(f"generated CPU code does not handle {d.name}")
        self.kernel = kernel
        self.b = Builder(target)
        self.a = Addresses(self.b, kernel)
        self.axis = axis
        self.columns = 0 <= axis < kernel.outer
        self.width = lanes(kernel, target) if axis >= 0 else 1
        self.inner = [d + kernel.outer for d in range(kernel.inner)]
        self.rows = [d for d in range(kernel.outer) if d != axis]
        self.folds: list[Fold] = []
        self.carries: list[Val] = []
        self.allocas: list[str] = []
        self.shared: dict[int, Val] = {}

    def program(self) -> Program:
        kernel, b = self.kernel, self.b
        rows, latch = self._rows()
        body: list[str] = []
        for stage in kernel.stages:
            body += self._stage(stage)
        if self.columns and self.folds:
            body = self._strips(body)
        else:
            body = [*body, "br label %row.latch"]
        entry = self._entry()
        text = [f"define void @{NAME}(ptr %head, ptr %meta, ptr %task, ptr %scratch) #0 {{", "entry:"]
        text += entry + self.allocas + b.code[0] + ["br label %row.start"]
        text += rows + body + latch + ["exit:", "ret void", "}"]
        wide = b.target.vector_bytes * 8
        attributes = f'"prefer-vector-width"="{wide}" "min-legal-vector-width"="{wide}"'
        text += [f"@zeros = internal constant [{64 * 8} x i8] zeroinitializer, align 64"]
        text += list(b.declarations) + [f"attributes #0 = {{ nounwind {attributes} }}", ""]
        weight = max((len(s.code) + len(s.stores) for s in kernel.stages), default=1)
        return Program(
            "\n".join(text), NAME, self.axis, self.columns, self.width, 0, weight
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
        """Head and latch of the loop over flattened rows, whose loop counters advance like an odometer."""
        b, a = self.b, self.a
        start = ["row.start:"]
        head = ["br label %row.head", "row.head:", "%r = phi i64 [ %t.row, %row.start ], [ %r.next, %row.latch ]"]
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
        head += ["%r.more = icmp slt i64 %r, %t.row_end", "br i1 %r.more, label %row.body, label %exit", "row.body:"]
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
        striped = any(s.kind == "reduce" for s in self.kernel.stages)
        return ("%s", "%s.end") if striped else ("%t.column", "%t.column_end")

    # Stages.

    def _stage(self, stage: Stage) -> list[str]:
        b = self.b
        b.code[1] = []
        b.forget(2)
        self.shared = {}
        if stage.kind == "reduce":
            return self._reduce_columns(stage) if self.columns else self._reduce_lanes(stage)
        inner = self.inner if stage.kind == "map" else []
        if self.columns:
            low, high = self._column_range()
            lines = self._scalar_loops(
                inner, 2, lambda level: self._run(level, self.axis, low, high, self._simple(stage), [])[0]
            )
        elif inner:
            lines = self._scalar_loops(
                inner[:-1], 2,
                lambda level: self._run(level, inner[-1], "0", self.a.meta(inner[-1]).name, self._simple(stage), [])[0],
            )  # fmt: skip
        else:
            self.a.level = 1
            self._simple(stage)([])
            lines = []
        return b.code[1] + lines

    def _simple(self, stage: Stage) -> Callable[[list[list[Val]]], list[list[Val]]]:
        def emit(states: list[list[Val]]) -> list[list[Val]]:
            values = self._evaluate(stage)
            for store in stage.stores:
                self.a.store(store.access, values[store.value])
            return states

        return emit

    def _new_folds(self, stage: Stage) -> list[Fold]:
        folds = [Fold(r, stage.code[r.value].dtype) for r in stage.reduces]
        for k, fold in enumerate(folds, len(self.folds)):
            count = STRIP if self.columns else 1
            for p, type_ in enumerate(fold.totals):
                self.allocas.append(f"%total{k}.{p} = alloca {type_}, i64 {count}, align 64")
        return folds

    def _reduce_lanes(self, stage: Stage) -> list[str]:
        b, a = self.b, self.a
        first = len(self.folds)
        folds = self._new_folds(stage)
        self.folds += folds
        blocked = any(f.blocked for f in folds)
        last = self.inner[-1]
        start = [
            f"store {type_} {b.const(type_, value).name}, ptr %total{k}.{p}"
            for k, f in enumerate(folds, first)
            for p, (type_, value) in enumerate(zip(f.totals, f.identity()))
        ]

        def step(states: list[list[Val]]) -> list[list[Val]]:
            values = self._evaluate(stage)
            return [
                f.step(b, s, values[r.value], values[r.index] if f.arg else None)
                for f, s, r in zip(folds, states, stage.reduces)
            ]

        def run(level: int, low: str, high: str) -> list[str]:
            lines, states = self._run(level, last, low, high, step, folds)
            b.code[level], b.memo[level] = [], {}
            for k, (f, s) in enumerate(zip(folds, states), first):
                total = [
                    b.put(f"load {t}, ptr %total{k}.{p}", t, 1, level, once=False)
                    for p, t in enumerate(f.totals)
                ]
                for p, v in enumerate(f.merge(b, total, s)):
                    b.line(level, f"store {v.type} {v.name}, ptr %total{k}.{p}")
            return lines + b.code[level]

        def blocks(level: int) -> list[str]:
            low, high = self._inner_range(last)
            if not blocked:
                return run(level, low, high)
            label = b.fresh("block")
            return [
                *_loop_head(label, low, high),
                f"%{label}.full = add i64 %{label}.i, {BLOCK}",
                f"%{label}.fits = icmp slt i64 %{label}.full, {high}",
                f"%{label}.end = select i1 %{label}.fits, i64 %{label}.full, i64 {high}",
                *run(level, f"%{label}.i", f"%{label}.end"),
                *_loop_latch(label, BLOCK),
            ]

        lines = self._scalar_loops(self.inner[:-1], 2, blocks)
        lines = b.code[1] + start + lines
        b.code[1] = []
        for k, f in enumerate(folds, first):
            total = [
                b.put(f"load {t}, ptr %total{k}.{p}", t, 1, 1, once=False) for p, t in enumerate(f.totals)
            ]
            self.carries.append(f.result(b, total))
        return lines + b.code[1]

    def _inner_range(self, loop: int) -> tuple[str, str]:
        return "0", self.a.meta(loop).name

    def _reduce_columns(self, stage: Stage) -> list[str]:
        b = self.b
        first = len(self.folds)
        folds = self._new_folds(stage)
        low, high = self._column_range()

        def clear(_: list[list[Val]]) -> list[list[Val]]:
            for k, f in enumerate(folds, first):
                state = [b.const(t, value) for t, value in zip(f.totals, f.identity())]
                self._save_totals(k, state)
            return []

        def step(_: list[list[Val]]) -> list[list[Val]]:
            values = self._evaluate(stage)
            for k, (f, r) in enumerate(zip(folds, stage.reduces), first):
                total = self._load_totals(k, f)
                value = values[r.value]
                if f.blocked:
                    self._save_totals(k, f.merge(b, total, [f.prepare(b, value)]))
                else:
                    self._save_totals(k, f.step(b, total, value, values[r.index] if f.arg else None))
            return []

        start, _ = self._run(2, self.axis, low, high, clear, [])
        b.forget(2)
        lines = self._scalar_loops(
            self.inner, 2, lambda level: self._run(level, self.axis, low, high, step, [])[0]
        )
        self.folds += folds
        return b.code[1] + start + lines

    def _total_pointer(self, k: int, p: int, type_: str) -> str:
        b, level = self.b, self.a.level
        i = self.a.lane_index()
        at = b.put(f"sub i64 {i.name}, %s", "i64", 1, level)
        return b.put(f"getelementptr {type_}, ptr %total{k}.{p}, i64 {at.name}", "ptr", 1, level).name

    def _load_totals(self, k: int, fold: Fold) -> list[Val]:
        b, level, width = self.b, self.a.level, self.a.width
        return [
            b.put(
                f"load {vector(t, width)}, ptr {self._total_pointer(k, p, t)}, align {BITS[t] // 8}",
                t, width, level, once=False,
            )
            for p, t in enumerate(fold.totals)
        ]  # fmt: skip

    def _save_totals(self, k: int, state: list[Val]) -> None:
        b, level, width = self.b, self.a.level, self.a.width
        for p, v in enumerate(state):
            at = self._total_pointer(k, p, v.type)
            text = f"store {vector(v.type, width)} {b.spread(v, width)}, ptr {at}, align {BITS[v.type] // 8}"
            b.line(level, text)

    # Loops.

    def _scalar_loops(self, loops: list[int], level: int, inside: Callable[[int], list[str]]) -> list[str]:
        if not loops:
            return inside(level)
        b, label = self.b, self.b.fresh("loop")
        loop = loops[0]
        low, high = self._inner_range(loop)
        self.a.loops[loop] = Val(f"%{label}.i", "i64", 1, level)
        nested = self._scalar_loops(loops[1:], level + 1, inside)
        del self.a.loops[loop]
        lines = _loop_head(label, low, high) + b.code[level] + nested + _loop_latch(label, 1)
        b.code[level], b.memo[level] = [], {}
        return lines

    def _run(
        self, level: int, loop: int, low: str, high: str,
        emit: Callable[[list[list[Val]]], list[list[Val]]], folds: list[Fold],
    ) -> tuple[list[str], list[list[Val]]]:  # fmt: skip
        """The innermost loop: whole vectors, then the rest one by one. Returns also the accumulators at its end."""
        b, a = self.b, self.a
        a.vector_loop, a.level = loop, level
        states = [[b.const(t, v) for t, v in zip(f.parts, f.identity())] for f in folds]
        lines: list[str] = []
        for width in (self.width, 1) if self.width > 1 else (1,):
            b.code[level], b.memo[level] = [], {}
            label = b.fresh("run")
            a.width = width
            a.loops[loop] = Val(f"%{label}.i", "i64", 1, level)
            phis = [
                [Val(f"%{label}.{k}.{p}", v.type, width, level) for p, v in enumerate(s)]
                for k, s in enumerate(states)
            ]
            results = emit(phis)
            head = [f"br label %{label}.pre", f"{label}.pre:"]
            if width > 1:
                head.append(f"%{label}.stop = sub i64 {high}, {width - 1}")
            stop = f"%{label}.stop" if width > 1 else high
            head += [
                f"br label %{label}.head",
                f"{label}.head:",
                f"%{label}.i = phi i64 [ {low}, %{label}.pre ], [ %{label}.next, %{label}.latch ]",
            ]
            for phi, result, state in zip(phis, results, states):
                for p, r, s in zip(phi, result, state):
                    wide = vector(p.type, width)
                    initial, final = b.spread(s, width), b.spread(r, width)
                    head.append(f"{p.name} = phi {wide} [ {initial}, %{label}.pre ], [ {final}, %{label}.latch ]")
            lines += [
                *head,
                f"%{label}.more = icmp slt i64 %{label}.i, {stop}",
                f"br i1 %{label}.more, label %{label}.body, label %{label}.exit",
                f"{label}.body:",
                *b.code[level],
                *_loop_latch(label, width),
            ]
            low = f"%{label}.i"
            states = phis
            if width > 1:
                b.code[level], b.memo[level] = [], {}
                states = [f.across(b, s) for f, s in zip(folds, states)]
                lines += b.code[level]
        b.code[level], b.memo[level] = [], {}
        del a.loops[loop]
        a.vector_loop, a.width = -1, 1
        return lines, states

    # Instructions.

    def _evaluate(self, stage: Stage) -> list[Val]:
        """Emits a stage's code at the current place; what no loop changes is reused by the next copy."""
        values: list[Val] = []
        for n, inst in enumerate(stage.code):
            v = self.shared.get(n)
            if v is None:
                v = self._instruction(inst, [values[i] for i in inst.args], stage)
                if v.level < self.a.level:
                    self.shared[n] = v
            values.append(v)
        return values

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
            if self.columns:
                return self.folds[k].result(b, self._load_totals(k, self.folds[k]))
            return self.carries[k]
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
        return b.convert("trunc", v, type_) if type_ != "i1" else b.compare("icmp ne", v, b.const("i64", 0))


def _loop_head(label: str, low: str, high: str) -> list[str]:
    return [
        f"br label %{label}.pre",
        f"{label}.pre:",
        f"br label %{label}.head",
        f"{label}.head:",
        f"%{label}.i = phi i64 [ {low}, %{label}.pre ], [ %{label}.next, %{label}.latch ]",
        f"%{label}.more = icmp slt i64 %{label}.i, {high}",
        f"br i1 %{label}.more, label %{label}.body, label %{label}.exit",
        f"{label}.body:",
    ]


def _loop_latch(label: str, step: int) -> list[str]:
    return [
        f"br label %{label}.latch",
        f"{label}.latch:",
        f"%{label}.next = add i64 %{label}.i, {step}",
        f"br label %{label}.head",
        f"{label}.exit:",
    ]


def lanes(kernel: Kernel, target: Target) -> int:
    """Lanes that fill a register with the type most of the arithmetic is done in."""
    computed = [
        REGISTER[i.dtype.name] for s in kernel.stages for i in s.code
        if i.op not in ("loop", "meta", "const", "scalar") and i.dtype.name != "bool"
    ]  # fmt: skip
    floats = [BITS[t] // 8 for t in computed if t in ("float", "double")]
    sizes = floats or [BITS[t] // 8 for t in computed] or [1]
    return max(2, target.vector_bytes // max(sizes))
