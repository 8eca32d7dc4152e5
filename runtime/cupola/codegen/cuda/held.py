"""Values that a thread keeps in registers from one stage of a row to the next.

Stages that walk over the same row often need the same values: softmax reads its scores for the
maximum, for the sum and for the result. Where a thread's share of a row is a few vectors, what one
stage has loaded or computed is kept for those that follow.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from cupola.codegen.form import Kernel, Stage
from cupola.dtypes import dtype

_FREE = ("const", "scalar", "meta", "loop", "carry")


@dataclass(frozen=True)
class Held:
    """What is kept.

    Attributes:
        types: of each kept value.
        saves: for each stage, (instruction, kept value) computed there.
        reads: for each stage, (instruction, kept value) that is not computed again.
        needed: for each stage, the instructions that are left to do, the reads included.
    """

    types: tuple[dtype, ...]
    saves: tuple[tuple[tuple[int, int], ...], ...]
    reads: tuple[tuple[tuple[int, int], ...], ...]
    needed: tuple[frozenset[int], ...]


@lru_cache(maxsize=4096)
def held(kernel: Kernel) -> Held | None:
    """What the stages of a kernel can hand on, or None: nothing."""
    if any(r.op in ("argmax", "argmin") for s in kernel.stages for r in s.reduces):
        return None
    written = {kernel.accesses[s.access].buffer for g in kernel.stages for s in g.stores}
    names: dict[Hashable, int] = {}
    made: dict[int, tuple[int, int]] = {}  # by name: stage and instruction
    slots: dict[int, int] = {}
    types: list[dtype] = []
    saves: list[list[tuple[int, int]]] = [[] for _ in kernel.stages]
    reads: list[list[tuple[int, int]]] = [[] for _ in kernel.stages]
    needed: list[frozenset[int]] = []
    for n, stage in enumerate(kernel.stages):
        if stage.kind == "point":
            needed.append(frozenset(range(len(stage.code))))
            continue
        name = _names(stage, names)
        wanted: set[int] = set()
        rest = [r.value for r in stage.reduces] + [s.value for s in stage.stores]
        while rest:
            i = rest.pop()
            if i in wanted:
                continue
            wanted.add(i)
            found = made.get(name[i])
            if found is None or found[0] == n:
                rest.extend(stage.code[i].args)
                if _keeps(kernel, stage, i, written):
                    made.setdefault(name[i], (n, i))
                continue
            slot = slots.get(name[i])
            if slot is None:
                slot = slots[name[i]] = len(types)
                types.append(stage.code[i].dtype)
                saves[found[0]].append((found[1], slot))
            reads[n].append((i, slot))
        needed.append(frozenset(wanted))
    if not types:
        return None
    return Held(tuple(types), _frozen(saves), _frozen(reads), tuple(needed))


def _frozen(lists: list[list[tuple[int, int]]]) -> tuple[tuple[tuple[int, int], ...], ...]:
    return tuple(tuple(pairs) for pairs in lists)


def _names(stage: Stage, names: dict[Hashable, int]) -> list[int]:
    """A number for each instruction; equal ones, in any stage, have the same."""
    out: list[int] = []
    for inst in stage.code:
        key = (inst.op, inst.dtype.name, repr(inst.extra), tuple(out[a] for a in inst.args))
        out.append(names.setdefault(key, len(names)))
    return out


def _keeps(kernel: Kernel, stage: Stage, i: int, written: set[int]) -> bool:
    """Whether the value stays the same until a later stage, and is worth a register."""
    inst = stage.code[i]
    if inst.op in _FREE:
        return False
    rest = [i]
    while rest:
        inst = stage.code[rest.pop()]
        if inst.op == "load" and kernel.accesses[int(inst.extra or 0)].buffer in written:
            return False
        rest.extend(inst.args)
    return True
