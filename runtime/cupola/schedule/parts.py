"""Joining a few arrays as a choice among index maps, which is one generated kernel.

Libraries join by one strided copy a part; a kernel writes the result in one pass, and what follows
or precedes it element by element joins that pass.
"""

from __future__ import annotations

from cupola.dtypes import bool as boolean
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
    """Writes ``cat`` of a few parts as ``where`` over padded parts."""
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
    dim, shape, dtype = item.attr("dim"), item.shape, item.dtype
    total = shape[dim]
    end = total
    result = -1
    for old in reversed(item.srcs):
        part = out.place[old]
        start = end - out.items[part].shape[dim]
        pairs = tuple(
            (start, total - end) if d == dim else (0, 0) for d in range(len(shape))
        )
        whole = out.add("pad", (part,), shape, dtype, pairs=pairs, value=0)
        if result < 0:
            result = whole
        else:
            # True in front of the part's end: a padded constant, which costs no memory.
            front = tuple(end if d == dim else n for d, n in enumerate(shape))
            true = out.add("const", (), front, boolean, value=True)
            pairs = tuple((0, total - end) if d == dim else (0, 0) for d in range(len(shape)))
            inside = out.add("pad", (true,), shape, boolean, pairs=pairs, value=0)
            result = out.add("where", (inside, whole, result), shape, dtype)
        end = start
    return result
