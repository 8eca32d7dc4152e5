"""Partition: which items are stored in memory, and the order of kernels, library calls and
views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cupola.ir.program import Item, Lowered, NeedBoundary, Plan, Program, StridedView, is_generated
from cupola.schedule.grouping import Group, Grouping, Kernel
from cupola.schedule.order import is_last_look, ordered
from cupola.schedule.verify import verify

# Recomputing an expression in several kernels is cheaper than storing it up to this many machine
# operations an element.
RECOMPUTE_LIMIT = 32
# An expression this long gets a kernel of its own, so that source text and register use stay
# bounded.
KERNEL_LIMIT = 400
# Nested this deep, for lowering walks expressions recursively.
DEPTH_LIMIT = 80
# Expressions repeated by broadcasting are stored unless they are cheaper than this.
BROADCAST_LIMIT = 3
# What several read is stored rather than computed from more elements than this for each of its own.
WIDE_LIMIT = 2.5
# Distinct arrays that one kernel may read.
OPERAND_LIMIT = 20

_INTEGER_DIVISION = ("floor_divide", "remainder", "fmod")


class Lowering(NamedTuple):
    """What partitioning asks of code generation.

    ``kernel`` takes the program, a group's roots and hidden members, everything stored, and the
    reductions that are computed inside their readers' kernels.
    """

    kernel: Callable[
        [Program, tuple[int, ...], tuple[int, ...], frozenset[int], frozenset[int]], Lowered
    ]
    view: Callable[[Program, int, frozenset[int]], StridedView | None]


def can_generate(program: Program, item: Item) -> bool:
    """Whether an item can be part of a generated kernel (else its library call or reference
    runs).
    """
    kind = item.op.kind
    if item.op.name == "copy":
        return is_generated(item.dtype)
    if kind == "library" or item.op.multi or item.op.name == "item":
        return False
    if kind == "source":
        return True
    types = [item.dtype] + [program.items[s].dtype for s in item.srcs]
    if not all(is_generated(t) for t in types):
        return False
    if kind == "elementwise" and item.op.name != "iota":
        if item.op.lower is None:
            return False
        name = item.op.name
        if item.dtype.category == 1:
            if name == "pow":
                return False
            if (
                name in _INTEGER_DIVISION
            ):  # division by zero is an error, which only the reference raises
                return _is_constant(program, item.srcs[1])
        if name == "bitcast" and any(t.itemsize == 2 for t in types):
            return False
    return True


def _is_constant(program: Program, i: int) -> bool:
    """Whether an item is one number, seen through index maps that add no other."""
    while program.items[i].op.name in ("permute", "reshape", "expand"):
        i = program.items[i].srcs[0]
    return program.items[i].op.name == "const"


class Partition:
    """Decides what is stored. The set only grows: lowering may ask for more items to be stored."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.items = program.items
        self.consumers = program.consumers()
        self.generated = [can_generate(program, item) for item in self.items]
        self.stored: set[int] = set()
        self.inlined: set[int] = set()
        self.reordered: list[int] = []
        self.facts: dict[int, Kernel] = {}  # what grouping knows of single kernels
        self.decide()

    def decide(self) -> None:
        """The first choice: operands of library calls, wanted items, reductions, what is dear to
        recompute.
        """
        work = [0] * len(self.items)
        leaves: list[frozenset[int]] = [frozenset()] * len(self.items)
        depth = [0] * len(self.items)
        for i, item in enumerate(self.items):
            name = item.op.name
            if name == "buffer" or not self.generated[i] or i in self.program.wanted:
                self.store(i, work, leaves)
                continue
            if name == "const":
                if any(not self.generated[c] for c in self.consumers[i]):
                    self.store(i, work, leaves)  # a library call needs it as an array
                continue
            work[i] = item.op.cost * (item.op.kind == "elementwise") + sum(
                work[s] for s in set(item.srcs)
            )
            if name == "pad":
                self.store_padded(item, work, leaves)
            leaves[i] = (
                frozenset().union(*(leaves[s] for s in item.srcs)) if item.srcs else frozenset()
            )
            depth[i] = 1 + max((depth[s] for s in item.srcs if s not in self.stored), default=0)
            readers = self.consumers[i]
            if any(not self.generated[c] for c in readers):
                self.store(i, work, leaves)
            elif item.op.kind == "reduce":
                if self.can_inline(i):
                    self.inlined.add(i)
                    # What reads it is as dear as the whole reduction: never computed twice, let
                    # alone an element.
                    work[i] += RECOMPUTE_LIMIT + 1
                else:
                    self.store(i, work, leaves)
            elif depth[i] > DEPTH_LIMIT or work[i] > KERNEL_LIMIT or len(leaves[i]) > OPERAND_LIMIT:
                self.store(i, work, leaves)
            elif len(readers) > 1 and (
                work[i] > RECOMPUTE_LIMIT or self.wide(item, leaves[i]) > WIDE_LIMIT
            ):
                self.store(i, work, leaves)
            elif item.op.kind != "movement" and work[i] >= BROADCAST_LIMIT and self.repeated(i):
                self.store(i, work, leaves)

    def store(self, i: int, work: list[int], leaves: list[frozenset[int]]) -> None:
        self.stored.add(i)
        work[i] = 0
        leaves[i] = frozenset((i,))

    def store_padded(self, item: Item, work: list[int], leaves: list[frozenset[int]]) -> None:
        """Stores what a ``pad`` reads: an expression has no elements outside its own shape.

        A reshape of something permuted is no affine index, so what it reads is stored.
        """
        i = item.srcs[0]
        while i not in self.stored and self.items[i].op.kind == "movement":
            above, i = self.items[i].op.name, self.items[i].srcs[0]
            if above == "reshape" and self.items[i].op.name == "permute":
                break
        if i not in self.stored and self.items[i].op.name != "const":
            self.store(i, work, leaves)

    def wide(self, item: Item, leaves: frozenset[int]) -> float:
        """How many stored elements are read for one of the item, at most one of each array."""
        size = _count(item.shape)
        return sum(min(_count(self.items[s].shape) / size, 1) for s in leaves) if size > 1 else 0

    def repeated(self, i: int) -> bool:
        """Whether movement makes readers compute the expression more than once an element."""
        size = _count(self.items[i].shape)
        stack = [(c, size) for c in self.consumers[i] if self.items[c].op.kind == "movement"]
        while stack:
            j, n = stack.pop()
            item = self.items[j]
            if item.op.name in ("expand", "window") and _count(item.shape) > n:
                return True
            stack.extend((c, n) for c in self.consumers[j] if self.items[c].op.kind == "movement")
        return False

    def can_inline(self, i: int) -> bool:
        """Whether a reduction's only reader is an elementwise epilogue of the same number of
        elements.
        """
        size = _count(self.items[i].shape)
        j = i
        for _ in range(8):
            if len(self.consumers[j]) != 1 or j in self.program.wanted:
                return False
            (c,) = self.consumers[j]
            item = self.items[c]
            if not self.generated[c] or _count(item.shape) != size:
                return False
            if item.op.kind == "elementwise":
                return all(s == j or not self.reads_reduction(s) for s in item.srcs)
            if item.op.name not in ("reshape", "permute", "expand"):
                return False
            j = c
        return False

    def reads_reduction(self, i: int) -> bool:
        """Whether another reduction would end up in the same kernel."""
        stack, seen = [i], set()
        while stack:
            j = stack.pop()
            if j in seen or j in self.stored:
                continue
            seen.add(j)
            if j in self.inlined or self.items[j].op.kind == "reduce":
                return True
            stack.extend(self.items[j].srcs)
        return False

    def require(self, i: int) -> None:
        """Stores an item because lowering needs it stored: in memory of its own, in row-major
        order.
        """
        item = self.items[i]
        if item.op.name == "buffer" and item.attr("strides") is not None:
            self.items[i] = item._replace(attrs=(("strides", None),))
            self.reordered.append(i)
        elif item.op.kind == "movement" and i not in self.program.copied:
            self.program.copied.add(i)
        elif i in self.stored:
            raise AssertionError(f"lowering asked twice for item {i} ({item.op.name})")
        self.stored.add(i)
        self.inlined.discard(i)
        self.program.views.clear()
        for root in [r for r, kernel in self.facts.items() if i in kernel.seen]:
            del self.facts[root]

    def give_up(self, i: int) -> set[int]:
        """Leaves a movement item to its reference; gives the operands that are stored for it."""
        self.generated[i] = False
        self.stored.add(i)
        fresh = {s for s in self.items[i].srcs if s not in self.stored}
        for s in fresh:
            self.require(s)
        self.program.views.clear()
        return fresh


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def plan(program: Program, lowering: Lowering) -> Plan:
    """The steps that compute a program's wanted items."""
    verify(program)
    partition = Partition(program)
    alone: set[int] = set()  # items that lowering could not place in a group
    done: dict[Group, Lowered] = {}
    while True:
        stored = frozenset(partition.stored)
        groups = Grouping(partition, _kernels(partition, lowering, stored), alone).groups()
        hidden = frozenset(i for g in groups for i in g.hidden)
        missing = _lower_all(partition, lowering, groups, stored - hidden, alone, done)
        if missing is not None and not missing:
            break
        # Kernels that computed a newly stored item inside themselves read it from now on.
        if missing:
            stale = [g for g in done if not missing.isdisjoint(_covered(partition, g.members))]
            for g in stale:
                del done[g]
    return ordered(partition, lowering, [done[g] for g in groups], stored - hidden)


def _kernels(partition: Partition, lowering: Lowering, stored: frozenset[int]) -> list[int]:
    """The stored items that generated code computes."""
    found = []
    for i in sorted(stored):
        item = partition.items[i]
        if not partition.generated[i] or item.op.kind == "source":
            continue
        if item.op.name == "copy" and is_last_look(partition, item.srcs[0]):
            continue
        if item.op.kind == "movement" and lowering.view(partition.program, i, stored) is not None:
            continue
        found.append(i)
    return found


def _lower_all(
    partition: Partition,
    lowering: Lowering,
    groups: list[Group],
    stored: frozenset[int],
    alone: set[int],
    done: dict[Group, Lowered],
) -> set[int] | None:
    """Lowers what is not lowered yet; returns the items that have to be stored before.

    None: there are none, but a member had to leave its group, so that groups are formed again.
    """
    inlined = frozenset(partition.inlined)
    missing: set[int] = set()
    left = False
    for group in groups:
        if group in done:
            continue
        here: frozenset[int] = stored
        asked: set[int] = set()
        while group not in done:
            try:
                done[group] = lowering.kernel(
                    partition.program, group.roots, group.hidden, here, inlined
                )
            except NeedBoundary as need:
                if len(group.members) > 1:
                    alone.add(need.root if need.root in group.members else max(group.members))
                    left = True
                    break
                if need.item == need.root and need.item in asked | partition.program.copied:
                    # No loops fit its shape and its operand's: the library copies it.
                    missing |= partition.give_up(need.item)
                    left = True
                    break
                if need.item not in missing:
                    partition.require(need.item)
                    missing.add(need.item)
                elif need.item in asked:
                    raise AssertionError(f"lowering asked twice for item {need.item}") from None
                asked.add(need.item)
                here |= {need.item}
    return None if left and not missing else missing


def _covered(partition: Partition, members: tuple[int, ...]) -> set[int]:
    """Everything a kernel looks at: what it computes and what it reads, through stored views
    too.
    """
    seen: set[int] = set()
    stack = list(members)
    while stack:
        i = stack.pop()
        if i in seen:
            continue
        seen.add(i)
        if i in members or i not in partition.stored or partition.items[i].op.kind == "movement":
            stack.extend(partition.items[i].srcs)
    return seen
