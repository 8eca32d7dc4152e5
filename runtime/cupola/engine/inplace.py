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
    for step in plan.steps:
        kind = step[0]
        lows: tuple[Lowered, ...] = ()
        if kind == "kernel":
            lows = (step[1],)
        elif kind == "kernels":
            lows = step[1]
        elif kind == "view":
            if old in (step[1], step[2].base) or new == step[1]:
                return False
            continue
        elif kind == "call":
            if step[1] == new or made and old in items[step[1]].srcs:
                return False
            continue
        elif kind in ("contiguous", "fill"):
            if step[1] in (old, new):
                return False
            continue
        maker = next((low for low in lows if new in low.outputs), None)
        if any(old in low.inputs for low in lows if low is not maker) and (made or maker):
            return False
        if maker is not None:
            made = True
            if not _same_place(maker, old, new):
                return False
        elif made and any(old in low.inputs for low in lows):
            return False
    return made


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
