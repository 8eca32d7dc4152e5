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
        if whole.code[place].dtype is not item.dtype or whole.code[place].op == "load":
            continue
        earlier = next((b for b in stages if (i, coords) in b.values), None)
        if earlier is None or place not in _needed(whole):
            continue
        access = free.pop(item.dtype)
        earlier.stores.append(form.Store(access, earlier.values[i, coords]))
        whole.code[place] = form.Inst("load", item.dtype, (), access)
    _drop_unused(whole)


def _roots(builder: KernelBuilder) -> list[int]:
    return [i for i in builder.roots if builder.full(i)]


def _needed(build: Build) -> set[int]:
    """The instructions that a stage's stores depend on."""
    found: set[int] = set()
    stack = [s.value for s in build.stores]
    while stack:
        n = stack.pop()
        if n not in found:
            found.add(n)
            stack.extend(build.code[n].args)
    return found


def _drop_unused(build: Build) -> None:
    number: dict[int, int] = {}
    code: list[form.Inst] = []
    for n in sorted(_needed(build)):
        inst = build.code[n]
        number[n] = len(code)
        code.append(
            form.Inst(inst.op, inst.dtype, tuple([number[a] for a in inst.args]), inst.extra)
        )
    build.code = code
    build.stores = [form.Store(s.access, number[s.value]) for s in build.stores]
