"""How a kernel is launched for given sizes: variant, threads, whether the work is split.

Pure arithmetic on the meta array; the results are remembered by the launcher, so that none of it
runs twice for the same sizes. Every rule here only chooses among forms that give the same result,
and sums are folded in an order that depends on the sizes alone, so that results repeat bit by bit.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from cupola.codegen.cuda.held import held
from cupola.codegen.cuda.text import COLUMNS, SLOT, carry_types
from cupola.codegen.cuda.variant import Variant, layout, magic, words
from cupola.codegen.form import Affine, Kernel

SMALL = 2**31 - 2**22  # 32-bit indices leave room for the threads past the end


@dataclass(frozen=True)
class Choice:
    """Overrides for tests and for tuning; ``None`` leaves the decision to the rules."""

    mode: str | None = None
    lanes: int | None = None
    wide: bool | None = None
    team: int | None = None
    parts: int | None = None


@dataclass(frozen=True)
class Step:
    """One launch: ``static`` is the packed content of the parameter ``v``."""

    variant: Variant
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    static: bytes


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...]
    scratch: int


class Sizes:
    """The meta array of one launch, made readable."""

    def __init__(self, kernel: Kernel, meta: Sequence[int]) -> None:
        self.kernel = kernel
        self.meta = meta
        self.where = layout(kernel)
        self.loops = tuple(int(meta[p]) for p in self.where.sizes)
        self.outer = prod(self.loops[: kernel.outer])
        self.inner = prod(self.loops[kernel.outer :])

    def strides(self, affine: Affine, positions: tuple[int, ...]) -> list[int]:
        return [
            s if s is not None else int(self.meta[p]) for s, p in zip(affine.strides, positions)
        ]

    def address(self, access: int) -> tuple[int, list[int]]:
        where = self.where.accesses[access]
        strides = self.strides(self.kernel.accesses[access].address, where.strides)
        return int(self.meta[where.const]), strides

    def _reach(self, const: int, strides: list[int]) -> int:
        ends = [s * (n - 1) for s, n in zip(strides, self.loops)]
        return max(
            abs(const + sum(e for e in ends if e > 0)), abs(const + sum(e for e in ends if e < 0))
        )

    def wide(self) -> bool:
        """Whether any index leaves 32 bits."""
        if max(self.outer, self.inner) >= SMALL:
            return True
        for a, access in enumerate(self.kernel.accesses):
            if self._reach(*self.address(a)) >= SMALL:
                return True
            for guard, (const, bound, positions) in zip(
                access.guards, self.where.accesses[a].guards
            ):
                reach = self._reach(int(self.meta[const]), self.strides(guard, positions))
                if max(reach, int(self.meta[bound])) >= SMALL:
                    return True
        return False

    def vectors(
        self, loop: int, lanes: int, low: Sequence[int], used: Sequence[int]
    ) -> tuple[int, ...]:
        """The accesses whose ``lanes`` neighbours along ``loop`` form aligned vectors."""
        found = []
        for a in used:
            access = self.kernel.accesses[a]
            size = self.kernel.buffers[access.buffer].itemsize
            if access.indirect or access.address.strides[loop] != 1:
                continue
            if any(g.strides[loop] != 0 for g in access.guards):
                continue
            unit = min(lanes, max(1, 16 // size))
            const, strides = self.address(a)
            steps = [s for d, (s, n) in enumerate(zip(strides, self.loops)) if d != loop and n > 1]
            if low[access.buffer] % (unit * size) == 0 and all(
                s % unit == 0 for s in (const, *steps)
            ):
                found.append(a)
        return tuple(found)


def plan(
    kernel: Kernel,
    meta: Sequence[int],
    low: Sequence[int],
    processors: int = 132,
    choice: Choice | None = None,
) -> Plan:
    """Chooses the launches for one set of sizes.

    Args:
        kernel: what to run.
        meta: the packed integers of the launch (the trailing ``Kernel.integers`` are not read).
        low: each buffer's address modulo 16.
        processors: multiprocessors of the device.
        choice: overrides.
    """
    sizes = Sizes(kernel, meta)
    choice = choice or Choice()
    if sizes.outer == 0:
        return Plan((), 0)
    wide = sizes.wide() if choice.wide is None else choice.wide
    if kernel.inner == 0 and all(s.kind == "point" for s in kernel.stages):
        return _flat(sizes, low, wide, choice)
    return _team(sizes, low, wide, processors, choice)


def used_by(kernel: Kernel, kinds: tuple[str, ...]) -> list[int]:
    used: set[int] = set()
    for stage in kernel.stages:
        if stage.kind in kinds:
            used |= {int(i.extra or 0) for i in stage.code if i.op == "load"}
            used |= {s.access for s in stage.stores}
    return sorted(used)


def lanes_of(
    sizes: Sizes,
    loop: int,
    width: int,
    low: Sequence[int],
    used: Sequence[int],
    tail: bool = False,
    most: int | None = None,
) -> tuple[int, tuple[int, ...]]:
    """The widest lanes up to ``width`` bytes that make vectors, and the accesses they make so."""
    kernel = sizes.kernel
    candidates = [
        kernel.buffers[kernel.accesses[a].buffer].itemsize
        for a in used
        if kernel.accesses[a].address.strides[loop] == 1 and not kernel.accesses[a].indirect
    ]
    if not candidates:
        return 1, ()
    lanes = min(8, most or max(1, width // max(candidates)))
    while lanes > 1:
        if tail or sizes.loops[loop] % lanes == 0:
            vectors = sizes.vectors(loop, lanes, low, used)
            if vectors:
                return lanes, vectors
        lanes //= 2
    return 1, ()


def _static(
    sizes: Sizes, variant: Variant, outer_lanes: int, stretch: int = 0, parts: int = 1
) -> bytes:
    """The content of the parameter ``v``."""
    kernel = sizes.kernel
    w = words(kernel)
    loops = list(sizes.loops)
    if kernel.outer:
        loops[kernel.outer - 1] = -(-loops[kernel.outer - 1] // outer_lanes)
    if kernel.inner:
        loops[-1] = -(-loops[-1] // variant.inner_lanes)
    outer, inner = loops[: kernel.outer], loops[kernel.outer :]
    static = [int(x) for x in sizes.meta[: w.meta]]
    static += [prod(outer), outer[-1] if outer else 1, prod(inner), inner[-1] if inner else 1]
    static += [stretch, parts]
    for size in (*outer[1:], *inner[1:]):
        static += [0, 0] if variant.wide else magic(max(size, 1))
    if variant.wide:
        return struct.pack(f"<{len(static)}q", *static)
    # Multipliers need all 32 bits: pack unsigned.
    return struct.pack(f"<{len(static)}I", *(x & 0xFFFFFFFF for x in static))


def _flat(sizes: Sizes, low: Sequence[int], wide: bool, choice: Choice) -> Plan:
    kernel = sizes.kernel
    lanes: int = 1
    vectors: tuple[int, ...] = ()
    tail = False
    if kernel.outer and choice.lanes != 1:
        single = kernel.outer == 1
        used = used_by(kernel, ("point",))
        lanes, vectors = lanes_of(sizes, kernel.outer - 1, 16, low, used, single, choice.lanes)
        tail = single and lanes > 1
    variant = Variant("flat", wide=wide, lanes=lanes, vectors=vectors, tail=tail)
    groups = sizes.outer
    if kernel.outer:
        last = sizes.loops[kernel.outer - 1]
        groups = sizes.outer // last * -(-last // lanes)
    threads = 256 if groups > 128 else 128
    step = Step(
        variant, (-(-groups // threads), 1, 1), (threads, 1, 1), 0, _static(sizes, variant, lanes)
    )
    return Plan((step,), 0)


def _power(n: int) -> int:
    """The smallest power of two that is at least ``n``."""
    return 1 << max(0, n - 1).bit_length()


def _mode(sizes: Sizes) -> str:
    """Rows where neighbours along the inner loops lie closer in memory, else columns."""
    kernel = sizes.kernel
    if not kernel.outer or sizes.outer == 1:
        return "row"
    inner, outer = kernel.outer + kernel.inner - 1, kernel.outer - 1
    row = col = 0
    used = used_by(kernel, ("reduce", "map"))
    for a in used:
        _, strides = sizes.address(a)
        size = kernel.buffers[kernel.accesses[a].buffer].itemsize
        row += min(abs(strides[inner]) * size, 32) if sizes.loops[inner] > 1 else 0
        col += min(abs(strides[outer]) * size, 32) if sizes.loops[outer] > 1 else 0
    if sizes.inner <= 64 and sizes.outer >= 2**14 and col <= 16 * len(used):
        return "col"  # a thread an iteration keeps the device busy: windows, small sums
    return "col" if col < row else "row"


def _team(sizes: Sizes, low: Sequence[int], wide: bool, processors: int, choice: Choice) -> Plan:
    kernel = sizes.kernel
    mode = choice.mode or (_mode(sizes) if kernel.inner else "col")
    loop = kernel.outer + kernel.inner - 1 if mode == "row" else kernel.outer - 1
    used = used_by(kernel, ("reduce", "map") if mode == "row" else ("reduce", "map", "point"))
    lanes: int = 1
    vectors: tuple[int, ...] = ()
    full = processors * 1024
    if loop >= 0 and choice.lanes != 1:
        lanes, vectors = lanes_of(sizes, loop, 16, low, used, most=choice.lanes)
        # Wide columns keep more loads in flight, as long as there are threads enough to take them.
        sharing = max(1, sizes.inner // 8) if _can_split(kernel) else 1
        while mode == "col" and lanes > 1 and not choice.lanes:
            if sizes.outer // lanes * sharing >= full // 2:
                break
            lanes, vectors = lanes_of(sizes, loop, 16, low, used, most=lanes // 2)
    variant = Variant(mode, wide=wide, lanes=lanes, vectors=vectors)
    outer = sizes.outer // variant.outer_lanes
    inner = sizes.inner // variant.inner_lanes
    if mode == "row":
        team = choice.team or _row_team(outer, inner, full)
        across = _rows(team)
    else:
        across = min(32, _power(outer))
        team = choice.team or min(_power(inner // 8 + 1) if inner >= 8 else 1, 256 // across)
        team = min(team, COLUMNS // across)
        while choice.team is None and team > 1 and outer * team > 4 * full:
            team //= 2
        while across * team < 128 and across < 256 and team < 4:
            across *= 2
        across = max(across, -(-32 // team))  # whole warps
    parts = choice.parts or _parts(kernel, outer, inner, team, full)
    if mode == "row":
        threads = max(256, _power(team * across))
        variant = replace(variant, threads=threads)
    if parts > 1 and _can_split(kernel):
        return _split(sizes, variant, across, team, parts)
    if mode == "row":
        variant = replace(variant, held=_held(kernel, variant, -(-inner // team)))
    return Plan((_step(sizes, variant, outer, across, team),), 0)


# Vectors of a row that a thread keeps values of at most, and kept numbers by threads of a block.
_HELD = 4
_KEPT = {256: 96, 512: 64, 1024: 24}


def _held(kernel: Kernel, variant: Variant, vectors: int) -> int:
    """``Variant.held`` for so many vectors a thread."""
    kept = held(kernel) if vectors <= _HELD else None
    if kept is None:
        return 0
    vectors = _power(vectors)  # few texts for many sizes
    numbers = len(kept.types) * vectors * variant.lanes
    return vectors if numbers <= _KEPT[variant.threads] else 0


def _rows(team: int) -> int:
    """Rows a block: a team of several warps has the block, and its shared memory, to itself."""
    return 256 // team if team <= 32 else 1


def _row_team(outer: int, inner: int, full: int) -> int:
    """Threads a row: four groups of lanes for each, so that loads are in flight together."""
    team = min(_power(-(-inner // 4)), 1024)
    if team == 1024 and (outer * 512 >= 2 * full or outer * 1024 < full):
        return 512
    return team


def _parts(kernel: Kernel, outer: int, inner: int, team: int, full: int) -> int:
    """How many stretches to cut the inner range into, so that the device is filled."""
    if not _can_split(kernel) or outer * team >= full or inner < 16 * team or outer * inner < 2**16:
        return 1
    # Rounded down: one block too many would be a second wave of them.
    return max(1, min(2 * full // (outer * team), inner // (8 * team), 1024))


def _can_split(kernel: Kernel) -> bool:
    previous = ""
    for stage in kernel.stages:
        if stage.kind == "point" and previous not in ("reduce", "point"):
            return False
        previous = stage.kind
    return all(d.itemsize < 16 for d in carry_types(kernel))


def _step(
    sizes: Sizes,
    variant: Variant,
    outer: int,
    across: int,
    team: int,
    stretch: int = 0,
    parts: int = 1,
) -> Step:
    blocks = -(-outer // across)
    block = (team, across, 1) if variant.mode == "row" else (across, team, 1)
    # One partial result a warp in rows, one a thread in columns.
    shared = SLOT * (32 if variant.mode == "row" else across * team)
    launches = parts if variant.task in ("part", "each") else 1
    static = _static(sizes, variant, variant.outer_lanes, stretch, parts)
    return Step(variant, (blocks, launches, 1), block, shared, static)


def _split(sizes: Sizes, variant: Variant, across: int, team: int, parts: int) -> Plan:
    """A launch for the parts of each reduction, one that joins them, one for each map stage."""
    kernel = sizes.kernel
    outer = sizes.outer // variant.outer_lanes
    inner = sizes.inner // variant.inner_lanes
    stretch = -(-inner // parts)
    parts = max(1, -(-inner // stretch)) if stretch else 1
    steps, n = [], 0
    while n < len(kernel.stages):
        last = n + 1
        if kernel.stages[n].kind == "reduce":
            part = replace(variant, task="part", first=n, last=last)
            steps.append(_step(sizes, part, outer, across, team, stretch, parts))
            while last < len(kernel.stages) and kernel.stages[last].kind == "point":
                last += 1
            join = Variant("row", task="join", first=n, last=last, wide=variant.wide)
            width = min(_power(parts), 256)
            steps.append(_step(sizes, join, sizes.outer, _rows(width), width, stretch, parts))
        else:
            each = replace(variant, task="each", first=n, last=last)
            steps.append(_step(sizes, each, outer, across, team, stretch, parts))
        n = last
    carries = len(carry_types(kernel))
    most = max(len(s.reduces) for s in kernel.stages)
    return Plan(tuple(steps), SLOT * sizes.outer * (carries + most * parts))
