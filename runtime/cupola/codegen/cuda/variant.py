"""Which form of a kernel's code is meant, and how its launch parameters are laid out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from cupola.codegen.form import Kernel, MetaLayout, meta_layout


@dataclass(frozen=True)
class Variant:
    """One specialisation of a kernel, or of some of its stages.

    Attributes:
        mode: ``flat``: a thread an outer iteration (kernels without inner loops); ``row``: a team
            of neighbouring threads shares the inner loops of one outer iteration; ``col``:
            neighbouring threads take neighbouring outer iterations and a team lies across
            ``threadIdx.y``.
        task: ``whole``: all stages in one launch. Where few outer iterations have much to reduce, a
            launch a stage
            instead: ``part`` folds a stretch of the inner range into scratch memory, ``join`` folds
            these parts in a fixed order and runs the points that follow, ``each`` runs a map stage
            over stretches.
        first, last: the stages meant, as a range.
        wide: index arithmetic in 64 bits.
        lanes: consecutive elements that a thread handles at once, along the last outer loop (flat,
            col) or the last inner loop (row).
        vectors: accesses that move all lanes at once.
        tail: the single outer loop need not be a multiple of ``lanes``.
        held: vectors of a row that each thread takes, where values are kept between stages (see
            ``held``); 0: any number, and nothing is kept.
        threads: the most that a block of rows has.
    """

    mode: str
    task: str = "whole"
    first: int = 0
    last: int = -1
    wide: bool = False
    lanes: int = 1
    vectors: tuple[int, ...] = ()
    tail: bool = False
    held: int = 0
    threads: int = 1024

    @property
    def outer_lanes(self) -> int:
        return 1 if self.mode == "row" else self.lanes

    @property
    def inner_lanes(self) -> int:
        return self.lanes if self.mode == "row" else 1


@dataclass(frozen=True)
class Words:
    """Positions in the parameter ``v``: static meta words, geometry, numbers for divisions."""

    meta: int  # how many words of the meta array come first (all but Kernel.integers)
    outer: int  # outer iterations, in groups of outer lanes
    outer_last: int  # size of the last outer loop, in groups of lanes
    inner: int
    inner_last: int
    stretch: int  # inner groups of one part
    parts: int
    divide: int  # first of pairs (multiplier, shift): for loops 1.. of outer, then 1.. of inner
    length: int


@lru_cache(maxsize=4096)
def layout(kernel: Kernel) -> MetaLayout:
    """``meta_layout``, remembered."""
    return meta_layout(kernel)


def words(kernel: Kernel) -> Words:
    """The layout of the static parameters of all variants of a kernel."""
    where = layout(kernel)
    n = where.integers[0] if where.integers else where.length
    pairs = max(0, kernel.outer - 1) + max(0, kernel.inner - 1)
    return Words(n, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 6 + 2 * pairs)


def magic(divisor: int) -> tuple[int, int]:
    """Multiplier m and shift s: ``n // divisor == (high32(n * m) + n) >> s``, ``0 <= n < 2**31``.

    Source: Granlund and Montgomery, Division by Invariant Integers using Multiplication, 1994, with
        round-up method.
    """
    shift = max(0, (divisor - 1).bit_length())
    return ((1 << 32) * ((1 << shift) - divisor)) // divisor + 1, shift


def head(kernel: Kernel) -> struct.Struct:
    """Format of the parameters that change from launch to launch, 8 bytes each.

    The buffers' addresses, the scalars (doubles or integers), the trailing ``Kernel.integers``, the
    scratch memory's address. ``Step.static`` follows; together they are the one parameter.
    """
    scalars = "".join("d" if d.is_floating_point else "q" for d in kernel.scalars)
    return struct.Struct(f"<{len(kernel.buffers)}Q{scalars}{kernel.integers}qQ")
