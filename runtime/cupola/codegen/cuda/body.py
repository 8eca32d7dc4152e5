"""The code of one stage, for all lanes of a thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from cupola import dtypes
from cupola.codegen.cuda.expr import cast, expression
from cupola.codegen.cuda.held import Held
from cupola.codegen.cuda.types import constant, memory_type, value_type
from cupola.codegen.cuda.variant import Variant, layout
from cupola.codegen.form import Affine, Inst, Kernel, Reduce, Stage
from cupola.dtypes import dtype


class Addresses:
    """Writes addresses and guards as C text.

    The part that the outer loops give is computed once (``outer``), the rest in the inner loops
    (``inner``); the term of the lane ``j`` is added where an element is touched.
    """

    def __init__(self, kernel: Kernel, variant: Variant) -> None:
        self.kernel = kernel
        self.variant = variant
        self.index = "long long" if variant.wide else "int"
        self.unsigned = "unsigned long long" if variant.wide else "unsigned"

    def loop(self, number: int) -> str:
        outer = self.kernel.outer
        return f"o{number}" if number < outer else f"i{number - outer}"

    def lane_loop(self, inside: bool) -> int:
        """The loop that the lanes run along: -1 if the code has a single lane."""
        if self.variant.mode == "row":
            return self.kernel.outer + self.kernel.inner - 1 if inside and self.kernel.inner else -1
        return self.kernel.outer - 1

    def _terms(self, affine: Affine, positions: tuple[int, ...], loops: range) -> str:
        text = ""
        for d in loops:
            stride = affine.strides[d]
            if stride == 1:
                text += f" + {self.loop(d)}"
            elif stride is None:
                text += f" + p.v[{positions[d]}] * {self.loop(d)}"
            elif stride != 0:
                text += f" + {stride} * {self.loop(d)}"
        return text

    def _each(self, access: int) -> list[tuple[str, int, Affine, tuple[int, ...]]]:
        a, where = self.kernel.accesses[access], layout(self.kernel).accesses[access]
        found = [(f"a{access}", where.const, a.address, where.strides)]
        for k, (g, (const, _, strides)) in enumerate(zip(a.guards, where.guards)):
            found.append((f"a{access}g{k}", const, g, strides))
        return found

    def outer(self, accesses: list[int]) -> list[str]:
        loops = range(self.kernel.outer)
        return [
            f"const {self.index} {name} = p.v[{const}]{self._terms(affine, at, loops)};"
            for a in accesses
            for name, const, affine, at in self._each(a)
        ]

    def inner(self, accesses: list[int]) -> list[str]:
        loops = range(self.kernel.outer, self.kernel.outer + self.kernel.inner)
        return [
            f"const {self.index} {name}i = {name}{self._terms(affine, at, loops)};"
            for a in accesses
            for name, _, affine, at in self._each(a)
        ]

    def _at_lane(self, affine: Affine, positions: tuple[int, ...], loop: int, lane: str) -> str:
        stride = affine.strides[loop] if loop >= 0 else 0
        if stride == 0 or not lane:
            return ""
        return (
            f" + {lane}"
            if stride == 1
            else f" + {f'p.v[{positions[loop]}]' if stride is None else stride} * {lane}"
        )

    def place(
        self, access: int, inside: bool, lane: str, indirect: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """The element offset and the condition that it is present (empty: always)."""
        a, where = self.kernel.accesses[access], layout(self.kernel).accesses[access]
        loop, end = self.lane_loop(inside), "i" if inside else ""
        text = f"a{access}{end}{self._at_lane(a.address, where.strides, loop, lane)}"
        for name, position in zip(indirect, where.indirect):
            text = f"{text} + (long long){name} * p.v[{position}]"
        conditions = []
        for k, (g, (_, bound, strides)) in enumerate(zip(a.guards, where.guards)):
            at = f"a{access}g{k}{end}{self._at_lane(g, strides, loop, lane)}"
            conditions.append(f"({self.unsigned})({at}) < ({self.unsigned})p.v[{bound}]")
        return text, " && ".join(conditions)

    def uniform(self, access: int, inside: bool) -> bool:
        """Whether all lanes touch the same element."""
        a, loop = self.kernel.accesses[access], self.lane_loop(inside)
        if a.indirect:
            return False
        return loop < 0 or all(x.strides[loop] == 0 for x in (a.address, *a.guards))


def _needs(stage: Stage, number: int) -> set[int]:
    found, rest = set(), [number]
    while rest:
        n = rest.pop()
        if n not in found:
            found.add(n)
            rest.extend(stage.code[n].args)
    return found


def by_position(stage: Stage, reduce: Reduce) -> bool:
    """Whether an arg reduction may carry positions, of which the index is worked out at the end.

    Its index is then a function of the loop counters alone, taken to grow with
    them.
    """
    return all(
        stage.code[n].op in ("loop", "meta", "const", "add", "mul", "cast")
        for n in _needs(stage, reduce.index)
    )


@dataclass(frozen=True)
class Kept:
    """One stage's part of ``held.Held``.

    Attributes:
        saves, reads: the kept value by instruction.
        needed: the instructions left to do; None: all.
    """

    saves: dict[int, int] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    needed: frozenset[int] | None = None

    @staticmethod
    def of(held: Held, stage: int) -> Kept:
        """What a stage keeps and reads."""
        return Kept(dict(held.saves[stage]), dict(held.reads[stage]), held.needed[stage])


class Body:
    """Writes one stage; ``folds`` says how the value of each reduction reaches its accumulator."""

    def __init__(
        self,
        addresses: Addresses,
        stage: Stage,
        carries: list[dtype],
        start: int,
        kept: Kept,
    ) -> None:
        self.at = addresses
        self.kernel = addresses.kernel
        self.variant = addresses.variant
        self.stage = stage
        self.carries = carries
        self.start = start  # number of the stage's first carry
        self.kept = kept
        self.inside = stage.kind != "point"
        self.lanes = self.variant.lanes if addresses.lane_loop(self.inside) >= 0 else 1

    def accesses(self) -> list[int]:
        used = {int(i.extra or 0) for i in self.stage.code if i.op == "load"}
        return sorted(used | {s.access for s in self.stage.stores})

    def lines(self, live: str = "") -> list[str]:
        """The stage's code; stores happen only where the condition ``live`` holds."""
        out = [] if not self.inside else self.at.inner(self.accesses())
        inside: list[str] = []
        for n, inst in enumerate(self.stage.code):
            if self.kept.needed is not None and n not in self.kept.needed:
                continue
            if n in self.kept.reads:
                value = f"k{self.kept.reads[n]}[h][j]"
                inside.append(f"const {value_type(inst.dtype)} t{n} = {value};")
            elif inst.op == "load":
                self._load(n, inst, out, inside)
            else:
                kinds = tuple(self.stage.code[a].dtype for a in inst.args)
                text = self._leaf(inst)
                if text is None:
                    text = expression(inst, tuple(f"t{a}" for a in inst.args), kinds)
                inside.append(f"const {value_type(inst.dtype)} t{n} = {text};")
            if n in self.kept.saves:
                inside.append(f"k{self.kept.saves[n]}[h][j] = t{n};")
        for k, store in enumerate(self.stage.stores):
            d = self.kernel.buffers[self.kernel.accesses[store.access].buffer]
            out.append(f"__align__(16) {memory_type(d)} y{k}[{self.lanes}];")
            inside.append(
                f"y{k}[j] = {cast(f't{store.value}', self.stage.code[store.value].dtype, d)};"
            )
        for k, reduce in enumerate(self.stage.reduces):
            c = self.start + k
            value = f"t{reduce.value}"
            # With lanes along the inner loop each lane has its own accumulator: shorter chains.
            if reduce.op not in ("argmax", "argmin"):
                inside.append(f"r{c}[j] = R{c}::fold(r{c}[j], R{c}::take({value}));")
            elif by_position(self.stage, reduce):
                at = f"f * {self.lanes} + j" if self.variant.mode == "row" else "f"
                inside.append(f"r{c}[j] = R{c}::next(r{c}[j], {value}, {at});")
            else:
                inside.append(
                    f"r{c}[j] = R{c}::fold(r{c}[j], R{c}::pair({value}, t{reduce.index}));"
                )
        out += self._over_lanes(inside)
        stores = self._stores()
        if stores:
            out += [f"if ({live}) {{", *stores, "}"] if live else stores
        return out

    def index(self, reduce: Reduce) -> list[str]:
        """The instructions that the index of an arg reduction by position needs."""
        code, lines = self.stage.code, []
        for n in sorted(_needs(self.stage, reduce.index)):
            inst = code[n]
            kinds = tuple(code[a].dtype for a in inst.args)
            text = self._leaf(inst)
            if text is None:
                text = expression(inst, tuple(f"t{a}" for a in inst.args), kinds)
            lines.append(f"const {value_type(inst.dtype)} t{n} = {text};")
        return lines

    def _over_lanes(self, inside: list[str]) -> list[str]:
        return ["#pragma unroll", f"for (int j = 0; j < {self.lanes}; ++j) {{", *inside, "}"]

    def _leaf(self, inst: Inst) -> str | None:
        extra = int(inst.extra) if inst.extra is not None and inst.op != "const" else 0
        if inst.op == "scalar":
            kind = self.kernel.scalars[extra]
            passed = dtypes.float64 if kind.is_floating_point else dtypes.int64
            return cast(f"p.s{extra}", passed, inst.dtype)
        if inst.op == "meta":
            return cast(f"p.n{extra}", dtypes.int64, inst.dtype)
        if inst.op == "loop":
            lane = " + j" if extra == self.at.lane_loop(self.inside) else ""
            return f"({value_type(inst.dtype)})({self.at.loop(extra)}{lane})"
        if inst.op == "carry":
            # Carries have a lane each only where the lanes run along the outer loop.
            j = "j" if self.variant.mode != "row" else "0"
            return cast(f"c{extra}[{j}]", self.carries[extra], inst.dtype)
        return None

    def _load(self, n: int, inst: Inst, before: list[str], inside: list[str]) -> None:
        access = int(inst.extra or 0)
        a = self.kernel.accesses[access]
        d = self.kernel.buffers[a.buffer]
        fill = constant(a.fill, d)
        memory, value = memory_type(d), value_type(inst.dtype)
        if access in self.variant.vectors and self.lanes > 1 and not a.indirect:
            place, present = self.at.place(access, self.inside, "")
            before.append(f"__align__(16) {memory} x{n}[{self.lanes}];")
            move = f"copy<{memory}, {self.lanes}>(x{n}, p.b{a.buffer} + ({place}));"
            if present:
                filling = f"for (int j = 0; j < {self.lanes}; ++j) x{n}[j] = {fill};"
                move = f"if ({present}) {move} else {{\n#pragma unroll\n{filling} }}"
            before.append(move)
            text = f"x{n}[j] != 0" if d is dtypes.bool else f"x{n}[j]"
            inside.append(f"const {value} t{n} = {cast(f'({text})', d, inst.dtype)};")
            return
        uniform = self.at.uniform(access, self.inside)
        indirect = tuple(f"t{k}" for k in inst.args)
        place, present = self.at.place(access, self.inside, "" if uniform else "j", indirect)
        text = f"p.b{a.buffer}[{place}]"
        if d is dtypes.bool:
            text = f"{text} != 0"
        if present:
            text = f"{present} ? {text} : {fill}"
        text = f"const {value} t{n} = {cast(f'({text})', d, inst.dtype)};"
        (before if uniform else inside).append(text)

    def _stores(self) -> list[str]:
        out = []
        for k, store in enumerate(self.stage.stores):
            a = self.kernel.accesses[store.access]
            d = self.kernel.buffers[a.buffer]
            if store.access in self.variant.vectors and self.lanes > 1:
                place, _ = self.at.place(store.access, self.inside, "")
                out.append(
                    f"copy<{memory_type(d)}, {self.lanes}>(p.b{a.buffer} + ({place}), y{k});"
                )
            else:
                place, _ = self.at.place(store.access, self.inside, "j")
                out += self._over_lanes([f"p.b{a.buffer}[{place}] = y{k}[j];"])
        return out
