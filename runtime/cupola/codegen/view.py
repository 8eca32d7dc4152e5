"""Stored items that are only another look at a stored array."""

from __future__ import annotations

from cupola.codegen.loops import Loops
from cupola.ir.affine import Coords, NotAffine, Split, zero
from cupola.ir.movement import pull
from cupola.ir.program import Item, Program, StridedView, strides_of
from cupola.ir.strides import viewed


def view(program: Program, i: int, stored: frozenset[int]) -> StridedView | None:
    """Item ``i`` as strides over a stored array, if movement alone leads there; None if it has to
    be copied.
    """
    if i in program.copied:
        return None
    key = (i, stored)
    if key not in program.views:
        program.views[key] = _view(program, i, stored)
    found: StridedView | None = program.views[key]
    return found


def _view(program: Program, i: int, stored: frozenset[int]) -> StridedView | None:
    items = program.items
    loops = Loops(items[i].shape, ())
    coords: Coords = tuple(loops.coords())
    j = i
    offset = 0
    strides: tuple[int, ...] = ()
    try:
        while True:
            item = items[j]
            if item.op.kind != "movement":
                return None
            src = item.srcs[0]
            coords, guards = pull(
                item.op.name, dict(item.attrs), coords, item.shape, items[src].shape, loops.sizes
            )
            if guards:
                return None
            j = src
            if j in stored:
                through = view(program, j, stored) if items[j].op.kind == "movement" else None
                if through is not None:
                    j, offset, strides = through
                else:
                    strides = array_strides(items[j])
                break
    except (Split, NotAffine):
        return _in_another_shape(program, i, stored)
    address = zero(len(loops.sizes))
    for c, s in zip(coords, strides, strict=True):
        address = address.plus(c.scaled(s))
    return StridedView(j, address.const + offset, address.coefs)


def _in_another_shape(program: Program, i: int, stored: frozenset[int]) -> StridedView | None:
    """A reshape whose loops do not fit its operand's, over memory that does."""
    items = program.items
    item, src = items[i], items[i].srcs[0]
    if item.op.name != "reshape" or 0 in item.shape:
        return None
    inner = view(program, src, stored) if items[src].op.kind == "movement" else None
    if inner is None:
        if src not in stored:
            return None
        inner = StridedView(src, 0, array_strides(items[src]))
    strides = viewed(items[src].shape, inner.strides, item.shape)
    return None if strides is None else StridedView(inner.base, inner.offset, strides)


def array_strides(item: Item) -> tuple[int, ...]:
    """Strides, in elements, of the array that holds a stored item."""
    strides = item.attr("strides") if item.op.name == "buffer" else None
    return strides_of(item.shape) if strides is None else strides
