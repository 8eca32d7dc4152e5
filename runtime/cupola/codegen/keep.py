"""Keeping what is dear in a result's own memory, from a reduction's stage to the stage after it.

A softmax needs each exponential twice: for the sum, and divided by it. On a CPU a row stays in the
cache between the two, and the result's row is not written yet: the exponentials wait there. On a
GPU the arithmetic is cheaper than the traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cupola.codegen import form

if TYPE_CHECKING:
    from cupola.codegen.lower import Build, KernelBuilder

# An operation is worth a store and a load where it costs as many machine operations.
DEAR = 10


def keep(builder: KernelBuilder, stages: list[Build], whole: Build) -> None:
    """Where the last stage repeats a dear operation of an earlier one: stores it, then loads it."""
    if builder.program.device_type != "cpu":
        return
    items = builder.program.items
    free = {items[i].dtype: s.access for i, s in zip(_roots(builder), whole.stores, strict=True)}
    for (i, coords), place in sorted(whole.values.items(), key=lambda found: -found[1]):
        item = items[i]
        if item.op.kind != "elementwise" or item.op.cost < DEAR or item.dtype not in free:
            continue
        if not any(any(c.coefs[builder.rows :]) for c in coords):
            continue  # one a row
        if whole.code[place].dtype is not item.dtype or whole.code[place].op == "load":
            continue
        first, *later = [b for b in stages if (i, coords) in b.values] or [whole]
        if first is whole or place not in _needed(whole):
            continue
        access = free.pop(item.dtype)
        first.stores.append(form.Store(access, first.values[i, coords]))
        for build in (*later, whole):
            at = build.values[i, coords]
            if build.code[at].dtype is item.dtype:
                build.code[at] = form.Inst("load", item.dtype, (), access)
    for build in (*stages, whole):
        _drop_unused(build)


def _roots(builder: KernelBuilder) -> list[int]:
    return [i for i in builder.roots if builder.full(i)]


def _needed(build: Build) -> set[int]:
    """The instructions that a stage's results depend on."""
    found: set[int] = set()
    stack = [s.value for s in build.stores]
    stack += [n for r in build.reduces for n in (r.value, r.index) if n >= 0]
    while stack:
        n = stack.pop()
        if n not in found:
            found.add(n)
            stack.extend(build.code[n].args)
    return found


def _drop_unused(build: Build) -> None:
    number = {-1: -1}
    code: list[form.Inst] = []
    for n in sorted(_needed(build)):
        inst = build.code[n]
        number[n] = len(code)
        args = tuple([number[a] for a in inst.args])
        code.append(form.Inst(inst.op, inst.dtype, args, inst.extra))
    build.code = code
    build.stores = [form.Store(s.access, number[s.value]) for s in build.stores]
    build.reduces = [form.Reduce(r.op, number[r.value], number[r.index]) for r in build.reduces]
