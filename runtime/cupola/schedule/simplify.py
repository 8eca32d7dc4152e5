"""Passes that shorten a program without changing its values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cupola.ir.program import Item, Program
from cupola.schedule.epilogue import fuse_epilogues
from cupola.schedule.layout import channels_last
from cupola.schedule.parts import select_parts
from cupola.schedule.picking import pick_early
from cupola.schedule.pooling import pool_by_maximum, put_in_blocks


def resolve_aliases(program: Program) -> tuple[Program, list[int]]:
    """Removes aliases (leaf, detach) and equal items; returns where each old item's value is now
    found.

    Two items are equal if they apply one primitive with equal attributes to equal operands.
    Constants whose
    numbers are not part of the program are equal only to themselves.
    """
    items: list[Item] = []
    place: list[int] = []
    known: dict[Item, int] = {}
    for i, item in enumerate(program.items):
        srcs = tuple(place[s] for s in item.srcs)
        if item.op.kind == "alias" and item.op.name != "item":
            place.append(srcs[0])
            continue
        item = item._replace(srcs=srcs)
        item = _at_once(item, items)
        observed = i in program.wanted  # two observed values never share memory
        short = None if observed else _shortcut(item, items)
        if short is not None:
            place.append(short)
            continue
        if observed or not _shareable(item):
            items.append(item)
            place.append(len(items) - 1)
            continue
        found = known.get(item)
        if found is None:
            items.append(item)
            found = known[item] = len(items) - 1
        place.append(found)
    wanted = frozenset(place[i] for i in program.wanted)
    return Program(items, wanted, program.device_type), place


def _shareable(item: Item) -> bool:
    """Whether one item can stand for all that are equal to it."""
    if item.op.name == "const":
        return item.attrs[0][1] is not None or len(item.attrs) == 2
    return item.op.kind != "source" and item.op.name != "copy"


def _is_number(item: Item, value: int) -> bool:
    return (
        item.op.name == "const" and item.attr("value") == value and item.attr("value") is not None
    )


def _at_once(item: Item, items: list[Item]) -> Item:
    """Two reshapes, or two permutations, as one."""
    name = item.op.name
    if name not in ("reshape", "permute"):
        return item
    inner = items[item.srcs[0]]
    if inner.op.name != name:
        return item
    if name == "reshape":
        return item._replace(srcs=inner.srcs)
    before = inner.attr("dims")
    dims = tuple(before[d] for d in item.attr("dims"))
    return item._replace(srcs=inner.srcs, attrs=(("dims", dims),))


def _shortcut(item: Item, items: list[Item]) -> int | None:
    """The operand that an operation with a neutral element, or without effect, is equal to."""
    name = item.op.name
    if name in ("mul", "div"):
        a, b = item.srcs
        if _is_number(items[b], 1):
            return a
        if name == "mul" and _is_number(items[a], 1):
            return b
    elif name == "cast":
        if items[item.srcs[0]].dtype is item.dtype:
            return item.srcs[0]
    elif name == "copy":
        # What is computed lies in memory of its own, or nowhere; nobody sees this copy.
        if items[item.srcs[0]].op.kind not in ("movement", "source"):
            return item.srcs[0]
    elif name in ("reshape", "expand"):
        src = item.srcs[0]
        if items[src].shape == item.shape:
            return src
    elif name == "permute":
        dims = item.attr("dims")
        if dims == tuple(range(len(dims))):
            return item.srcs[0]
    return None


def transpose_products(program: Program) -> tuple[Program, list[int]]:
    """A transposed product with one reader becomes the product of the transposes.

    The gradient of a linear layer's weight is such a product; read as it is, every optimizer step
    would walk through it column by column.
    """
    readers = program.consumers()
    items: list[Item] = []
    new: list[int] = []
    for item in program.items:
        old = item.srcs[0] if item.srcs else -1
        item = item._replace(srcs=tuple(new[s] for s in item.srcs))
        n = len(item.shape)
        if item.op.name == "permute" and item.attr("dims") == (*range(n - 2), n - 1, n - 2):
            product = items[item.srcs[0]]
            alone = len(readers[old]) == 1 and old not in program.wanted
            if product.op.name == "matmul" and alone:
                for x in reversed(product.srcs):
                    shape = items[x].shape
                    turned = (*shape[:-2], shape[-1], shape[-2])
                    items.append(item._replace(srcs=(x,), shape=turned))
                srcs = (len(items) - 2, len(items) - 1)
                item = product._replace(srcs=srcs, shape=item.shape)
        items.append(item)
        new.append(len(items) - 1)
    wanted = frozenset(new[i] for i in program.wanted)
    return Program(items, wanted, program.device_type), new


def remove_dead(program: Program) -> tuple[Program, list[int]]:
    """Keeps what the wanted items need."""
    alive = [False] * len(program.items)
    for i in program.wanted:
        alive[i] = True
    for i in range(len(program.items) - 1, -1, -1):
        if alive[i]:
            for s in program.items[i].srcs:
                alive[s] = True
    new = [-1] * len(program.items)
    items: list[Item] = []
    for i, item in enumerate(program.items):
        if alive[i]:
            new[i] = len(items)
            items.append(item._replace(srcs=tuple(new[s] for s in item.srcs)))
    wanted = frozenset(new[i] for i in program.wanted)
    return Program(items, wanted, program.device_type), new


def simplify(
    program: Program, libraries: bool = True, half: bool = False
) -> tuple[Program, list[int]]:
    """All passes in order; returns the program and the new position of each original item (-1: not
    needed).

    Args:
        libraries: whether to rearrange the program for the libraries' fused and channels-last
            kernels.
        half: as in ``fuse_epilogues``.
    """
    passes: list[Callable[[Program], tuple[Program, list[int]]]] = [
        resolve_aliases,
        transpose_products,
        resolve_aliases,  # the transpose of a transpose is gone
        pick_early,
    ]
    if libraries:
        passes += [
            pool_by_maximum,
            remove_dead,
            partial(fuse_epilogues, half=half),
            remove_dead,
            channels_last,
            put_in_blocks,
            select_parts,
            resolve_aliases,
        ]
    passes.append(remove_dead)
    place = list(range(len(program.items)))
    for each in passes:
        program, new = each(program)
        place = [new[p] if p >= 0 else -1 for p in place]
    return program, place
