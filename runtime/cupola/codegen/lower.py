"""Lowering: items of a program that are computed together become a kernel in the lowered loop form.

The *members* of a kernel are the items whose values it gives: its roots, which it stores, and
others that only it reads. They lie over one space: rows, and the loops inside a row that its
reductions fold. A member has either one element a row or one for each step of the inner loops.
Reductions run in as many stages as they depend on each other.
"""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.codegen import form
from cupola.codegen.keep import keep
from cupola.codegen.loops import Loops
from cupola.codegen.memo import remembered
from cupola.codegen.pack import pack
from cupola.codegen.view import array_strides, view
from cupola.dtypes import dtype as DType
from cupola.ir.affine import Affine, Coords, NotAffine, Split, flatten, reshape
from cupola.ir.movement import Guard, pull
from cupola.ir.program import Item, Lowered, NeedBoundary, Program, strides_of

__all__ = ["lower", "view"]

_BOOL_MACHINE = {"mul": "and", "add": "or", "max": "or", "min": "and"}
_HALF = (dtypes.float16, dtypes.bfloat16)


def computed(dtype: DType) -> DType:
    """The type in which values of ``dtype`` are computed: half types in float32."""
    return dtypes.float32 if dtype in _HALF else dtype


def _rounded(build: Build, half: DType, value: int) -> int:
    """A float32 value as the half type has it; what was read as that type is so already."""
    inst = build.code[value]
    if inst.op == "cast" and build.code[inst.args[0]].dtype is half:
        return value
    return build("cast", dtypes.float32, build("cast", half, value))


class Access:
    """An access while it is being collected: item, address and guards as affine functions of the
    loops.
    """

    def __init__(self, item: int, address: Affine, guards: tuple[Guard, ...], fill: Any) -> None:
        self.item = item
        self.address = address
        self.guards = guards
        self.fill = fill

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.item, self.address, self.guards, repr(self.fill))


class Build:
    """What an elementwise primitive's ``lower`` writes machine operations with."""

    def __init__(self, level: int) -> None:
        self.level = level  # reductions of lower levels are finished when this code runs
        self.code: list[form.Inst] = []
        self.known: dict[form.Inst, int] = {}
        self.values: dict[Any, int] = {}  # instructions by item and coordinates
        self.reduces: list[form.Reduce] = []
        self.stores: list[form.Store] = []

    def __call__(self, op: str, dtype: DType, *args: int, extra: Any = None) -> int:
        if dtype is dtypes.bool:
            op = _BOOL_MACHINE.get(op, op)
        inst = form.Inst(op, dtype, args, extra)
        found = self.known.get(inst)
        if found is None:
            self.code.append(inst)
            found = self.known[inst] = len(self.code) - 1
        return found

    def const(self, value: Any, dtype: DType) -> int:
        return self("const", dtype, extra=value)


_LEVEL = 1 << 16  # carries that one stage may have
_LAST = 1 << 30  # level of the code that runs after all reductions


class KernelBuilder:
    """One attempt at lowering with a given loop nest."""

    def __init__(
        self,
        program: Program,
        roots: tuple[int, ...],
        members: frozenset[int],
        stored: frozenset[int],
        inlined: frozenset[int],
    ) -> None:
        self.program = program
        self.roots = roots
        self.members = members
        self.stored = stored
        self.inlined = inlined
        self.accesses: list[Access] = []
        self.access_keys: dict[Any, int] = {}
        self.scalars: list[int] = []
        self.integers: list[int] = []
        self.carries: dict[Any, tuple[int, int]] = {}  # level and place in its stage
        self.levels: dict[int, int] = {}
        self.stages: dict[int, Build] = {}
        self.root = roots[0]  # the one that is being lowered

    # --- expressions

    def value(self, build: Build, i: int, coords: Coords) -> int:
        """The instruction that yields item ``i`` at ``coords`` (computed type)."""
        key = (i, coords)
        found = build.values.get(key)
        if found is None:
            found = build.values[key] = self.expand(build, i, coords)
        return found

    def expand(self, build: Build, i: int, coords: Coords) -> int:
        item = self.program.items[i]
        kind = item.op.kind
        if i in self.members:
            return self.member(build, i, item, coords)
        if self.loadable(i):
            return self.load(build, i, coords, (), 0)
        if item.op.name == "const":
            return self.constant(build, i, item)
        if kind == "movement":
            return self.moved(build, i, coords)
        if kind == "reduce":
            return self.carry(build, i, coords)
        if item.op.name == "iota":
            return self.position(build, coords[item.attr("dim")], item.dtype)
        return self.elementwise(build, item, coords)

    def member(self, build: Build, i: int, item: Item, coords: Coords) -> int:
        """A value that this kernel computes in one place of its space, and nowhere else."""
        if len(self.members) > 1 and coords != self.place(i):
            raise NeedBoundary(i, self.root)
        kind = item.op.kind
        if kind == "movement":
            value = self.moved(build, i, coords)
        elif kind == "reduce":
            value = self.carry(build, i, coords)
        elif item.op.name == "iota":
            value = self.position(build, coords[item.attr("dim")], item.dtype)
        else:
            value = self.elementwise(build, item, coords)
        if item.dtype in _HALF and len(self.members) > 1 and i in self.roots:
            return build("cast", dtypes.float32, build("cast", item.dtype, value))
        return value

    def loadable(self, i: int) -> bool:
        """Whether an item lies in memory when the kernel starts."""
        if i not in self.stored or i in self.members:
            return False
        if self.program.items[i].op.kind != "movement" or len(self.members) == 1:
            return True
        seen = view(self.program, i, self.stored)
        return seen is None or seen.base not in self.members

    def elementwise(self, build: Build, item: Item, coords: Coords) -> int:
        args = [self.value(build, s, coords) for s in item.srcs]
        if item.op.name == "copy":
            return args[0]
        attrs = {k: v for k, v in item.attrs if k != "dtype"}
        assert item.op.lower is not None
        if item.op.name == "cast":
            return self.cast(build, self.program.items[item.srcs[0]].dtype, item.dtype, args[0])
        out: int = item.op.lower(build, *args, dtype=computed(item.dtype), **attrs)
        return out

    def cast(self, build: Build, old: DType, new: DType, value: int) -> int:
        if old in _HALF and new not in _HALF:
            value = _rounded(build, old, value)
        if computed(old) is not computed(new):
            value = build("cast", computed(new), value)
        if new in _HALF and old is not new:  # an explicit cast rounds
            value = build("cast", dtypes.float32, build("cast", new, value))
        return value

    def constant(self, build: Build, i: int, item: Item) -> int:
        dtype = computed(item.dtype)
        special = item.attr("value")
        if special is not None:
            return build.const(special, dtype)
        if i not in self.scalars:
            self.scalars.append(i)
        return build("scalar", dtype, extra=self.scalars.index(i))

    def number_types(self) -> tuple[DType, ...]:
        """Element types of the numbers passed at launch: float32 beside half types, in which the
        recording layer has rounded already what has to be.
        """
        return tuple([computed(self.program.items[i].dtype) for i in self.scalars])

    def load(
        self, build: Build, i: int, coords: Coords, guards: tuple[Guard, ...], fill: Any
    ) -> int:
        item = self.program.items[i]
        seen = view(self.program, i, self.stored) if item.op.kind == "movement" else None
        strides = array_strides(item) if seen is None else seen.strides
        address = _combined(coords, strides, len(self.sizes))
        if seen is not None:  # read the array that the stored view looks at
            i, address = seen.base, address.scaled(1, seen.offset)
        number = self.access(Access(i, address, guards, fill))
        value = build("load", item.dtype, extra=number)
        return build("cast", dtypes.float32, value) if item.dtype in _HALF else value

    def access(self, access: Access) -> int:
        found = self.access_keys.get(access.key)
        if found is None:
            self.accesses.append(access)
            found = self.access_keys[access.key] = len(self.accesses) - 1
        return found

    def moved(self, build: Build, start: int, coords: Coords) -> int:
        """Follows movement operators down to a stored array, or to the expression they move."""
        items = self.program.items
        guards: tuple[Guard, ...] = ()
        fill: Any = 0
        i = start
        while True:
            item = items[i]
            if i != start and i in self.members:
                break
            if self.loadable(i):
                return self.load(build, i, coords, guards, fill)
            if item.op.name == "copy" and i not in self.members:
                i = item.srcs[0]
                continue
            if item.op.kind != "movement":
                break
            src = item.srcs[0]
            if item.op.name == "reshape":
                contiguous = self.flat_source(src)
                if contiguous is not None and not (len(items[contiguous].shape) == 0):
                    flat = flatten(coords, item.shape, len(self.sizes))
                    return self.load_flat(build, contiguous, flat, guards, fill)
            try:
                coords, more = pull(
                    item.op.name, dict(item.attrs), coords, item.shape, items[src].shape, self.sizes
                )
            except NotAffine:
                raise NeedBoundary(src, self.root) from None
            if item.op.name == "pad":
                value = item.attr("value")
                if guards and repr(value) != repr(fill):
                    raise NeedBoundary(i, self.root)
                fill = value
            guards += more
            i = src
        if guards:
            raise NeedBoundary(i, self.root)
        return self.value(build, i, coords)

    def flat_source(self, i: int) -> int | None:
        """The C-contiguous stored array that ``i`` only reshapes, if it does."""
        while True:
            item = self.program.items[i]
            if i in self.members:
                return None
            if self.loadable(i):
                if item.op.kind == "movement" and view(self.program, i, self.stored) is not None:
                    return None
                whole = item.op.name != "buffer" or item.attr("strides") is None
                return i if whole else None
            if item.op.name != "reshape":
                return None
            i = item.srcs[0]

    def load_flat(
        self, build: Build, i: int, flat: Affine, guards: tuple[Guard, ...], fill: Any
    ) -> int:
        item = self.program.items[i]
        value = build("load", item.dtype, extra=self.access(Access(i, flat, guards, fill)))
        return build("cast", dtypes.float32, value) if item.dtype in _HALF else value

    def position(self, build: Build, index: Affine, dtype: DType) -> int:
        """An affine index as a value."""
        i64 = dtypes.int64
        out = build("meta", i64, extra=self.integer(index.const))
        for loop, coef in enumerate(index.coefs):
            if coef:
                term = build("loop", i64, extra=loop)
                if coef != 1:
                    term = build("mul", i64, term, build("meta", i64, extra=self.integer(coef)))
                out = build("add", i64, out, term)
        return out if dtype is i64 else build("cast", dtype, out)

    def integer(self, value: int) -> int:
        self.integers.append(value)
        return len(self.integers) - 1

    # --- reductions

    def level(self, i: int) -> int:
        """How many stages of reductions have to be over before item ``i`` can be computed."""
        found = self.levels.get(i)
        if found is None:
            item = self.program.items[i]
            found = 0
            if not self.loadable(i):
                found = max((self.level(s) for s in item.srcs), default=0)
                found += item.op.kind == "reduce"
            self.levels[i] = found
        return found

    def carry(self, build: Build, i: int, coords: Coords) -> int:
        """A reduction fused into this kernel: its result is a carry of its stage."""
        if i not in self.inlined and i not in self.members:
            raise NeedBoundary(i, self.root)
        dtype = computed(self.program.items[i].dtype)
        key = (i, coords)
        if key not in self.carries:
            level = self.level(i) - 1
            if level >= build.level or any(any(c.coefs[self.rows :]) for c in coords):
                raise NeedBoundary(i, self.root)
            stage = self.stages.get(level)
            if stage is None:
                stage = self.stages[level] = Build(level)
            self.reduce(stage, i, coords)
            self.carries[key] = (level, len(stage.reduces) - 1)
        level, place = self.carries[key]
        return build("carry", dtype, extra=level * _LEVEL + place)

    def reduce(self, build: Build, i: int, coords: Coords) -> None:
        item = self.program.items[i]
        src = item.srcs[0]
        dims = item.attr("dims")
        space = list(coords)
        folded = tuple(self.program.items[src].shape[d] for d in dims)
        inner = tuple(self.inner_coords)
        if folded != self.inner_shape:
            inner = self.reshaped(i, inner, self.inner_shape, folded)
        for d, c in zip(dims, inner, strict=True):
            space[d] = c
        value = self.value(build, src, tuple(space))
        op = item.op.name
        if op.startswith("arg"):
            index = flatten(inner, folded, len(self.sizes))
            where = self.position(build, index, dtypes.int64)
            build.reduces.append(form.Reduce(op, value, where))
        else:
            build.reduces.append(form.Reduce({"amax": "max", "amin": "min"}.get(op, op), value))

    def reshaped(
        self, i: int, coords: Coords, old: tuple[int, ...], new: tuple[int, ...]
    ) -> Coords:
        """Coordinates over ``old`` as coordinates over ``new``, which has as many elements."""
        try:
            if _count(old) != _count(new):
                raise NotAffine
            return reshape(coords, old, new, self.sizes)
        except NotAffine:
            raise NeedBoundary(i, self.root) from None

    # --- the whole kernel

    def full(self, i: int) -> bool:
        """Whether a member has an element for each step of the inner loops."""
        return self.count > 1 and 0 < self.elements == _count(self.program.items[i].shape)

    def is_read(self, i: int) -> bool:
        """Whether movements alone lead from memory to an item."""
        items = self.program.items
        while not self.loadable(i):
            if i in self.members or items[i].op.kind != "movement":
                return False
            (i,) = items[i].srcs
        return True

    def place(self, i: int) -> Coords:
        """Where in its own shape a member lies at each point of the kernel's space."""
        found = self.places.get(i)
        if found is None:
            item = self.program.items[i]
            shape, name = item.shape, item.op.name
            if name in ("permute", "reshape") and not self.is_read(item.srcs[0]):
                coords, space = self.place(item.srcs[0]), self.program.items[item.srcs[0]].shape
                if name == "permute":
                    coords, space = tuple([coords[d] for d in item.attr("dims")]), shape
            elif self.full(i):
                coords, space = self.space, self.space_shape
            else:
                coords, space = self.row_coords, self.row_shape
            found = coords if space == shape else self.reshaped(i, coords, space, shape)
            self.places[i] = found
        return found

    def run(self, loops: Loops, rows: tuple[int, ...], anchor: Item | None) -> Lowered:
        """The kernel over ``rows`` and, where there is one, the reduced space of ``anchor``."""
        self.sizes = loops.sizes
        self.rows = loops.outer_count
        every = loops.coords()
        self.row_shape, self.row_coords = rows, tuple(every[: loops.split_at])
        self.inner_coords = every[loops.split_at :]
        self.places: dict[int, Coords] = {}
        self.inner_shape: tuple[int, ...] = ()
        if anchor is not None:
            source = self.program.items[anchor.srcs[0]].shape
            dims = anchor.attr("dims")
            self.inner_shape = tuple(source[d] for d in dims)
            if rows == anchor.shape:
                space = list(self.row_coords)
                for d, c in zip(dims, self.inner_coords, strict=True):
                    space[d] = c
                self.space, self.space_shape = tuple(space), source
        self.count = _count(self.inner_shape)
        self.elements = _count(rows) * self.count
        point, whole = Build(_LAST), Build(_LAST)
        if len(self.members) > 1:  # operands first: expressions are walked recursively
            for i in sorted(self.members):
                self.root = i
                if self.program.items[i].op.kind == "reduce":
                    self.value(point, i, self.place(i))
        for number, i in enumerate(self.roots):
            self.root = i
            coords, item = self.place(i), self.program.items[i]
            build = whole if self.full(i) else point
            value = self.value(build, i, coords)
            if item.dtype in _HALF:
                value = build("cast", item.dtype, value)
            address = _combined(coords, strides_of(item.shape), len(self.sizes))
            access = self.access(Access(-1 - number, address, (), 0))
            build.stores.append(form.Store(access, value))
        if whole.stores and self.stages:
            keep(self, [self.stages[level] for level in sorted(self.stages)], whole)
        return pack(self, loops, self.finished(point, whole))

    def finished(self, point: Build, whole: Build) -> tuple[form.Stage, ...]:
        """The stages in order, with carries numbered through."""
        first: dict[int, int] = {}
        count = 0
        for level in sorted(self.stages):
            first[level] = count
            count += len(self.stages[level].reduces)
        stages = []
        for build in [self.stages[level] for level in sorted(self.stages)] + [point, whole]:
            if not build.reduces and not build.stores:
                continue
            kind = "reduce" if build.reduces else "point" if build is point else "map"
            code = []
            for c in build.code:
                if c.op == "carry":
                    level, place = divmod(int(c.extra or 0), _LEVEL)
                    c = form.Inst(c.op, c.dtype, c.args, first[level] + place)
                code.append(c)
            stages.append(form.Stage(kind, tuple(code), tuple(build.reduces), tuple(build.stores)))
        return tuple(stages)


def _combined(coords: Coords, strides: tuple[int, ...], loops: int) -> Affine:
    """The address of ``coords`` in an array with these strides."""
    coefs, const = [0] * loops, 0
    for (terms, offset), stride in zip(coords, strides, strict=True):
        const += offset * stride
        for k, c in enumerate(terms):
            if c:
                coefs[k] += c * stride
    return Affine(tuple(coefs), const)


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def lower(
    program: Program,
    roots: tuple[int, ...],
    hidden: tuple[int, ...],
    stored: frozenset[int],
    inlined: frozenset[int] = frozenset(),
) -> Lowered:
    """The kernel that computes the items ``roots``, reading the items in ``stored``.

    Args:
        hidden: further members (see the module's title), which only this kernel reads.
        stored: everything that has memory of its own, the roots too.
        inlined: reductions that are computed inside the kernel of their reader.

    Raises:
        NeedBoundary: another item has to be stored first.
    """
    return remembered(_lower, program, roots, hidden, stored, inlined)


def _lower(
    program: Program,
    roots: tuple[int, ...],
    hidden: tuple[int, ...],
    stored: frozenset[int],
    inlined: frozenset[int],
) -> Lowered:
    members = frozenset((*roots, *hidden))
    reduces = _fused_reductions(program, members, stored, inlined)
    rows, inner, anchor = program.items[roots[0]].shape, (), None
    if reduces:
        anchor = program.items[min(reduces)]
        source = program.items[anchor.srcs[0]]
        inner = tuple(source.shape[d] for d in anchor.attr("dims"))
        if len(members) > 1:
            rows = anchor.shape
    loops = Loops(rows, inner)
    for _ in range(64):
        try:
            return KernelBuilder(program, roots, members, stored, inlined).run(loops, rows, anchor)
        except Split as split:
            loops.split(split.loop, split.minor)
    raise NeedBoundary(program.items[roots[0]].srcs[0], roots[0])


def _fused_reductions(
    program: Program, members: frozenset[int], stored: frozenset[int], inlined: frozenset[int]
) -> list[int]:
    found: list[int] = []
    seen = set()
    stack = list(members)
    while stack:
        i = stack.pop()
        if i in seen or (i in stored and i not in members):
            continue
        seen.add(i)
        item = program.items[i]
        if item.op.kind == "reduce":
            if i in members or i in inlined:
                found.append(i)
            if len(members) == 1:
                continue
        stack.extend(item.srcs)
    return found
