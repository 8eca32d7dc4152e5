"""What the rewriting passes share: a program under construction, and questions about items."""

from __future__ import annotations

import math
from typing import Any

from cupola.ir.op import PRIMITIVES
from cupola.ir.program import Item, Program


class Rewrite:
    """A new program made from an old one, item by item.

    Attributes:
        items: what has been written so far.
        place: for each old item, where its value is found now (-1: nowhere yet).
    """

    def __init__(self, old: Program) -> None:
        self.old = old
        self.items: list[Item] = []
        self.place = [-1] * len(old.items)

    def add(self, name: str, srcs: tuple[int, ...], shape: Any, dtype: Any, /, **attrs: Any) -> int:
        """Appends an item (``srcs`` are positions in the new program); gives its position."""
        self.items.append(Item(PRIMITIVES[name], tuple(attrs.items()), srcs, shape, dtype))
        return len(self.items) - 1

    def keep(self, i: int) -> int:
        """Copies old item ``i``, its operands being where they are now."""
        item = self.old.items[i]
        self.items.append(item._replace(srcs=tuple(self.place[s] for s in item.srcs)))
        self.place[i] = len(self.items) - 1
        return self.place[i]

    def permuted(self, i: int, dims: tuple[int, ...]) -> int:
        """New item ``i`` with its dimensions in another order; a permutation of one is undone."""
        item = self.items[i]
        if item.op.name == "permute":
            before = item.attr("dims")
            dims = tuple(before[d] for d in dims)
            i = item.srcs[0]
            item = self.items[i]
        if dims == tuple(range(len(dims))):
            return i
        shape = tuple(item.shape[d] for d in dims)
        return self.add("permute", (i,), shape, item.dtype, dims=dims)

    def reshaped(self, i: int, shape: tuple[int, ...]) -> int:
        """New item ``i`` in another shape."""
        item = self.items[i]
        if item.shape == shape:
            return i
        return self.add("reshape", (i,), shape, item.dtype, shape=shape)

    def done(self) -> tuple[Program, list[int]]:
        """The new program, and where each old item's value is found in it."""
        wanted = frozenset(self.place[i] for i in self.old.wanted)
        return Program(self.items, wanted, self.old.device_type), self.place


def vector_along(items: list[Item], i: int, axis: int) -> int | None:
    """The item whose elements in order are those of item ``i`` along ``axis``, or None.

    Item ``i`` has to be constant along all other dimensions because it was broadcast along them.
    """
    while True:
        item = items[i]
        size = item.shape[axis]
        if math.prod(item.shape) == size:
            return i
        if item.op.name == "expand":
            i = item.srcs[0]
            if items[i].shape[axis] != size:
                return None
        elif item.op.name == "permute":
            axis = item.attr("dims")[axis]
            i = item.srcs[0]
        else:
            return None
