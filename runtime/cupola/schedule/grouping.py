"""Grouping: which stored items are computed by one kernel.

A kernel with reductions goes over rows; whatever reads its results over the same rows joins it
(the exponentials of a softmax, the normalised values of a layer norm, two sums of one gradient),
and so do elementwise kernels over the same elements (an optimizer's moments and the parameter).
What only the group reads is not stored. Grouping proposes; lowering proves: a member that it
cannot place in the group's space gets a kernel of its own again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cupola.ir.program import Item, Program

if TYPE_CHECKING:
    from cupola.schedule.partition import Partition

# Computing an element again in each stage of a group is cheaper than storing it up to this many
# machine operations.
REPEAT_LIMIT = 96
# Operations an element, operands and results of one kernel.
WORK_LIMIT = 400
BUFFER_LIMIT = 24
# Nested this deep, for lowering walks expressions recursively.
DEPTH_LIMIT = 150
# On a CPU a group with several stages cannot share one row among threads: it needs this many rows,
# or so few elements that one thread does them all.
ROWS = 8
ALONE = 1 << 16


@dataclass(frozen=True)
class Group:
    """One kernel.

    Attributes:
        roots: items that it stores.
        hidden: items that would be stored if anybody else read them.
    """

    roots: tuple[int, ...]
    hidden: tuple[int, ...]

    @property
    def members(self) -> tuple[int, ...]:
        return self.roots + self.hidden


class Kernel:
    """What grouping knows of a kernel: one stored item, or a group so far."""

    __slots__ = (
        "count", "depth", "heavy", "inner", "leaves", "members", "rows", "seen", "shape", "space",
        "stages", "work",
    )  # fmt: skip

    def __init__(self, program: Program, root: int, stored: set[int], views: set[int]) -> None:
        items = program.items
        computed, leaves, stack = {root}, set(), list(items[root].srcs)
        while stack:
            i = stack.pop()
            if i in computed or i in leaves:
                continue
            if i in stored and i not in views:
                leaves.add(i)
            else:
                computed.add(i)
                stack.extend(items[i].srcs)
        self.members = {root}
        self.leaves = leaves
        self.seen = computed | leaves
        self.work = sum(items[i].op.cost for i in computed if items[i].op.kind == "elementwise")
        self.shape = items[root].shape
        self.count = _count(self.shape)
        self.rows = self.inner = self.stages = 0
        self.heavy = False
        self.space: tuple[tuple[bool, int], ...] = ()
        reduced = [i for i in computed if items[i].op.kind == "reduce"]
        if reduced:
            first = items[min(reduced)]
            self.rows = _count(first.shape)
            self.inner = _count(items[first.srcs[0]].shape) // max(self.rows, 1)
            self.stages = 1
            self.space = _space(items[first.srcs[0]].shape, first.attr("dims"))
            self.heavy = program.device_type == "cpu" and not _shared(items, first)
        nested: dict[int, int] = {}
        for i in sorted(computed):
            nested[i] = 1 + max((nested.get(s, 0) for s in items[i].srcs), default=0)
        self.depth = nested[root]

    def copied(self) -> Kernel:
        """A kernel to which others can be joined."""
        out = object.__new__(Kernel)
        for name in Kernel.__slots__:
            setattr(out, name, getattr(self, name))
        out.members = set(self.members)
        return out


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def _space(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[tuple[bool, int], ...]:
    """How reduced and kept dimensions follow each other, neighbours of one kind as one."""
    out: list[tuple[bool, int]] = []
    for d, n in enumerate(shape):
        if n == 1:
            continue
        reduced = d in dims
        if out and out[-1][0] == reduced:
            out[-1] = (reduced, out[-1][1] * n)
        else:
            out.append((reduced, n))
    return tuple(out)


def _shared(items: list[Item], reduce: Item) -> bool:
    """Whether threads find enough to share in a reduction's rows."""
    shape, dims = items[reduce.srcs[0]].shape, reduce.attr("dims")
    if _count(shape) <= ALONE:
        return True
    wide = [d for d, n in enumerate(shape) if n > 1]
    rows = _count(reduce.shape)
    if wide and wide[-1] not in dims:  # vectors lie across the rows
        rows = rows // shape[wide[-1]] * (shape[wide[-1]] // 64)
    return rows >= ROWS


class Grouping:
    """Joins kernels. ``alone`` names items that lowering could not place in a group."""

    def __init__(self, partition: Partition, kernels: list[int], alone: set[int]) -> None:
        program = partition.program
        self.items = program.items
        self.wanted = program.wanted
        self.stored = partition.stored
        # A stored view is another look at what a kernel makes: readers of it read the kernel.
        views = {
            i
            for i in partition.stored.difference(kernels)
            if self.items[i].op.kind == "movement" and partition.generated[i]
        }
        facts = partition.facts
        for i in kernels:
            if i not in facts:
                facts[i] = Kernel(program, i, partition.stored, views)
        self.kernels = {i: facts[i].copied() for i in kernels}
        self.group = dict(self.kernels)
        self.readers: dict[int, list[int]] = {}
        for i in sorted(self.stored):
            kernel = self.kernels.get(i)
            leaves = kernel.leaves if kernel is not None else self.sources(i)
            for s in leaves:
                self.readers.setdefault(s, []).append(i)
        self.before, self.after = self.reach()
        self.joined = 0  # the members of groups of several, as bits
        for i in kernels:
            if i not in alone:
                self.join_operands(i, alone)
        for s in sorted(self.readers):
            self.join_readers(s, alone)

    def reach(self) -> tuple[dict[int, int], dict[int, int]]:
        """For each stored item, those that lead to it and those that it leads to, as bits."""
        place = {i: k for k, i in enumerate(sorted(self.stored))}
        before, after = dict.fromkeys(place, 0), dict.fromkeys(place, 0)
        for i, k in place.items():
            own = before[i] | 1 << k
            for r in self.readers.get(i, ()):
                before[r] |= own
        for i in reversed(place):
            bits = 0
            for r in self.readers.get(i, ()):
                bits |= after[r] | 1 << place[r]
            after[i] = bits
        self.place = place
        return before, after

    def sources(self, i: int) -> set[int]:
        """The stored items that a library call or a view reads."""
        found: set[int] = set()
        stack = list(self.items[i].srcs)
        while stack:
            s = stack.pop()
            if s in self.stored:
                found.add(s)
            else:
                stack.extend(self.items[s].srcs)
        return found

    def join_operands(self, i: int, alone: set[int]) -> None:
        for s in sorted(self.kernels[i].leaves, reverse=True):
            if s in self.kernels and s not in alone:
                self.join(self.group[s], self.group[i])

    def join_readers(self, s: int, alone: set[int]) -> None:
        """Joins kernels that read all of the same array: reductions over the same rows, others of
        the same shape.
        """
        shape = self.items[s].shape
        if shape and isinstance(shape[0], tuple):  # several results, which are read one by one
            return
        found: dict[Any, Kernel] = {}
        size = _count(self.items[s].shape)
        for i in self.readers[s]:
            kernel = self.group.get(i)
            if kernel is None or i in alone:
                continue
            key: Any = kernel.space if kernel.stages else kernel.shape
            if size < (kernel.rows * kernel.inner if kernel.stages else kernel.count):
                continue
            other = found.get(key)
            if other is not None:
                self.join(other, kernel)
            found[key] = self.group[i]

    def join(self, a: Kernel, b: Kernel) -> bool:
        """Makes one kernel of two, the first of which may be read by the second."""
        if a is b or not self.fits(a, b) or self.returns(a.members | b.members):
            return False
        reads = not a.members.isdisjoint(b.leaves)
        members = a.members | b.members
        a.leaves = {s for s in a.leaves | b.leaves if s not in members}
        a.members = members
        a.work += b.work
        a.depth = a.depth + b.depth if reads else max(a.depth, b.depth)
        if not a.stages:
            a.rows, a.inner, a.space = b.rows, b.inner, b.space
        a.heavy |= b.heavy
        if a.stages and b.stages and reads:
            a.stages += b.stages
        else:
            a.stages = max(a.stages, b.stages)
        for i in members:
            self.group[i] = a
            self.joined |= 1 << self.place[i]
        return True

    def fits(self, a: Kernel, b: Kernel) -> bool:
        """Whether two kernels go over one space, and are worth one pass over it."""
        if a.work + b.work > WORK_LIMIT or min(a.count, b.count) == 0:
            return False
        reads = not a.members.isdisjoint(b.leaves)
        if reads and a.depth + b.depth > DEPTH_LIMIT:
            return False
        members = a.members | b.members
        if len((a.leaves | b.leaves) - members) + len(members) > BUFFER_LIMIT:
            return False
        if not a.stages and not b.stages:
            return bool(a.shape == b.shape)
        if a.stages and b.stages:
            return a.space == b.space and not (reads and (a.heavy or b.heavy))
        if not reads:
            return False
        rowed, plain = (a, b) if a.stages else (b, a)
        if plain.count == rowed.rows:
            return True
        if plain.count != rowed.rows * rowed.inner or rowed.heavy:
            return False
        return plain is b or plain.work <= REPEAT_LIMIT

    def returns(self, members: set[int]) -> bool:
        """Whether a path leaves the members and comes back: they could not run as one."""
        before = after = own = 0
        for i in members:
            before |= self.before[i]
            after |= self.after[i]
            own |= 1 << self.place[i]
        if before & after & ~own:
            return True
        # Not by itself, but together with other groups.
        last = max(members)
        stack = [r for i in members for r in self.readers.get(i, ()) if r not in members]
        seen: set[int] = set()
        while stack:
            i = stack.pop()
            if i in members:
                return True
            if i in seen:
                continue
            seen.add(i)
            group = self.group.get(i)
            if group is None or len(group.members) == 1:
                # Behind the last member only another group can lead back.
                if i < last or self.after[i] & self.joined:
                    stack.extend(self.readers.get(i, ()))
                continue
            seen |= group.members
            for j in group.members:
                stack.extend(self.readers.get(j, ()))
        return False

    def groups(self) -> list[Group]:
        """The kernels, those that store nothing but one item included."""
        out = []
        for kernel in {id(k): k for k in self.group.values()}.values():
            members = sorted(kernel.members)
            hidden = tuple(i for i in members if self.is_hidden(i, kernel))
            out.append(Group(tuple(i for i in members if i not in hidden), hidden))
        return out

    def is_hidden(self, i: int, kernel: Kernel) -> bool:
        readers = self.readers.get(i, ())
        return i not in self.wanted and bool(readers) and all(r in kernel.members for r in readers)
