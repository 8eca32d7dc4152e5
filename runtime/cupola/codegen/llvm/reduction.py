"""Reduce stages: where accumulators live, and how a reduction is split among threads.

Totals live on the stack: one cell for a row, or one for each column of a strip. A kernel whose only
reduction comes first can be *split*: partial tasks reduce chunks of the first inner loop and leave
their totals in scratch memory, and a finishing task combines them in the order of the chunks.
Chunks do not depend on the number of threads, so neither do results.
"""

from __future__ import annotations

from typing import Protocol

from cupola.codegen.form import Kernel, Stage
from cupola.codegen.llvm import libm
from cupola.codegen.llvm.address import Addresses
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.fold import BLOCK, Fold
from cupola.codegen.llvm.loops import Loops, States, loop_head, loop_latch
from cupola.codegen.llvm.types import BITS, vector

STRIP = 1024  # columns whose accumulators are kept at a time
_LIGHT = 6  # instructions


def can_split(kernel: Kernel) -> bool:
    """Whether the reduction can be split: it comes first, and only epilogues follow."""
    kinds = [s.kind for s in kernel.stages]
    return kinds[:1] == ["reduce"] and set(kinds[1:]) <= {"point"}


def _light(stage: Stage) -> bool:
    """Whether a reduction waits for its accumulator rather than its values, and so is unrolled."""
    return len(stage.code) <= _LIGHT and not any(i.op in libm.NAMES for i in stage.code)


class _Evaluator(Protocol):
    def evaluate(self, stage: Stage, copy: int = 0) -> list[Val]: ...

    def restart(self) -> None: ...


class Reductions:
    """The reductions of one kernel.

    Attributes:
        folds: all reductions so far, numbered as carries are.
        allocas: stack memory that they need.
    """

    def __init__(
        self,
        kernel: Kernel,
        b: Builder,
        a: Addresses,
        loops: Loops,
        axis: int,
        evaluator: _Evaluator,
        split: bool,
    ) -> None:
        self.kernel, self.b, self.a, self.loops, self.axis = kernel, b, a, loops, axis
        self.evaluator = evaluator
        self.columns = 0 <= axis < kernel.outer
        self.inner = [d + kernel.outer for d in range(kernel.inner)]
        self.folds: list[Fold] = []
        self.values: list[Val] = []  # carries, where they are single numbers
        self.allocas: list[str] = []
        self.split = split

    @property
    def parts(self) -> int:
        """Cells of scratch memory that one partial result takes."""
        return sum(len(f.totals) for f in self.folds) if self.split else 0

    def inner_range(self, loop: int, reducing: bool) -> tuple[int, str, str]:
        if reducing and self.split and loop == self.inner[0]:
            return loop, "%t.inner", "%t.inner_end"
        return loop, "0", self.a.meta(loop).name

    def stage(self, stage: Stage) -> list[str]:
        """Code that computes a stage's carries."""
        first = len(self.folds)
        self.folds += [Fold(r, stage.code[r.value].dtype) for r in stage.reduces]
        for k, fold in enumerate(self.folds[first:], first):
            count = STRIP if self.columns else 1
            self.allocas += [
                f"%total{k}.{p} = alloca {t}, i64 {count}, align 64"
                for p, t in enumerate(fold.totals)
            ]
        reduce = self._by_column(stage, first) if self.columns else self._by_lane(stage, first)
        lines = self.b.code[1]
        self.b.code[1] = []
        start = self._clear(first)
        if self.split:
            start, reduce = [], self._either(start, reduce)
        lines = lines + start + reduce
        if not self.columns:
            for k, f in enumerate(self.folds[first:], first):
                self.values.append(f.result(self.b, self._totals(k, f, 1)))
            lines += self.b.code[1]
            self.b.code[1] = []
        return lines

    def _store(self, stage: Stage, values: list[Val]) -> None:
        for store in stage.stores:
            self.a.store(store.access, values[store.value])

    def carry(self, k: int) -> Val:
        """A carry in register form, at the current place."""
        if self.columns:
            return self.folds[k].result(self.b, self._totals(k, self.folds[k], self.a.level))
        return self.values[k]

    # Totals on the stack.

    def _pointer(self, k: int, p: int, type_: str, level: int) -> str:
        if not self.columns:
            return f"%total{k}.{p}"
        b, i = self.b, self.a.lane_index()
        at = b.put(f"sub i64 {i.name}, %s", "i64", 1, level)
        text = f"getelementptr {type_}, ptr %total{k}.{p}, i64 {at.name}"
        return b.put(text, "ptr", 1, level).name

    def _totals(self, k: int, fold: Fold, level: int) -> list[Val]:
        b, width = self.b, self.a.width
        found = []
        for p, t in enumerate(fold.totals):
            at = self._pointer(k, p, t, level)
            text = f"load {vector(t, width)}, ptr {at}, align {BITS[t] // 8}"
            found.append(b.put(text, t, width, level, once=False))
        return found

    def _save(self, k: int, state: list[Val], level: int) -> None:
        b, width = self.b, self.a.width
        for p, v in enumerate(state):
            at = self._pointer(k, p, v.type, level)
            value = f"{vector(v.type, width)} {b.spread(v, width)}"
            b.line(level, f"store {value}, ptr {at}, align {BITS[v.type] // 8}")

    def _over_columns(self, level: int, emit: object, scalar: bool = False) -> list[str]:
        """Runs ``emit(level)`` for each column of the strip, or once where there are no columns."""
        assert callable(emit)
        if self.columns:

            def each(_: States) -> States:
                emit(level)
                return []

            return self.loops.run(level, self.axis, "%s", "%s.end", each, [], scalar=scalar)[0]
        self.b.code[level], self.b.memo[level] = [], {}
        emit(level)
        lines = self.b.code[level]
        self.b.code[level], self.b.memo[level] = [], {}
        return lines

    def _clear(self, first: int) -> list[str]:
        def emit(level: int) -> None:
            for k, f in enumerate(self.folds[first:], first):
                state = [self.b.const(t, v) for t, v in zip(f.totals, f.identity())]
                self._save(k, state, level)

        return self._over_columns(2, emit)

    # The reduction itself.

    def _by_lane(self, stage: Stage, first: int) -> list[str]:
        b, folds, last = self.b, self.folds[first:], self.inner[-1]
        unroll = 1
        if _light(stage) and not any(f.arg for f in folds):
            unroll = 4 if all(f.blocked for f in folds) else 2

        def step(states: States) -> States:
            values = self.evaluator.evaluate(stage)
            self._store(stage, values)
            return [
                f.step(b, s, values[r.value], values[r.index] if f.arg else None)
                for f, s, r in zip(folds, states, stage.reduces)
            ]

        def run(level: int, low: str, high: str) -> list[str]:
            lines, states = self.loops.run(level, last, low, high, step, folds, unroll)
            for k, (f, s) in enumerate(zip(folds, states), first):
                self._save(k, f.merge(b, self._totals(k, f, level), s), level)
            lines += b.code[level]
            b.code[level], b.memo[level] = [], {}
            return lines

        def blocks(level: int) -> list[str]:
            _, low, high = self.inner_range(last, True)
            if not any(f.blocked for f in folds):
                return run(level, low, high)
            label, block = b.fresh("block"), BLOCK * unroll
            return [
                *loop_head(label, low, high),
                f"%{label}.full = add i64 %{label}.i, {block}",
                f"%{label}.fits = icmp slt i64 %{label}.full, {high}",
                f"%{label}.end = select i1 %{label}.fits, i64 %{label}.full, i64 {high}",
                *run(level, f"%{label}.i", f"%{label}.end"),
                *loop_latch(label, block),
            ]

        around = [self.inner_range(d, True) for d in self.inner[:-1]]
        return self.loops.nested(around, 2, blocks)

    def _by_column(self, stage: Stage, first: int) -> list[str]:
        b, folds = self.b, self.folds[first:]
        last, low, high = self.inner_range(self.inner[-1], True)
        # Several rows at a time, so that float sums go through their double totals less often.
        copies = 4 if _light(stage) and all(f.blocked for f in folds) else 1

        def fold(level: int, label: str, count: int) -> None:
            parts: list[list[Val] | None] = [None] * len(folds)
            for c in range(count):
                index = Val(f"%{label}.i", "i64", 1, level - 1)
                self.a.loops[last] = b.add(index, b.const("i64", c))
                values = self.evaluator.evaluate(stage, c)
                self._store(stage, values)
                for n, (f, r) in enumerate(zip(folds, stage.reduces)):
                    value, before = values[r.value], parts[n]
                    if f.blocked:
                        state = [f.prepare(b, value)]
                        parts[n] = state if before is None else f.join(b, before, state)
                    else:
                        before = self._totals(first + n, f, level) if before is None else before
                        parts[n] = f.step(b, before, value, values[r.index] if f.arg else None)
            for n, (f, part) in enumerate(zip(folds, parts)):
                assert part is not None
                if f.blocked:
                    part = f.merge(b, self._totals(first + n, f, level), part)
                self._save(first + n, part, level)

        def inside(level: int) -> list[str]:
            lines, start = [], low
            for count in (copies, 1) if copies > 1 else (1,):
                label = b.fresh("rows")
                self.evaluator.restart()
                body = self._over_columns(
                    level + 1, lambda deep, n=count, name=label: fold(deep, name, n)
                )
                stop = high
                if count > 1:
                    stop = f"%{label}.stop"
                    lines.append(f"{stop} = sub i64 {high}, {count - 1}")
                lines += (
                    loop_head(label, start, stop) + b.code[level] + body + loop_latch(label, count)
                )
                b.code[level], b.memo[level] = [], {}
                start = f"%{label}.i"
            del self.a.loops[last]
            return lines

        around = [self.inner_range(d, True) for d in self.inner[:-1]]
        return self.loops.nested(around, 2, inside)

    # Splitting.

    def _cell(self, chunk: str, k: int, p: int, level: int) -> str:
        """Where scratch memory holds component ``p`` of reduction ``k`` for the current row and
        column.
        """
        b = self.b
        number = sum(len(f.totals) for f in self.folds[:k]) + p
        row = Val("%r", "i64", 1, 1)
        if self.columns:
            row = b.add(b.mul(row, self.a.meta(self.axis)), self.a.lane_index())
        part = b.mul(Val(chunk, "i64", 1, level), b.const("i64", self.parts))
        part = b.mul(b.add(part, b.const("i64", number)), Val("%t.cells", "i64"))
        at = b.add(part, row)
        return b.put(f"getelementptr i64, ptr %scratch, i64 {at.name}", "ptr", 1, level).name

    def _either(self, clear: list[str], reduce: list[str]) -> list[str]:
        b = self.b
        leave = "strip.latch" if self.columns else "row.latch"

        def keep(level: int) -> None:
            for k, f in enumerate(self.folds):
                for p, v in enumerate(self._totals(k, f, level)):
                    at = self._cell("%t.slot", k, p, level)
                    b.line(level, f"store {v.type} {v.name}, ptr {at}, align 8")

        def combine(level: int) -> None:
            for k, f in enumerate(self.folds):
                part = []
                for p, t in enumerate(f.totals):
                    at = self._cell("%chunk.i", k, p, level)
                    part.append(b.put(f"load {t}, ptr {at}, align 8", t, 1, level, once=False))
                self._save(k, f.join(b, self._totals(k, f, level), part), level)

        kept = self._over_columns(2, keep, scalar=True)
        combined = self._over_columns(2, combine, scalar=True)
        before = b.code[1]
        b.code[1] = []
        return [
            *before,
            *clear,
            "%t.finish = icmp eq i64 %t.mode, 2",
            "br i1 %t.finish, label %split.finish, label %split.reduce",
            "split.reduce:",
            *reduce,
            "%t.partial = icmp eq i64 %t.mode, 1",
            "br i1 %t.partial, label %split.keep, label %split.done",
            "split.keep:",
            *kept,
            f"br label %{leave}",
            "split.finish:",
            *loop_head("chunk", "0", "%t.slot"),
            *combined,
            *loop_latch("chunk", 1),
            "br label %split.done",
            "split.done:",
        ]
