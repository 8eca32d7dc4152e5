"""What a program computes from its weights alone, split off: it stays the same from run to run.

Weights are second operands of convolutions and products, and biases. Folding a normalisation into a
weight, permuting or packing it, need not be repeated while the tensors behind it are the same.
"""

from __future__ import annotations

from typing import NamedTuple

from cupola.ir.program import Item, Program
from cupola.ir.source import BUFFER

_WEIGHTED = {
    "convolution": 1,
    "convolution_fused": 2,
    "convolution_input_grad": 1,
    "convolution_input_grad_last": 1,
    "matmul": 1,
    "matmul_fused": 2,
}


class Prologue(NamedTuple):
    """A program over the weights.

    Attributes:
        program: its wanted items are the derived weights.
        place: for each item of the whole program, its position in this one (-1: none).
        roots: (position in this program, position in the rest) of each derived weight.
    """

    program: Program
    place: list[int]
    roots: tuple[tuple[int, int], ...]


def _derived(program: Program, varying: frozenset[int]) -> list[bool]:
    """For each item, whether it follows from buffers and numbers by generated code alone."""
    out: list[bool] = []
    for i, item in enumerate(program.items):
        if item.op.kind == "source":
            out.append(i not in varying and (item.op is BUFFER or item.op.name == "const"))
        else:
            simple = item.op.kind in ("elementwise", "movement", "reduce") or item.op.name == "copy"
            out.append(simple and all(out[s] for s in item.srcs))
    return out


def split(
    program: Program, varying: frozenset[int] = frozenset(), fixed: bool = False
) -> tuple[Program, list[int], Prologue | None]:
    """The rest of the program, the place of each item in it, and the prologue if there is one.

    ``varying`` items are given anew at every run: nothing that reads one is a weight. Unless the
    weights are ``fixed``, a product reads a transposed weight as it lies: it rounds otherwise with
    a copy, and a program has to give what it gives as a part of another.
    """
    same = list(range(len(program.items)))
    derived = _derived(program, varying)
    library = [0] * len(program.items)
    readers = program.consumers()
    roots: list[int] = []
    for item in program.items:
        count = _WEIGHTED.get(item.op.name, 0)
        end = 1 + count if count < 2 or not item.srcs[2:] or not _has_bias(item) else 3
        for s in item.srcs[1:end]:
            library[s] += 1
    for i, item in enumerate(program.items):
        if (
            library[i]
            and library[i] == len(readers[i])
            and derived[i]
            and item.op.name != "const"
            and i not in program.wanted
            and _reads_buffer(program, i)
            and (fixed or not _only_moved(program, i, readers[i]))
        ):
            roots.append(i)
    if not any(program.items[r].op is not BUFFER for r in roots):
        return program, same, None
    return _cut(program, [r for r in roots if program.items[r].op is not BUFFER])


def _only_moved(program: Program, i: int, readers: list[int]) -> bool:
    """Whether an item is a view of a buffer that products alone read."""
    while program.items[i].op.kind == "movement" or program.items[i].op.name == "copy":
        i = program.items[i].srcs[0]
    products = all(program.items[r].op.name.startswith("matmul") for r in readers)
    return program.items[i].op is BUFFER and products


def _has_bias(item: Item) -> bool:
    return bool(dict(item.attrs).get("bias"))


def _reads_buffer(program: Program, i: int) -> bool:
    stack = [i]
    while stack:
        item = program.items[stack.pop()]
        if item.op is BUFFER:
            return True
        stack.extend(item.srcs)
    return False


def _cut(program: Program, roots: list[int]) -> tuple[Program, list[int], Prologue]:
    inside = _needed(program, roots, frozenset())
    early, place = _copy(program, inside, {})
    rooted = frozenset(roots)
    left = _needed(program, sorted(program.wanted), rooted)
    given = {
        r: Item(BUFFER, (("strides", None),), (), program.items[r].shape, program.items[r].dtype)
        for r in roots
    }
    rest, where = _copy(program, left, given)
    pairs = tuple((place[r], where[r]) for r in roots)
    before = Program(early, frozenset(p for p, _ in pairs), program.device_type)
    after = Program(rest, frozenset(where[i] for i in program.wanted), program.device_type)
    return after, where, Prologue(before, place, pairs)


def _needed(program: Program, targets: list[int], stop: frozenset[int]) -> list[int]:
    alive = set(targets)
    for i in range(len(program.items) - 1, -1, -1):
        if i in alive and i not in stop:
            alive.update(program.items[i].srcs)
    return sorted(alive)


def _copy(
    program: Program, chosen: list[int], given: dict[int, Item]
) -> tuple[list[Item], list[int]]:
    place = [-1] * len(program.items)
    items: list[Item] = []
    for i in chosen:
        place[i] = len(items)
        item = given.get(i)
        if item is None:
            item = program.items[i]
            item = item._replace(srcs=tuple(place[s] for s in item.srcs))
        items.append(item)
    return items, place
