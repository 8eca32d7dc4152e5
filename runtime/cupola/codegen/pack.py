"""Packing: merges loops, sorts strides into classes and numbers into the meta array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cupola.codegen import form
from cupola.ir.affine import Affine
from cupola.ir.program import Lowered

if TYPE_CHECKING:
    from cupola.codegen.loops import Loops
    from cupola.codegen.lower import KernelBuilder


def _merge(
    sizes: list[int], split: int, affines: list[Affine], pinned: set[int]
) -> tuple[list[list[int]], int]:
    """Groups adjacent loops that every index treats as one; drops loops of size 1.

    Returns the groups (lists of loop numbers, major first) and how many of them are outer.
    ``pinned`` loops are read
    by number and stay alone.
    """
    groups: list[list[int]] = []
    outer = 0
    for loop, size in enumerate(sizes):
        if loop == split:
            outer = len(groups)
        if size == 1 and loop not in pinned:
            continue
        fresh = not groups or loop == split or (loop > split and len(groups) == outer)
        if not fresh and loop not in pinned and not pinned.intersection(groups[-1]):
            last = groups[-1][-1]
            if all(a.coefs[last] == a.coefs[loop] * size for a in affines):
                groups[-1].append(loop)
                continue
        groups.append([loop])
    if split >= len(sizes):
        outer = len(groups)
    return groups, outer


def _class(coef: int) -> form.Stride:
    return coef if coef in (0, 1) else None


def pack(builder: KernelBuilder, loops: Loops, stages: tuple[form.Stage, ...]) -> Lowered:
    """Finishes a kernel: see the module's title."""
    sizes = list(loops.sizes)
    split = loops.outer_count
    affines: list[Affine] = []
    for access in builder.accesses:
        affines.append(access.address)
        affines.extend(a for a, _ in access.guards)
    pinned = {int(inst.extra or 0) for stage in stages for inst in stage.code if inst.op == "loop"}
    groups, outer = _merge(sizes, split, affines, pinned)
    if outer == 0:  # a scalar result still has one outer iteration
        groups.insert(0, [])
        outer = 1
    if len(groups) == outer and any(s.kind == "reduce" for s in stages):
        groups.append([])
    renumber = {g[0]: k for k, g in enumerate(groups) if g}

    def reduced(a: Affine) -> list[int]:
        return [a.coefs[g[-1]] if g else 0 for g in groups]

    def merged(g: list[int]) -> int:
        out = 1
        for loop in g:
            out *= sizes[loop]
        return out

    stages = tuple(
        form.Stage(
            s.kind,
            tuple(
                form.Inst(i.op, i.dtype, i.args, renumber[int(i.extra or 0)])
                if i.op == "loop"
                else i
                for i in s.code
            ),
            s.reduces,
            s.stores,
        )
        for s in stages
    )
    items = builder.program.items
    inputs: list[int] = []
    for access in builder.accesses:
        if access.item >= 0 and access.item not in inputs:
            inputs.append(access.item)
    buffers = tuple(items[i].dtype for i in (*inputs, *builder.roots))
    meta: list[int] = [merged(g) for g in groups]
    accesses = []
    for access in builder.accesses:
        number = len(inputs) - 1 - access.item if access.item < 0 else inputs.index(access.item)
        steps = reduced(access.address)
        meta.append(access.address.const)
        meta.extend(s for s in steps if _class(s) is None)
        guards = []
        for affine, bound in access.guards:
            gsteps = reduced(affine)
            meta.extend((affine.const, bound))
            meta.extend(s for s in gsteps if _class(s) is None)
            guards.append(form.Affine(tuple(map(_class, gsteps))))
        accesses.append(
            form.Access(number, form.Affine(tuple(map(_class, steps))), tuple(guards), access.fill)
        )
    integers: list[Any] = builder.integers
    meta.extend(integers)
    kernel = form.Kernel(
        outer=outer,
        inner=len(groups) - outer,
        buffers=buffers,
        scalars=builder.number_types(),
        integers=len(integers),
        accesses=tuple(accesses),
        stages=stages,
        name=f"fused_{items[builder.roots[-1]].op.name}",  # never the name of a C function
    )
    alike = None
    if form.is_flat(kernel) and not any(meta[1:]):
        alike = (kernel, form.negative_zeros(kernel))
    return Lowered(kernel, tuple(inputs), builder.roots, tuple(meta), tuple(builder.scalars), alike)
