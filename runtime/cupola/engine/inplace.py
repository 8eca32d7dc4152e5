"""Whether a new value may be written over the one that it replaces."""

from __future__ import annotations

from typing import Any

from cupola.codegen.form import Kernel, meta_layout
from cupola.ir.program import Lowered, Plan


def in_place(plan: Plan, old: int, new: int) -> bool:
    """Whether item ``new`` can be computed into the array of item ``old``, of equal shape.

    So it is if one kernel without reductions makes it, that kernel reads of ``old`` no element but
    the one that it is about to write, and nothing later reads ``old``.
    """
    items = plan.program.items
    if items[old].shape != items[new].shape or items[old].dtype is not items[new].dtype:
        return False
    made = False
    names = {old}  # the item and the views of it
    for step in plan.steps:
        kind = step[0]
        lows: tuple[Lowered, ...] = ()
        if kind in ("kernel", "kernels"):
            lows = (step[1],) if kind == "kernel" else step[1]
        elif kind == "view":
            if new in (step[1], step[2].base) or made and step[2].base in names:
                return False
            if step[2].base in names:
                names.add(step[1])
            continue
        elif kind == "call":
            if step[1] == new or made and not names.isdisjoint(items[step[1]].srcs):
                return False
            continue
        elif kind in ("contiguous", "fill"):
            if step[1] in (old, new):
                return False
            continue
        maker = next((low for low in lows if new in low.outputs), None)
        others = {i for low in lows if low is not maker for i in low.inputs}
        if (made or maker) and not names.isdisjoint(others):
            return False
        if maker is not None:
            made = True
            if not names.isdisjoint(set(maker.inputs) - {old}) or not _same_place(maker, old, new):
                return False
    return made and not names & plan.program.wanted


def _same_place(low: Lowered, old: int, new: int) -> bool:
    """Whether the kernel reads ``old`` only where it writes ``new`` in the same iteration."""
    kernel: Kernel = low.kernel
    if kernel.inner or low.inputs.count(old) > 1:
        return False
    if old not in low.inputs:
        return True
    source = low.inputs.index(old)
    target = len(low.inputs) + low.outputs.index(new)
    places = {
        _address(kernel, low.meta, k)
        for k, access in enumerate(kernel.accesses)
        if access.buffer in (source, target)
    }
    guarded = any(a.guards or a.indirect for a in kernel.accesses if a.buffer == source)
    return len(places) == 1 and not guarded


def _address(kernel: Kernel, meta: tuple[int, ...], k: int) -> Any:
    place = meta_layout(kernel).accesses[k]
    static = kernel.accesses[k].address.strides
    strides = (s if p < 0 else meta[p] for s, p in zip(static, place.strides, strict=True))
    return (meta[place.const], *strides)
