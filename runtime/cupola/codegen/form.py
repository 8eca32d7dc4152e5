"""The lowered loop form: what a generated kernel computes, free of sizes and of any target.

A kernel is a nest of parallel *outer* loops around a short list of stages. Every stage runs for
each outer
iteration; a ``map`` or ``reduce`` stage adds *inner* loops of its own (all stages share the
kernel's inner dims):

* ``reduce``: runs ``code`` over the inner loops and folds values into carries (``reduces``); may
  store values too, which a later stage of the same outer iteration reads back;
* ``map``: runs ``code`` over the inner loops and stores;
* ``point``: runs ``code`` once, outside the inner loops (epilogue of a reduction), and stores.

Elementwise kernels have no inner dims and a single ``point`` stage: the vector axis is then the
last outer dim.

Sizes, strides and offsets are not in the form: they are 64-bit integers in the ``meta`` array given
at launch, so
that a new size needs no new code. What is static is each stride's *class*: 0, 1 or general
(``None``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from cupola.dtypes import dtype

Stride = int | None  # 0, 1, or None: read from meta


@dataclass(frozen=True)
class Affine:
    """``const + sum(stride[d] * loop[d])`` over all loops, outer then inner; const is always read
    from meta.
    """

    strides: tuple[Stride, ...]


@dataclass(frozen=True)
class Access:
    """Where in a buffer an element lies, counted in elements.

    Attributes:
        buffer: index into ``Kernel.buffers``.
        address: affine address; the loop strides are element strides of the buffer.
        guards: the element is present only where ``0 <= guard < bound`` holds for each guard (bound
            from meta);
            elsewhere a load yields ``fill``. Stores have no guards.
        fill: value of absent elements, a Python number.
        indirect: how many index values the load takes besides the loops (gather); value ``k`` is
            multiplied by a
            stride from meta and added to the address. Index values are int64, in range (negative
            ones are already
            wrapped by the caller), unless ``guards`` says otherwise.
    """

    buffer: int
    address: Affine
    guards: tuple[Affine, ...] = ()
    fill: float | int | bool = 0
    indirect: int = 0


@dataclass(frozen=True)
class Inst:
    """One instruction in static single assignment form; its number is its position in
    ``Stage.code``.

    ``op`` is one of the machine operations below; ``args`` are numbers of earlier instructions of
    the same stage.

    * ``load`` (extra: index into ``Kernel.accesses``; args: indirect index values)
    * ``scalar`` (extra: index into ``Kernel.scalars``): a number passed at launch
    * ``const`` (extra: a Python number)
    * ``loop`` (extra: loop number): the loop counter as int64
    * ``meta`` (extra: index into ``Kernel.integers``): an int64 passed at launch
    * ``carry`` (extra: number of the carry): result of an earlier reduce stage (carries are
      numbered through all
      stages in order)
    * arithmetic: ``add sub mul div neg abs max min fma``; ``div`` is true division of floats;
      ``idiv imod`` integer division and remainder, rounding toward zero; ``max``/``min`` return NaN
      if either is
    * ``floor ceil trunc round sqrt`` (round: half to even)
    * ``exp expm1 log log1p log2 log10 exp2 sin cos tan asin acos atan sinh cosh tanh asinh acosh
      atanh erf erfc
      lgamma tgamma`` of floats, ``pow atan2 fmod copysign nextafter hypot`` of two floats
    * ``eq ne lt le gt ge`` (result bool; ``dtype`` is bool and operands share a type), ``isnan``
    * ``and or xor not shl shr`` on integers and bools (``not`` of bool is logical)
    * ``where`` (condition, then, else), ``cast`` (to ``dtype``: floats to integers truncate; to
      bool is ``!= 0``),
      ``bitcast``
    """

    op: str
    dtype: dtype
    args: tuple[int, ...] = ()
    extra: int | float | bool | None = None


@dataclass(frozen=True)
class Reduce:
    """Folds instruction ``value`` over the inner loops.

    ``op``: ``sum prod max min`` (max and min propagate NaN), or ``argmax argmin`` whose carry is
        int64: the value
    of instruction ``index`` at the first extreme element (NaN counts as extreme; the first NaN
    wins).
    """

    op: str
    value: int
    index: int = -1


@dataclass(frozen=True)
class Store:
    """Writes instruction ``value`` through ``Kernel.accesses[access]``."""

    access: int
    value: int


@dataclass(frozen=True)
class Stage:
    kind: str  # "reduce" | "map" | "point"
    code: tuple[Inst, ...]
    reduces: tuple[Reduce, ...] = ()
    stores: tuple[Store, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """A whole kernel.

    Attributes:
        outer, inner: number of parallel and of inner loops; sizes come from meta.
        buffers: element type of each buffer argument; outputs are those named by stores.
        scalars: element types of numbers passed at launch (the launcher converts; passed as one
            double or int64
            each in an 8-byte slot: floats as double, integers and bools as int64).
        integers: how many further int64 are passed (``meta`` instructions).
        accesses: all accesses used by loads and stores.

    The meta array is packed in this order: outer sizes; inner sizes; for each access: address
        const, its
    general strides in loop order, then for each guard: const, bound, its general strides in loop
    order, then the
    indirect strides; last the ``integers``. ``meta_layout`` is the one place that knows this order.
    """

    outer: int
    inner: int
    buffers: tuple[dtype, ...]
    scalars: tuple[dtype, ...]
    integers: int
    accesses: tuple[Access, ...]
    stages: tuple[Stage, ...]
    name: str = field(default="kernel", compare=False)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Buffers that the kernel writes, in order of first store."""
        found: dict[int, None] = {}
        for stage in self.stages:
            for store in stage.stores:
                found[self.accesses[store.access].buffer] = None
        return tuple(found)


def negative_zeros(kernel: Kernel) -> tuple[int, ...]:
    """Which constants are -0.0, which compares equal to 0.0 and is another kernel."""
    numbers = [i.extra for s in kernel.stages for i in s.code if i.op == "const"]
    numbers += [a.fill for a in kernel.accesses]
    floats = [(k, v) for k, v in enumerate(numbers) if isinstance(v, float)]
    return tuple([k for k, v in floats if v == 0 and math.copysign(1.0, v) < 0])


def is_flat(kernel: Kernel) -> bool:
    """Whether a kernel goes element by element over contiguous arrays: one outer loop, no other.

    Its meta array is the number of elements, then zeros if all arrays begin at their first element.
    """
    if kernel.outer != 1 or kernel.inner or kernel.integers or len(kernel.stages) != 1:
        return False
    return all(
        not a.guards and not a.indirect and a.address.strides[0] in (0, 1) for a in kernel.accesses
    )


@dataclass(frozen=True)
class AccessMeta:
    """Positions in the meta array for one access (-1: the stride is the static class itself)."""

    const: int
    strides: tuple[int, ...]
    guards: tuple[tuple[int, int, tuple[int, ...]], ...]  # (const, bound, strides)
    indirect: tuple[int, ...]


@dataclass(frozen=True)
class MetaLayout:
    sizes: tuple[int, ...]
    accesses: tuple[AccessMeta, ...]
    integers: tuple[int, ...]
    length: int


def meta_layout(kernel: Kernel) -> MetaLayout:
    """Where each runtime integer of a kernel lies in its meta array."""
    position = 0

    def take() -> int:
        nonlocal position
        position += 1
        return position - 1

    def strides(affine: Affine) -> tuple[int, ...]:
        return tuple(take() if s is None else -1 for s in affine.strides)

    sizes = tuple(take() for _ in range(kernel.outer + kernel.inner))
    accesses = []
    for access in kernel.accesses:
        const = take()
        address = strides(access.address)
        guards = tuple((take(), take(), strides(g)) for g in access.guards)
        accesses.append(
            AccessMeta(const, address, guards, tuple(take() for _ in range(access.indirect)))
        )
    return MetaLayout(
        sizes, tuple(accesses), tuple(take() for _ in range(kernel.integers)), position
    )
