"""Joining a few arrays as a sum of padded parts, which is one generated kernel.

Libraries join by one strided copy a part; a kernel writes the result in one pass, and what follows
or precedes it element by element joins that pass.
"""

from __future__ import annotations

from cupola.ir.program import Item, Program, is_generated
from cupola.schedule.rewrite import Rewrite

# More parts than this cost more comparisons an element than copies cost passes.
_PARTS = 4


def _suits(item: Item) -> bool:
    return (
        item.op.name == "cat"
        and 2 <= len(item.srcs) <= _PARTS
        and is_generated(item.dtype)
        and 0 not in item.shape
    )


def select_parts(program: Program) -> tuple[Program, list[int]]:
    """Writes ``cat`` of a few parts as a sum of padded parts."""
    if not any(_suits(item) for item in program.items):
        return program, list(range(len(program.items)))
    out = Rewrite(program)
    for i, item in enumerate(program.items):
        if _suits(item) and all(
            program.items[s].dtype is item.dtype and 0 not in program.items[s].shape
            for s in item.srcs
        ):
            out.place[i] = _select(out, item)
        else:
            out.keep(i)
    return out.done()


def _select(out: Rewrite, item: Item) -> int:
    """The sum of the parts, each padded with the neutral element: -0.0, for 0.0 + -0.0 is 0.0."""
    dim, shape, dtype = item.attr("dim"), item.shape, item.dtype
    join = "logical_or" if dtype.category == 0 else "add"
    neutral = -0.0 if dtype.is_floating_point else 0
    start, result = 0, -1
    for old in item.srcs:
        part = out.place[old]
        rest = shape[dim] - start - out.items[part].shape[dim]
        pairs = tuple((start, rest) if d == dim else (0, 0) for d in range(len(shape)))
        whole = out.add("pad", (part,), shape, dtype, pairs=pairs, value=neutral)
        result = whole if result < 0 else out.add(join, (result, whole), shape, dtype)
        start += out.items[part].shape[dim]
    return result
