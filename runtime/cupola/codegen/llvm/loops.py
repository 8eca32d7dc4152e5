"""Counted loops around code, and the innermost loop with its vector and scalar parts."""

from __future__ import annotations

from collections.abc import Callable

from cupola.codegen.llvm.address import Addresses
from cupola.codegen.llvm.builder import Builder, Val
from cupola.codegen.llvm.fold import Fold
from cupola.codegen.llvm.types import vector

States = list[list[Val]]  # accumulators: for each reduction, its components
Emit = Callable[[States], States]


def loop_head(label: str, low: str, high: str, phis: list[str] | None = None) -> list[str]:
    return [
        f"br label %{label}.pre",
        f"{label}.pre:",
        f"br label %{label}.head",
        f"{label}.head:",
        f"%{label}.i = phi i64 [ {low}, %{label}.pre ], [ %{label}.next, %{label}.latch ]",
        *(phis or []),
        f"%{label}.more = icmp slt i64 %{label}.i, {high}",
        f"br i1 %{label}.more, label %{label}.body, label %{label}.exit",
        f"{label}.body:",
    ]


def loop_latch(label: str, step: int) -> list[str]:
    return [
        f"br label %{label}.latch",
        f"{label}.latch:",
        f"%{label}.next = add i64 %{label}.i, {step}",
        f"br label %{label}.head",
        f"{label}.exit:",
    ]


class Loops:
    """Writes loops; ``width`` is the number of lanes of vector code."""

    def __init__(self, b: Builder, a: Addresses, width: int) -> None:
        self.b = b
        self.a = a
        self.width = width

    def nested(
        self, loops: list[tuple[int, str, str]], level: int, inside: Callable[[int], list[str]]
    ) -> list[str]:
        """Loops (number, low, high) around what ``inside`` writes at the level that it is given."""
        if not loops:
            return inside(level)
        b, label = self.b, self.b.fresh("loop")
        (loop, low, high), *rest = loops
        self.a.loops[loop] = Val(f"%{label}.i", "i64", 1, level)
        body = self.nested(rest, level + 1, inside)
        del self.a.loops[loop]
        lines = loop_head(label, low, high) + b.code[level] + body + loop_latch(label, 1)
        b.code[level], b.memo[level] = [], {}
        return lines

    def run(
        self, level: int, loop: int, low: str, high: str, emit: Emit, folds: list[Fold],
        unroll: int = 1, scalar: bool = False,
    ) -> tuple[list[str], States]:  # fmt: skip
        """The innermost loop: whole vectors (several at a time if ``unroll``), then the rest one by
        one.

        Returns also the accumulators at its end.
        """
        b, a = self.b, self.a
        a.vector_loop, a.level = loop, level
        state: States = [[b.const(t, v) for t, v in zip(f.parts, f.identity())] for f in folds]
        lines: list[str] = []
        parts = [(1, 1)]
        if self.width > 1 and not scalar:
            parts.insert(0, (self.width, 1))
            if unroll > 1:
                parts.insert(0, (self.width, unroll))
        for width, copies in parts:
            label, step = b.fresh("run"), width * copies
            a.width = width
            index = Val(f"%{label}.i", "i64", 1, level)
            first, results = _accumulators(b, label, folds, state, width, copies, level)
            b.code[level], b.memo[level] = [], {}
            ends = []
            for k in range(copies):
                a.loops[loop] = b.add(index, b.const("i64", k * width))
                ends.append(emit(results[k]))
            phis = _phis(label, first, results, ends, b, width)
            if step > 1:
                lines.append(f"%{label}.stop = sub i64 {high}, {step - 1}")
            stop = f"%{label}.stop" if step > 1 else high
            lines += loop_head(label, low, stop, phis) + b.code[level] + loop_latch(label, step)
            b.code[level], b.memo[level] = [], {}
            state = results[0]
            for other in results[1:]:
                state = [f.join(b, s, o) for f, s, o in zip(folds, state, other)]
            if width > 1 and copies == 1:
                state = [f.across(b, s) for f, s in zip(folds, state)]
            lines += b.code[level]
            low = f"%{label}.i"
        b.code[level], b.memo[level] = [], {}
        del a.loops[loop]
        a.vector_loop, a.width = -1, 1
        return lines, state


def _accumulators(
    b: Builder, label: str, folds: list[Fold], state: States, width: int, copies: int, level: int
) -> tuple[list[States], list[States]]:
    """Initial values and phi names, for each copy. Only the first copy goes on from what came
    before.
    """
    first, names = [], []
    for k in range(copies):
        fresh: States = [[b.const(t, v) for t, v in zip(f.parts, f.identity())] for f in folds]
        first.append(state if k == 0 else fresh)
        names.append(
            [
                [Val(f"%{label}.{k}.{r}.{p}", t, width, level) for p, t in enumerate(f.parts)]
                for r, f in enumerate(folds)
            ]
        )
    return first, names


def _phis(
    label: str, first: list[States], names: list[States], ends: list[States], b: Builder, width: int
) -> list[str]:
    lines = []
    for starts, phis, finals in zip(first, names, ends):
        for start, phi, final in zip(starts, phis, finals):
            for s, p, e in zip(start, phi, final):
                before, after = b.spread(s, width), b.spread(e, width)
                lines.append(
                    f"{p.name} = phi {vector(p.type, width)} "
                    f"[ {before}, %{label}.pre ], [ {after}, %{label}.latch ]"
                )
    return lines
