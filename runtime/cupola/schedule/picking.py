"""One element picked from each row of a computed array: the operands are picked from instead.

The likelihood of a class is one of all the logarithms of a softmax. Gathered from them they would
all have to be stored; gathered from what they are computed from, none of them is. Products are not
passed: a compiler may join one with a following sum, here but not where the array is computed, and
an element would differ from itself in the last bit.
"""

from __future__ import annotations

from cupola.ir.program import Item, Program
from cupola.schedule.rewrite import Rewrite

_DEPTH = 12  # operators that a pick passes at most
_PICKS = 2  # arrays that are picked from instead of one
_VIEWS = ("reshape", "permute", "slice")


def pick_early(program: Program) -> tuple[Program, list[int]]:
    """Moves gathers of one element a row in front of the elementwise operators that they follow."""
    found = {i: work for i, item in enumerate(program.items) if (work := _planned(program, i))}
    if not found:
        return program, list(range(len(program.items)))
    out = Rewrite(program)
    for i in range(len(program.items)):
        if i in found:
            item = program.items[i]
            index = out.place[item.srcs[1]]
            out.place[i] = _picked(out, item.srcs[0], index, item.attr("dim"), found[i])
        else:
            out.keep(i)
    return out.done()


def _planned(program: Program, i: int) -> dict[int, str]:
    """What becomes of each item that the pick passes: ``apply``, ``pick`` or ``first``; or none.

    ``first``: the item is the same along the row, so that any element of the row will do.
    """
    item = program.items[i]
    if item.op.name != "gather":
        return {}
    dim, items = item.attr("dim"), program.items
    source = items[item.srcs[0]].shape
    rows = (*source[:dim], 1, *source[dim + 1 :])
    if item.shape != rows or source[dim] < 2 or not _passes(program, item.srcs[0]):
        return {}
    work: dict[int, str] = {}
    stack = [(item.srcs[0], 0)]
    while stack:
        j, depth = stack.pop()
        if j in work:
            continue
        if _same_along(items, j, dim):
            work[j] = "first"
        elif _passes(program, j) and depth < _DEPTH:
            work[j] = "apply"
            stack.extend((s, depth + 1) for s in items[j].srcs)
        elif _base(items, j) is not None:
            work[j] = "pick"
        else:
            return {}
    picks = sum(kind == "pick" for kind in work.values())
    return work if 1 <= picks <= _PICKS else {}


def _passes(program: Program, j: int) -> bool:
    item = program.items[j]
    pointwise = item.op.kind == "elementwise" and item.op.lower is not None
    return pointwise and item.op.name != "mul" and j not in program.wanted


def _same_along(items: list[Item], j: int, dim: int) -> bool:
    item = items[j]
    if item.op.name == "expand":
        return bool(items[item.srcs[0]].shape[dim] == 1)
    return item.op.name == "const"


def _base(items: list[Item], j: int) -> tuple[int, list[int]] | None:
    """What lies in memory anyway, and the views and casts in front of it, innermost first."""
    path = []
    while items[j].op.name in (*_VIEWS, "cast"):
        path.append(j)
        j = items[j].srcs[0]
    stored = items[j].op.name in ("buffer", "item") or items[j].op.kind in ("library", "reduce")
    return (j, path[::-1]) if stored else None


def _picked(out: Rewrite, j: int, index: int, dim: int, work: dict[int, str]) -> int:
    """The picked elements of old item ``j``."""
    made: dict[int, int] = {}
    stack = [j]
    while stack:
        at = stack[-1]
        item = out.old.items[at]
        waiting = [s for s in item.srcs if s not in made] if work[at] == "apply" else []
        if waiting:
            stack += waiting
            continue
        stack.pop()
        shape = (*item.shape[:dim], 1, *item.shape[dim + 1 :])
        if work[at] == "apply":
            srcs = tuple(made[s] for s in item.srcs)
            made[at] = out.add(item.op.name, srcs, shape, item.dtype, **dict(item.attrs))
        elif work[at] == "pick":
            made[at] = _from_memory(out, at, index, shape, dim)
        else:
            starts, steps = (0,) * len(shape), (1,) * len(shape)
            made[at] = out.add(
                "slice",
                (out.place[at],),
                shape,
                item.dtype,
                starts=starts,
                stops=shape,
                steps=steps,
            )
    return made[j]


def _from_memory(out: Rewrite, j: int, index: int, shape: tuple[int, ...], dim: int) -> int:
    """Elements of old item ``j`` picked from what lies in memory; cast afterwards."""
    found = _base(out.old.items, j)
    assert found is not None
    base, path = found
    here, dtype = out.place[base], out.old.items[base].dtype
    steps = [out.old.items[k] for k in path]
    for item in steps:
        if item.op.name != "cast":
            here = out.add(item.op.name, (here,), item.shape, dtype, **dict(item.attrs))
    here = out.add("gather", (here, index), shape, dtype, dim=dim)
    for item in steps:
        if item.op.name == "cast":
            here = out.add("cast", (here,), shape, item.dtype, **dict(item.attrs))
    return here
