"""A program: a graph of nodes written down as a list, free of values, hashable, in topological
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cupola.dtypes import dtype as DType
from cupola.ir.number import Dynamic
from cupola.ir.op import Primitive


class Item(NamedTuple):
    """One node of a program.

    Attributes:
        op, attrs, srcs: the primitive, its attributes as pairs, and positions of its operands.
        shape, dtype: of the result (tuples of them if ``op.multi``).

    A buffer's attrs hold its strides in elements, or None if it is C-contiguous; a constant's hold
    its value if that
    is special (0, 1, -1), else None: other numbers are passed at launch, so that a new number is
    not a new plan. A number that a formula holds is passed at launch too; it is part of the attrs
    as ``fixed``.
    """

    op: Primitive
    attrs: tuple[tuple[str, Any], ...]
    srcs: tuple[int, ...]
    shape: Any
    dtype: Any

    def attr(self, name: str) -> Any:
        for key, value in self.attrs:
            if key == name:
                return value
        raise KeyError(name)


_SPECIAL = (0, 1, -1)


def special(value: Any) -> Any:
    """Numbers worth a kernel of their own; every other number is an argument of the kernel."""
    if type(value) is complex or type(value) is Dynamic:
        return None
    return value if value in _SPECIAL and str(value) != "-0.0" else None


def constant(value: Any, fixed: bool = False) -> tuple[tuple[str, Any], ...]:
    """The attributes of a constant's item."""
    own = special(value)
    return (("value", own), ("fixed", value)) if fixed and own is None else (("value", own),)


def fixed_numbers(items: list[Item]) -> dict[int, Any]:
    """The numbers of constants that formulas hold, by position."""
    return {
        i: item.attrs[1][1]
        for i, item in enumerate(items)
        if item.op.name == "const" and len(item.attrs) == 2
    }


@dataclass
class Program:
    """Items and the positions whose values somebody wants afterwards."""

    items: list[Item]
    wanted: frozenset[int]
    device_type: str = "cpu"
    copied: set[int] = field(default_factory=set)  # movement items that need memory of their own
    views: dict[Any, Any] = field(default_factory=dict)  # memo of code generation

    def consumers(self) -> list[list[int]]:
        """For each item, the items that read it."""
        out: list[list[int]] = [[] for _ in self.items]
        for i, item in enumerate(self.items):
            for s in item.srcs:
                out[s].append(i)
        return out

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


class NeedBoundary(Exception):
    """Raised by lowering: ``item`` must be stored in memory before its reader can be lowered.

    ``root`` is the output whose lowering found this.
    """

    def __init__(self, item: int, root: int = -1) -> None:
        super().__init__(item, root)
        self.item = item
        self.root = root


class StridedView(NamedTuple):
    """A view of a stored array: offset and strides in elements."""

    base: int
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Lowered:
    """A kernel bound to one program: which item each buffer is, the packed integers, which
    constants are scalars.

    Attributes:
        kernel: the lowered loop form (``codegen.form.Kernel``).
        inputs: items read, in the order of the kernel's first buffers; the outputs follow.
        outputs: the items stored.
        meta: packed integers.
        scalars: constant items whose numbers are passed at launch.
        alike: kernels for which this is equal, and not None, can share a launch over many arrays.
    """

    kernel: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    meta: tuple[int, ...]
    scalars: tuple[int, ...]
    alike: Any = None


@dataclass
class Plan:
    """What the engine runs: steps in order.

    A step is ``("kernel", Lowered)``, ``("kernels", (Lowered, ...))`` (independent, of one kernel:
    one launch over many arrays), ``("call", item)``, ``("view", item, StridedView)``, ``("fill",
    item)``, ``("contiguous", item)`` (a given array has to be copied into row-major order) or
    ``("free", items)``.
    """

    program: Program
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    launches: dict[int, Any] = field(default_factory=dict)  # compiled kernels by step


# Element types that generated kernels handle; everything else runs through references.
GENERATED = frozenset(
    (
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "bfloat16",
        "float32",
        "float64",
    )
)


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous array."""
    out = []
    step = 1
    for n in reversed(shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))


def is_generated(dtype: DType | Any) -> bool:
    return isinstance(dtype, DType) and dtype.name in GENERATED
