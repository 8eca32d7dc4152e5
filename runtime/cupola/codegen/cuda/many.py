"""One launch of a flat kernel over many sets of arrays: an optimizer's update of all parameters.

The parameter holds every set's addresses and length; a block finds the set that it works on.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from cupola.codegen.cuda.plan import SMALL, Sizes, lanes_of, used_by
from cupola.codegen.cuda.text import Writer, entry
from cupola.codegen.cuda.types import memory_type
from cupola.codegen.cuda.variant import Variant, layout
from cupola.codegen.form import Kernel

THREADS = 256
PARAMETERS = 4096
"""Bytes that every driver takes as a launch's parameters."""


@dataclass(frozen=True)
class Many:
    """Launch of ``kernel`` over sets of arrays.

    Attributes:
        variant: how a set is worked on (always ``flat``, with a tail).
        capacity: sets that one launch takes.
    """

    kernel: Kernel
    variant: Variant
    capacity: int

    @property
    def format(self) -> struct.Struct:
        """Scalars; lengths; addresses, set by set; first block of each set; number of sets."""
        scalars = "".join("d" if d.is_floating_point else "q" for d in self.kernel.scalars)
        n = self.capacity
        return struct.Struct(f"<{scalars}{n}q{n * len(self.kernel.buffers)}Q{n}ii")

    def blocks(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """First block of each set, and how many there are in all."""
        each = [-(-n // (THREADS * self.variant.lanes)) for n in sizes]
        return (0, *accumulate(each))

    def pack(
        self, pointers: Sequence[int], sizes: Sequence[int], scalars: Sequence[float | int]
    ) -> bytes:
        """The parameter for at most ``capacity`` sets, ``pointers`` set after set."""
        room = self.capacity - len(sizes)
        starts = self.blocks(sizes)[:-1]
        return self.format.pack(
            *scalars, *sizes, *[0] * room, *pointers, *[0] * (room * len(self.kernel.buffers)),
            *starts, *[0] * room, len(sizes),
        )  # fmt: skip

    def source(self) -> str:
        """The CUDA C text; its function is named by ``name``.

        Raises:
            NotImplementedError: an operation or element type that the dialect lacks.
        """
        return _ManyWriter(self).text()

    @property
    def name(self) -> str:
        return f"{entry(self.kernel, self.variant)}_many"


def many(kernel: Kernel, sizes: Sequence[int], low: int) -> Many:
    """How a flat kernel (see ``form.is_flat``) runs over sets of these sizes.

    ``low`` is the bitwise or of all addresses, modulo 16.
    """
    zeros = layout(kernel).length - 1
    where = Sizes(kernel, (max(sizes), *[0] * zeros))
    aligned = [low] * len(kernel.buffers)
    lanes, vectors = lanes_of(where, 0, 16, aligned, used_by(kernel, ("point",)), True)
    wide = max(sizes) >= SMALL
    variant = Variant("flat", wide=wide, lanes=lanes, vectors=vectors, tail=lanes > 1)
    room = PARAMETERS - 8 * len(kernel.scalars) - 8
    return Many(kernel, variant, room // (12 + 8 * len(kernel.buffers)))


class _ManyWriter(Writer):
    def __init__(self, many: Many) -> None:
        super().__init__(many.kernel, many.variant)
        self.many = many

    def _parameters(self) -> str:
        k, n = self.kernel, self.many.capacity
        members = [
            f"{'double' if d.is_floating_point else 'long long'} s{i};"
            for i, d in enumerate(k.scalars)
        ]
        members.append(f"long long size[{n}];")
        members.append(f"unsigned long long at[{n * len(k.buffers)}];")
        members.append(f"int start[{n}]; int count;")
        local = [f"{memory_type(d)}* b{i};" for i, d in enumerate(k.buffers)]
        local += members[: len(k.scalars)]
        local.append(f"{self.addresses.index} v[{self.words.length}];")
        return "\n".join(["struct P {", *members, "};", "struct Set {", *local, "};"])

    def function(self) -> list[str]:
        k, v, index = self.kernel, self.variant, self.addresses.index
        count, name = len(k.buffers), self.many.name
        lines = [
            f'extern "C" __global__ void __launch_bounds__({THREADS}) {name}(const P all) {{',
            "int set = 0, end = all.count;",
            "while (end - set > 1) {",
            "const int middle = (set + end) / 2;",
            "if ((int)blockIdx.x < all.start[middle]) end = middle; else set = middle;",
            "}",
            "Set p;",
        ]
        lines += [
            f"p.b{i} = ({memory_type(d)}*)all.at[set * {count} + {i}];"
            for i, d in enumerate(k.buffers)
        ]
        lines += [f"p.s{i} = all.s{i};" for i in range(len(k.scalars))]
        lines += [f"p.v[{a.const}] = 0;" for a in layout(k).accesses]
        lines.append(f"p.v[0] = ({index})all.size[set];")
        groups = f"(p.v[0] + {v.lanes - 1}) / {v.lanes}"
        lines.append(f"p.v[{self.words.outer}] = {groups};")
        block = f"({index})((int)blockIdx.x - all.start[set])"
        return [*lines, *self._flat(f"{block} * {THREADS} + threadIdx.x"), "}", ""]
