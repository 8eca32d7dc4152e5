"""Writes out formulas: each becomes the primitives that it stands for."""

from __future__ import annotations

from typing import Any

from cupola.ir.device import resolve
from cupola.ir.formula import Formula
from cupola.ir.node import Node
from cupola.ir.program import Item, Program, constant
from cupola.ir.source import BUFFER, CONST, EMPTY_ATTRS

Results = dict[int, list[int]]


def _symbols(program: Program, item: Item) -> list[Node]:
    """Nodes without values that stand for the operands of an item."""
    device = resolve(program.device_type)
    found = []
    for s in item.srcs:
        shape, dtype = program.items[s].shape, program.items[s].dtype
        found.append(Node(BUFFER, (), EMPTY_ATTRS, shape, dtype, device))
    return found


def _described(node: Node, srcs: tuple[int, ...]) -> Item:
    attrs: tuple[tuple[str, Any], ...] = tuple(node.attrs.items())
    if node.op is CONST:
        attrs = constant(node.attrs["value"], fixed=True)
    return Item(node.op, attrs, srcs, node.shape, node.dtype)


def _write_out(roots: tuple[Node, ...], items: list[Item], index: dict[int, int]) -> list[int]:
    """The positions of nodes among the items, put there with what they read."""
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if id(node) in index:
            continue
        if ready:
            items.append(_described(node, tuple([index[id(s)] for s in node.srcs])))
            index[id(node)] = len(items) - 1
        else:
            stack.append((node, True))
            stack += [(s, False) for s in reversed(node.srcs)]
    return [index[id(r)] for r in roots]


def expand(program: Program) -> tuple[Program, list[int], Results]:
    """The program without formulas, the new position of each item (-1: a formula with several
    results), and for each such formula those of its results.
    """
    if not any(type(item.op) is Formula for item in program.items):
        return program, list(range(len(program.items))), {}
    items: list[Item] = []
    place: list[int] = []
    results: Results = {}
    for i, item in enumerate(program.items):
        if type(item.op) is Formula:
            symbols = _symbols(program, item)
            index = {id(n): place[s] for n, s in zip(symbols, item.srcs, strict=True)}
            outputs = item.op.body(*symbols, **dict(item.attrs))
            found = _write_out(outputs, items, index)
            if item.op.multi:
                results[i] = found
                place.append(-1)
            else:
                place.append(found[0])
        elif item.op.name == "item" and item.srcs[0] in results:
            place.append(results[item.srcs[0]][item.attr("index")])
        else:
            items.append(item._replace(srcs=tuple([place[s] for s in item.srcs])))
            place.append(len(items) - 1)
    wanted = {place[i] for i in program.wanted if i not in results}
    for i, positions in results.items():
        if i in program.wanted:
            wanted.update(positions)
    return Program(items, frozenset(wanted), program.device_type), place, results
