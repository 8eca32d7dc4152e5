"""Lowering: one item of a program, with everything fused into it, becomes a kernel in the lowered
loop form.
"""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.codegen import form
from cupola.codegen.pack import pack
from cupola.dtypes import dtype as DType
from cupola.ir.affine import Affine, Coords, NotAffine, Split, zero
from cupola.ir.movement import Guard, pull
from cupola.ir.program import Item, Lowered, NeedBoundary, Program, StridedView, strides_of

_BOOL_MACHINE = {"mul": "and", "add": "or", "max": "or", "min": "and"}
_HALF = (dtypes.float16, dtypes.bfloat16)


def computed(dtype: DType) -> DType:
    """The type in which values of ``dtype`` are computed: half types in float32."""
    return dtypes.float32 if dtype in _HALF else dtype


class Loops:
    """The loop nest: which loops make up each dimension of the root (outer) and of the reduced
    space (inner).
    """

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...]) -> None:
        self.dims = [[n] for n in outer] + [[n] for n in inner]
        self.split_at = len(outer)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(n for parts in self.dims for n in parts)

    @property
    def outer_count(self) -> int:
        return sum(len(parts) for parts in self.dims[: self.split_at])

    def split(self, loop: int, minor: int) -> None:
        """Replaces a loop by a major and a minor one."""
        for parts in self.dims:
            if loop < len(parts):
                parts[loop : loop + 1] = [parts[loop] // minor, minor]
                return
            loop -= len(parts)
        raise IndexError(loop)

    def coords(self) -> list[Affine]:
        """The index of every dimension as an affine function of the loops."""
        total = len(self.sizes)
        out = []
        position = 0
        for parts in self.dims:
            coefs = [0] * total
            step = 1
            for k in range(len(parts) - 1, -1, -1):
                coefs[position + k] = step if parts[k] != 1 else 0
                step *= parts[k]
            position += len(parts)
            out.append(Affine(tuple(coefs), 0))
        return out


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

    def __init__(self, kernel: KernelBuilder, code: list[form.Inst]) -> None:
        self.kernel = kernel
        self.code = code
        self.known: dict[form.Inst, int] = {}

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


class KernelBuilder:
    """One attempt at lowering with a given loop nest."""

    def __init__(
        self, program: Program, root: int, stored: frozenset[int], inlined: frozenset[int]
    ) -> None:
        self.program = program
        self.root = root
        self.stored = stored
        self.inlined = inlined
        self.accesses: list[Access] = []
        self.access_keys: dict[Any, int] = {}
        self.scalars: list[int] = []
        self.integers: list[int | tuple[str, Affine]] = []
        self.carries: dict[Any, tuple[int, DType]] = {}

    # --- expressions ---

    def value(self, build: Build, i: int, coords: Coords) -> int:
        """The instruction that yields item ``i`` at ``coords`` (computed type)."""
        key = (i, coords)
        memo = self.memo[id(build)]
        found = memo.get(key)
        if found is None:
            found = memo[key] = self.expand(build, i, coords)
        return found

    def expand(self, build: Build, i: int, coords: Coords) -> int:
        item = self.program.items[i]
        kind = item.op.kind
        if i in self.stored and i != self.root:
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

    def elementwise(self, build: Build, item: Item, coords: Coords) -> int:
        args = [self.value(build, s, coords) for s in item.srcs]
        attrs = {k: v for k, v in item.attrs if k != "dtype"}
        assert item.op.lower is not None
        if item.op.name == "cast":
            return self.cast(build, self.program.items[item.srcs[0]].dtype, item.dtype, args[0])
        out: int = item.op.lower(build, *args, dtype=computed(item.dtype), **attrs)
        return out

    def cast(self, build: Build, old: DType, new: DType, value: int) -> int:
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

    def load(
        self, build: Build, i: int, coords: Coords, guards: tuple[Guard, ...], fill: Any
    ) -> int:
        item = self.program.items[i]
        seen = view(self.program, i, self.stored) if item.op.kind == "movement" else None
        strides = _array_strides(item) if seen is None else seen.strides
        address = zero(len(self.sizes))
        for c, s in zip(coords, strides, strict=True):
            address = address.plus(c.scaled(s))
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

    def moved(self, build: Build, i: int, coords: Coords) -> int:
        """Follows movement operators down to a stored array, or to the expression they move."""
        items = self.program.items
        guards: tuple[Guard, ...] = ()
        fill: Any = 0
        while True:
            item = items[i]
            if i in self.stored and i != self.root:
                return self.load(build, i, coords, guards, fill)
            if item.op.kind != "movement":
                break
            src = item.srcs[0]
            if item.op.name == "reshape":
                contiguous = self.flat_source(src)
                if contiguous is not None and not (len(items[contiguous].shape) == 0):
                    from cupola.ir.affine import flatten

                    flat = flatten(coords, item.shape, len(self.sizes))
                    return self.load_flat(build, contiguous, flat, guards, fill)
            try:
                coords, more = pull(
                    item.op.name, dict(item.attrs), coords, item.shape, items[src].shape, self.sizes
                )
            except NotAffine:
                raise NeedBoundary(src) from None
            if item.op.name == "pad":
                value = item.attr("value")
                if guards and repr(value) != repr(fill):
                    raise NeedBoundary(i)
                fill = value
            guards += more
            i = src
        if guards:
            raise NeedBoundary(i)
        return self.value(build, i, coords)

    def flat_source(self, i: int) -> int | None:
        """The C-contiguous stored array that ``i`` only reshapes, if it does."""
        while True:
            item = self.program.items[i]
            if i in self.stored and i != self.root:
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

    # --- reductions ---

    def carry(self, build: Build, i: int, coords: Coords) -> int:
        """A reduction fused into this kernel: its result is a carry of the reduce stage."""
        if i not in self.inlined and i != self.root:
            raise NeedBoundary(i)
        key = (i, coords)
        dtype = computed(self.program.items[i].dtype)
        if key not in self.carries:
            if self.reduce_build is None or build is self.reduce_build:
                raise NeedBoundary(i)
            self.reduce(i, coords)
        return build("carry", dtype, extra=self.carries[key][0])

    def reduce(self, i: int, coords: Coords) -> None:
        item = self.program.items[i]
        src = item.srcs[0]
        dims = item.attr("dims")
        assert self.reduce_build is not None
        space = list(coords)
        inner = self.inner_coords
        if tuple(self.program.items[src].shape[d] for d in dims) != self.inner_shape:
            raise NeedBoundary(i)
        for d, c in zip(dims, inner, strict=True):
            space[d] = c
        value = self.value(self.reduce_build, src, tuple(space))
        op = item.op.name
        if op.startswith("arg"):
            shape = tuple(self.program.items[src].shape[d] for d in dims)
            from cupola.ir.affine import flatten

            where = self.position(
                self.reduce_build, flatten(tuple(inner), shape, len(self.sizes)), dtypes.int64
            )
            reduce = form.Reduce(op, value, where)
        else:
            reduce = form.Reduce({"amax": "max", "amin": "min"}.get(op, op), value)
        self.reduces.append(reduce)
        self.carries[(i, coords)] = (len(self.reduces) - 1, item.dtype)

    # --- the whole kernel ---

    def run(self, loops: Loops, inner_shape: tuple[int, ...]) -> Lowered:
        self.sizes = loops.sizes
        self.memo: dict[int, dict[Any, int]] = {}
        self.inner_shape = inner_shape
        every = loops.coords()
        self.inner_coords = every[loops.split_at :]
        root = self.program.items[self.root]
        reduce_code: list[form.Inst] = []
        point_code: list[form.Inst] = []
        self.reduces: list[form.Reduce] = []
        self.reduce_build = Build(self, reduce_code) if inner_shape else None
        point = Build(self, point_code)
        for b in (self.reduce_build, point):
            self.memo[id(b)] = {}
        coords = tuple(every[: loops.split_at])
        value = self.value_of_root(point, root, coords)
        if root.dtype in _HALF:
            value = point("cast", root.dtype, value)
        address = zero(len(self.sizes))
        for c, s in zip(coords, strides_of(root.shape), strict=True):
            address = address.plus(c.scaled(s))
        store = self.access(Access(-1, address, (), 0))
        stages = []
        if self.reduces:
            stages.append(form.Stage("reduce", tuple(reduce_code), tuple(self.reduces)))
        stages.append(form.Stage("point", tuple(point_code), (), (form.Store(store, value),)))
        return pack(self, loops, tuple(stages))

    def value_of_root(self, build: Build, root: Item, coords: Coords) -> int:
        if root.op.kind == "movement":
            return self.moved(build, self.root, coords)
        return self.expand(build, self.root, coords)


def lower(
    program: Program, root: int, stored: frozenset[int], inlined: frozenset[int] = frozenset()
) -> Lowered:
    """The kernel that computes item ``root``, reading the items in ``stored``.

    ``inlined`` names reductions that are computed inside this kernel.

    Raises:
        NeedBoundary: another item has to be stored first.
    """
    item = program.items[root]
    reduces = _fused_reductions(program, root, stored, inlined)
    inner: tuple[int, ...] = ()
    if reduces:
        first = program.items[reduces[0]]
        source = program.items[first.srcs[0]]
        inner = tuple(source.shape[d] for d in first.attr("dims"))
    loops = Loops(item.shape, inner)
    for _ in range(64):
        try:
            return KernelBuilder(program, root, stored, inlined).run(loops, inner)
        except Split as split:
            loops.split(split.loop, split.minor)
    raise NeedBoundary(item.srcs[0])


def _fused_reductions(
    program: Program, root: int, stored: frozenset[int], inlined: frozenset[int]
) -> list[int]:
    found: list[int] = []
    seen = set()
    stack = [root]
    while stack:
        i = stack.pop()
        if i in seen or (i in stored and i != root):
            continue
        seen.add(i)
        item = program.items[i]
        if item.op.kind == "reduce":
            if i == root or i in inlined:
                found.append(i)
            continue
        stack.extend(item.srcs)
    return found


def view(program: Program, i: int, stored: frozenset[int]) -> StridedView | None:
    """Item ``i`` as strides over a stored array, if movement alone leads there; None if it has to
    be copied.
    """
    if i in program.copied:
        return None
    key = (i, stored)
    if key not in program.views:
        program.views[key] = _view(program, i, stored)
    found: StridedView | None = program.views[key]
    return found


def _view(program: Program, i: int, stored: frozenset[int]) -> StridedView | None:
    items = program.items
    loops = Loops(items[i].shape, ())
    coords: Coords = tuple(loops.coords())
    j = i
    offset = 0
    strides: tuple[int, ...] = ()
    try:
        while True:
            item = items[j]
            if item.op.kind != "movement":
                return None
            src = item.srcs[0]
            coords, guards = pull(
                item.op.name, dict(item.attrs), coords, item.shape, items[src].shape, loops.sizes
            )
            if guards:
                return None
            j = src
            if j in stored:
                through = view(program, j, stored) if items[j].op.kind == "movement" else None
                if through is not None:
                    j, offset, strides = through
                else:
                    strides = _array_strides(items[j])
                break
    except (Split, NotAffine):
        return None
    address = zero(len(loops.sizes))
    for c, s in zip(coords, strides, strict=True):
        address = address.plus(c.scaled(s))
    return StridedView(j, address.const + offset, address.coefs)


def _array_strides(item: Item) -> tuple[int, ...]:
    strides = item.attr("strides") if item.op.name == "buffer" else None
    return strides_of(item.shape) if strides is None else strides
