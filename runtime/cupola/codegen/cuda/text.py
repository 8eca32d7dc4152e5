"""``Kernel`` and ``Variant`` to CUDA C text."""

from __future__ import annotations

import re

from cupola import dtypes
from cupola.codegen.cuda.body import Addresses, Body, Kept, by_position
from cupola.codegen.cuda.held import held
from cupola.codegen.cuda.prelude import prelude
from cupola.codegen.cuda.types import (
    NARROW,
    constant,
    highest,
    lowest,
    memory_type,
    value_type,
    work_type,
)
from cupola.codegen.cuda.variant import Variant, words
from cupola.codegen.form import Inst, Kernel, Reduce, Stage
from cupola.dtypes import dtype

SLOT = 16
"""Bytes of scratch memory for one carry of one outer iteration."""

COLUMNS = 512
"""Threads that a block of columns has at most: they may hold 128 registers each."""


def entry(kernel: Kernel, variant: Variant) -> str:
    """Name of the function: the kernel's, as a C name that no device function has."""
    name = "kernel_" + re.sub(r"\W", "_", kernel.name)
    return name if variant.task == "whole" else f"{name}_{variant.task}{variant.first}"


def carry_types(kernel: Kernel) -> list[dtype]:
    """Type of each carry, numbered through all stages."""
    return [
        dtypes.int64 if r.op in ("argmax", "argmin") else stage.code[r.value].dtype
        for stage in kernel.stages
        for r in stage.reduces
    ]


def source(kernel: Kernel, variant: Variant) -> str:
    """A self-contained CUDA C translation unit: one function with one by-value parameter.

    Raises:
        NotImplementedError: an operation or element type that the dialect lacks.
    """
    return Writer(kernel, variant).text()


class Writer:
    def __init__(self, kernel: Kernel, variant: Variant) -> None:
        self.kernel = kernel
        self.variant = variant
        self.addresses = Addresses(kernel, variant)
        self.words = words(kernel)
        last = variant.last if variant.last >= 0 else len(kernel.stages)
        self.stages = range(variant.first, last)
        self.carries = carry_types(kernel)
        starts = [0]
        for stage in kernel.stages:
            starts.append(starts[-1] + len(stage.reduces))
        self.starts = starts
        self.held = held(kernel) if variant.held else None

    # -- declarations

    def text(self) -> str:
        k = self.kernel
        types = {*k.buffers, *k.scalars, *(i.dtype for s in k.stages for i in s.code)}
        reduces = any(s.reduces for s in k.stages)
        parts = [prelude(types, reduces), self._parameters()]
        for n, stage in enumerate(k.stages):
            parts += [
                self._reduction(self.starts[n] + m, r, stage) for m, r in enumerate(stage.reduces)
            ]
        return "\n".join([*parts, *self.function()])

    def function(self) -> list[str]:
        flat = self.variant.mode == "flat"
        name = entry(self.kernel, self.variant)
        bound = {"flat": 256, "col": COLUMNS, "row": self.variant.threads}[self.variant.mode]
        head = f'extern "C" __global__ void __launch_bounds__({bound}) {name}(const P p) {{'
        thread = f"({self.addresses.index})blockIdx.x * blockDim.x + threadIdx.x"
        return [head, *(self._flat(thread) if flat else self._team()), "}", ""]

    def _parameters(self) -> str:
        k = self.kernel
        members = [f"{memory_type(d)}* b{n};" for n, d in enumerate(k.buffers)]
        members += [
            f"{'double' if d.is_floating_point else 'long long'} s{n};"
            for n, d in enumerate(k.scalars)
        ]
        members += [f"long long n{n};" for n in range(k.integers)]
        members += ["char* scratch;", f"{self.addresses.index} v[{self.words.length}];"]
        return "struct P {\n" + "\n".join(members) + "\n};"

    def _reduction(self, carry: int, reduce: Reduce, stage: Stage) -> str:
        d = stage.code[reduce.value].dtype
        work = work_type(d)
        value, take = value_type(d), "to_float(a)" if d.name in NARROW else "a"
        head = f"struct R{carry} {{"
        if reduce.op in ("argmax", "argmin"):
            most = reduce.op == "argmax"
            start = lowest(d) if most else highest(d)
            position = self.addresses.index if by_position(stage, reduce) else "long long"
            best = str(most).lower()
            body = [
                f"typedef best<{work}, {position}> T;",
                f"DEV T start() {{ T r = {{{start}, -1}}; return r; }}",
                f"DEV T pair({value} a, {position} i) {{ T r = {{{take}, i}}; return r; }}",
                f"DEV T next(T r, {value} a, {position} i) {{",
                f"return step<{best}>(r, ({work}){take}, i); }}",
                f"DEV T fold(T a, T b) {{ return better<{best}>(a, b); }}",
                "DEV long long give(T a) { return a.i; }",
            ]
        else:
            one = {"sum": 0, "prod": 1}
            plain = dtypes.float32 if d.name in NARROW else d
            if reduce.op in one:
                start = constant(one[reduce.op], plain)
                fold = f"a {'+' if reduce.op == 'sum' else '*'} b"
            elif reduce.op in ("max", "min"):
                start = lowest(d) if reduce.op == "max" else highest(d)
                sign = ">" if reduce.op == "max" else "<"
                fold = f"nan_{reduce.op}<T>(a, b)" if d.is_floating_point else f"a {sign} b ? a : b"
            else:
                raise NotImplementedError(f"the CUDA dialect has no reduction {reduce.op!r}")
            if d.category < 2:
                fold = f"(T)({fold})"
            give = f"from_float<{value}>(a)" if d.name in NARROW else "a"
            body = [
                f"typedef {work} T;",
                f"DEV T start() {{ return {start}; }}",
                f"DEV T take({value} a) {{ return {take}; }}",
                f"DEV T fold(T a, T b) {{ return {fold}; }}",
                f"DEV {value} give(T a) {{ return {give}; }}",
            ]
        return "\n".join([head, *body, "};"])

    # -- loops

    def _divided(self, flat: str, loops: range, last: str, pair: int, lanes: int) -> list[str]:
        """Statements that take a flat index apart into loop counters."""
        if not loops:
            return []
        index, out, rest = self.addresses.index, [], flat
        for d in reversed(loops):
            name = self.addresses.loop(d)
            scale = f" * {lanes}" if d == loops[-1] and lanes > 1 else ""
            if d == loops[0]:
                out.append(f"const {index} {name} = {rest}{scale};")
                break
            size = last if d == loops[-1] else f"p.v[{d}]"  # sizes are the first words
            at = pair + 2 * (d - loops[0] - 1)
            if self.variant.wide:
                quotient = f"(long long)((unsigned long long){rest} / (unsigned long long){size})"
            else:
                quotient = f"magic({rest}, p.v[{at}], p.v[{at + 1}])"
            out.append(f"const {index} {name}q = {quotient};")
            out.append(f"const {index} {name} = ({rest} - {name}q * {size}){scale};")
            rest = f"{name}q"
        return out

    def _outer(self, flat: str) -> list[str]:
        last = f"p.v[{self.words.outer_last}]"
        lanes = self.variant.outer_lanes
        return self._divided(flat, range(self.kernel.outer), last, self.words.divide, lanes)

    def _inner(self, flat: str) -> list[str]:
        first = self.kernel.outer
        pair = self.words.divide + 2 * max(0, first - 1)
        loops = range(first, first + self.kernel.inner)
        last, lanes = f"p.v[{self.words.inner_last}]", self.variant.inner_lanes
        return self._divided(flat, loops, last, pair, lanes)

    def _body(self, number: int, addresses: Addresses) -> Body:
        kept = Kept.of(self.held, number) if self.held else Kept()
        return Body(addresses, self.kernel.stages[number], self.carries, self.starts[number], kept)

    def _used(self, addresses: Addresses) -> list[int]:
        return sorted({a for n in self.stages for a in self._body(n, addresses).accesses()})

    def _flat(self, thread: str) -> list[str]:
        index, v = self.addresses.index, self.variant
        used = self._used(self.addresses)
        out = [
            f"const {index} f = {thread};",
            f"if (f >= p.v[{self.words.outer}]) return;",
            *self._outer("f"),
        ]

        def stages(addresses: Addresses) -> list[str]:
            lines = addresses.outer(used)
            for n in self.stages:
                lines += ["{", *self._body(n, addresses).lines(), "}"]
            return lines

        if not v.tail:
            return out + stages(self.addresses)
        single = Addresses(self.kernel, Variant("flat", wide=v.wide))
        return [
            *out,
            f"if (o0 + {v.lanes} <= p.v[0]) {{",
            *stages(self.addresses),
            "} else {",
            f"const {index} start = o0;",
            f"for ({index} o0 = start; o0 < p.v[0]; ++o0) {{",
            *stages(single),
            "} }",
        ]

    def _team(self) -> list[str]:
        index, v, w = self.addresses.index, self.variant, self.words
        lane, across = ("x", "y") if v.mode == "row" else ("y", "x")
        out = [
            "extern __shared__ __align__(16) char shared[];",
            f"const {index} lane = threadIdx.{lane}, team = blockDim.{lane};",
            f"{index} of = ({index})blockIdx.x * blockDim.{across} + threadIdx.{across};",
            # Threads past the end repeat the last iteration without storing: all reach every
            # barrier.
            f"const bool live = of < p.v[{w.outer}];",
            f"if (!live) of = p.v[{w.outer}] - 1;",
            f"const long long all = (long long)p.v[{w.outer}] * {v.outer_lanes};",
            *self._outer("of"),
            *self.addresses.outer(self._used(self.addresses)),
        ]
        if v.task in ("part", "each"):
            out += [
                f"const {index} from = ({index})blockIdx.y * p.v[{w.stretch}];",
                f"{index} to = from + p.v[{w.stretch}];",
                f"if (to > p.v[{w.inner}]) to = p.v[{w.inner}];",
            ]
        else:
            out += [f"const {index} from = 0, to = p.v[{w.inner}];"]
        wanted = {
            int(i.extra or 0)
            for n in self.stages
            for i in self.kernel.stages[n].code
            if i.op == "carry"
        }
        for c in sorted(c for c in wanted if c < self.starts[self.stages[0]]):
            out.append(f"{value_type(self.carries[c])} c{c}[{v.outer_lanes}];")
            out += self._lanes(f"c{c}[j] = {self._slot(c)};")
        if self.held is not None:
            for k, d in enumerate(self.held.types):
                out.append(f"{value_type(d)} k{k}[{v.held}][{v.lanes}];")
        written: set[int] = set()
        for n in self.stages:
            loads = {self.kernel.accesses[int(i.extra or 0)].buffer for i in self._loads(n)}
            if loads & written:
                out.append(
                    "__syncthreads();"
                )  # an earlier stage of other threads wrote what this one reads
            out += self._stage(n)
            written |= {self.kernel.accesses[s.access].buffer for s in self.kernel.stages[n].stores}
        return out

    def _loads(self, number: int) -> list[Inst]:
        return [i for i in self.kernel.stages[number].code if i.op == "load"]

    def _lanes(self, statement: str) -> list[str]:
        return [
            "#pragma unroll",
            f"for (int j = 0; j < {self.variant.outer_lanes}; ++j) {{ {statement} }}",
        ]

    def _slot(self, carry: int) -> str:
        """Where a carry lies in scratch memory: neighbours side by side."""
        return self._scratch(value_type(self.carries[carry]), str(carry))

    def _part(self, carry: int, first: int, part: str) -> str:
        row = f"{len(self.carries)} + {carry - first} * (long long)p.v[{self.words.parts}] + {part}"
        return self._scratch(f"R{carry}::T", row)

    def _scratch(self, kind: str, row: str) -> str:
        place = f"(long long)of * {self.variant.outer_lanes} + j"
        return f"(({kind}*)(p.scratch + {SLOT} * all * ({row})))[{place}]"

    def _stage(self, number: int) -> list[str]:
        stage, v = self.kernel.stages[number], self.variant
        body = self._body(number, self.addresses)
        if stage.kind == "point":
            return ["{", *body.lines("live && lane == 0"), "}"]
        if stage.kind == "map":
            return self._walk([*self._inner("f"), *body.lines("live")])
        first = self.starts[number]
        carries = range(first, first + len(stage.reduces))
        joins = v.task == "join"
        lanes = v.lanes if not joins else 1
        out = [f"R{c}::T r{c}[{lanes}];" for c in carries]
        starts = " ".join(f"r{c}[j] = R{c}::start();" for c in carries)
        out += ["#pragma unroll", f"for (int j = 0; j < {lanes}; ++j) {{ {starts} }}"]
        if joins:
            out.append(
                f"for ({self.addresses.index} f = lane; f < p.v[{self.words.parts}]; f += team) {{"
            )
            out.append("const int j = 0;")
            out += [f"r{c}[0] = R{c}::fold(r{c}[0], {self._part(c, first, 'f')});" for c in carries]
            out.append("}")
        else:
            unroll = [] if v.held else ["#pragma unroll 4"]
            out += [*unroll, *self._walk([*self._inner("f"), *body.lines("live")])]
        for c, reduce in zip(carries, stage.reduces):
            out += self._finish(c, first, lanes, body, reduce)
        return out

    def _walk(self, body: list[str]) -> list[str]:
        """The loop over a thread's share of the inner range."""
        index = self.addresses.index
        if not self.variant.held:
            return [f"for ({index} f = from + lane; f < to; f += team) {{", *body, "}"]
        return [
            "#pragma unroll",
            f"for (int h = 0; h < {self.variant.held}; ++h) {{",
            f"const {index} f = lane + h * team;",
            "if (f < to) {",
            *body,
            "} }",
        ]

    def _finish(self, c: int, first: int, lanes: int, body: Body, reduce: Reduce) -> list[str]:
        """Folds a team's accumulators into the carry, or into the part's place in scratch."""
        v = self.variant
        out = []
        if v.mode == "row" and lanes > 1:
            out += [
                "#pragma unroll",
                f"for (int j = 1; j < {lanes}; ++j) r{c}[0] = R{c}::fold(r{c}[0], r{c}[j]);",
            ]
        team = f"team_{v.mode}<R{c}>(r{c}[j], shared)"
        if v.task == "part":
            store = f"if (live && lane == 0) {self._part(c, first, 'blockIdx.y')} = whole;"
            return out + self._lanes(f"const R{c}::T whole = {team}; {store}")
        value = value_type(self.carries[c])
        out.append(f"{value} c{c}[{v.outer_lanes}];")
        if reduce.op in ("argmax", "argmin") and by_position(body.stage, reduce):
            out += self._index(c, team, body, reduce)
        else:
            out += self._lanes(f"c{c}[j] = R{c}::give({team});")
        if v.task == "join":
            out += self._lanes(f"if (live && lane == 0) {self._slot(c)} = c{c}[j];")
        return out

    def _index(self, c: int, team: str, body: Body, reduce: Reduce) -> list[str]:
        """The index at the position that an arg reduction has found."""
        index, lanes = self.addresses.index, self.variant.inner_lanes
        own = f"const int j = (int)(at - ag * {lanes});" if self.variant.mode == "row" else ""
        return [
            *("#pragma unroll", f"for (int j = 0; j < {self.variant.outer_lanes}; ++j) {{"),
            f"const {index} at = {team}.i, ag = at / {lanes};",
            *(f"long long& out = c{c}[j];", "{", own),
            *self._inner("ag"),
            *body.index(reduce),
            f"out = t{reduce.index};",
            "} }",
        ]
