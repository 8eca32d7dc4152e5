"""Computes kernels in the loop form with NumPy: what generated code must agree with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from cupola import dtypes as D
from cupola.codegen.form import Access, Affine, Inst, Kernel, Reduce, Stage, Store, meta_layout

HALF = (D.float16, D.bfloat16)


def register(d: D.dtype) -> np.dtype:
    return np.dtype(np.float32) if d in HALF else d.np


def _trunc_div(x: Any, y: Any) -> Any:
    safe = np.where(y == 0, 1, y)
    q = np.abs(x.astype(object)) // np.abs(safe.astype(object))
    q = np.where((x < 0) != (safe < 0), -q, q)
    return np.where(y == 0, 0, q)


def _wrap(x: Any, dtype: np.dtype) -> Any:
    bits = 8 * dtype.itemsize

    def one(v: int) -> int:
        v &= (1 << bits) - 1
        return v - (1 << bits) if dtype.kind == "i" and v >> (bits - 1) else v

    return (
        np.vectorize(one, otypes=[dtype])(np.asarray(x, object))
        if np.size(x)
        else np.empty(0, dtype)
    )


def _lgamma(x: Any) -> Any:
    return np.where(np.isinf(x), np.inf, special.gammaln(x))


def _tgamma(x: Any) -> Any:
    pole = (x < 0) & (x == np.floor(x))
    return np.where(pole, np.nan, np.where(x == 0, np.copysign(np.inf, x), special.gamma(x)))


FUNCTIONS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "abs": np.abs, "max": np.maximum, "min": np.minimum, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "round": np.rint, "sqrt": np.sqrt, "exp": np.exp, "expm1": np.expm1,
    "log": np.log, "log1p": np.log1p, "log2": np.log2, "log10": np.log10, "exp2": np.exp2,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "erf": special.erf,
    "erfc": np.vectorize(math.erfc, otypes=[np.float64]), "lgamma": _lgamma, "tgamma": _tgamma,
    "pow": np.power, "atan2": np.arctan2, "fmod": np.fmod, "copysign": np.copysign,
    "nextafter": np.nextafter, "hypot": np.hypot, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "isnan": np.isnan, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "not": np.invert, "where": np.where,
}  # fmt: skip

# Functions whose exact value is computed in double and then rounded.
PRECISE = {
    *"exp expm1 log log1p log2 log10 exp2 sin cos tan asin acos atan sinh cosh tanh".split(),
    *"asinh acosh atanh erf erfc lgamma tgamma pow atan2 hypot".split(),
}


def cast(x: np.ndarray, source: D.dtype, to: D.dtype) -> np.ndarray:
    if to is D.bool:
        return x != 0
    if source.is_floating_point and to.category == 1:
        bits = 64 if to.itemsize == 8 or to is D.uint32 else 32
        if to is D.uint64:
            low, high = 0, 2**64 - 1
        else:
            low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        exact = [
            0 if v != v else low if v < low else high if v > high else int(v)
            for v in x.ravel().astype(object)
        ]
        return _wrap(exact, to.np).reshape(x.shape)
    with np.errstate(all="ignore"):
        if to in HALF:
            return x.astype(to.np).astype(np.float32)
        return x.astype(to.np)


def compute(op: str, d: D.dtype, source: D.dtype, args: list[np.ndarray]) -> np.ndarray:
    dtype = register(d)
    if op == "cast":
        return cast(args[0], source, d)
    if op == "bitcast":
        return args[0].view(dtype)
    if op == "fma":
        return (args[0].astype(np.longdouble) * args[1] + args[2]).astype(dtype)
    if op in ("idiv", "imod"):
        q = _trunc_div(*args)
        if op == "imod":
            q = np.where(args[1] == 0, 0, args[0].astype(object) - q * args[1].astype(object))
        return _wrap(q, dtype).reshape(args[0].shape)
    if op in ("shl", "shr"):
        bits = 8 * dtype.itemsize
        out = []
        for x, y in zip(*(np.broadcast_arrays(*args)[i].ravel().astype(object) for i in (0, 1))):
            fits = 0 <= y < bits
            out.append(
                (x << y if fits else 0)
                if op == "shl"
                else (x >> y if fits else (-1 if x < 0 else 0))
            )
        return _wrap(out, dtype).reshape(args[0].shape)
    if dtype == np.bool_ and op in ("add", "sub", "mul"):
        op = {"add": "or", "sub": "xor", "mul": "and"}[op]
    if op in ("abs", "floor", "ceil", "trunc", "round") and dtype.kind in "bu":
        return args[0]
    with np.errstate(all="ignore"):
        if op in PRECISE and dtype == np.float32:
            args = [a.astype(np.float64) for a in args]
        out = np.asarray(FUNCTIONS[op](*args)).astype(dtype)
    return cast(out, D.float32, d) if d in HALF else out


def interpret(
    kernel: Kernel,
    arrays: list[np.ndarray],
    meta: list[int],
    scalars: list[float] | tuple[float, ...] = (),
) -> None:
    """Runs a kernel on flat arrays."""
    layout = meta_layout(kernel)
    sizes = meta[: kernel.outer + kernel.inner]
    grid = np.indices(sizes, dtype=np.int64) if sizes else np.zeros((0,), np.int64)
    outer_sizes, inner_sizes = tuple(sizes[: kernel.outer]), tuple(sizes[kernel.outer :])
    carries: list[np.ndarray] = []

    def counters(with_inner: bool) -> list[np.ndarray]:
        if with_inner:
            return [grid[i] for i in range(len(sizes))]
        take = (..., *([0] * kernel.inner)) if kernel.inner else ...
        return [grid[i][take] for i in range(kernel.outer)]

    def affine(
        a: Affine, const: int, places: tuple[int, ...], loops: list[np.ndarray], shape: Any
    ) -> np.ndarray:
        total = np.full(shape, meta[const], np.int64)
        for loop, stride, place in zip(loops, a.strides, places):
            total = total + loop * (meta[place] if stride is None else stride)
        return total

    for stage in kernel.stages:
        within = stage.kind != "point"
        loops = counters(within)
        shape = tuple(sizes) if within else outer_sizes
        values: list[np.ndarray] = []
        for inst in stage.code:
            values.append(
                _value(
                    kernel,
                    inst,
                    values,
                    stage,
                    loops,
                    shape,
                    arrays,
                    meta,
                    scalars,
                    layout,
                    carries,
                    affine,
                    within,
                )
            )
        for r in stage.reduces:
            source = stage.code[r.value].dtype
            flat = values[r.value].reshape(*outer_sizes, -1)
            carries.append(
                _reduce(
                    r, flat, None if r.index < 0 else values[r.index].reshape(flat.shape), source
                )
            )
        for s in stage.stores:
            access = kernel.accesses[s.access]
            place = layout.accesses[s.access]
            at = affine(access.address, place.const, place.strides, loops, shape)
            arrays[access.buffer].reshape(-1)[at] = values[s.value].astype(
                arrays[access.buffer].dtype
            )
    del inner_sizes


def _reduce(r: Reduce, flat: np.ndarray, index: np.ndarray | None, source: D.dtype) -> np.ndarray:
    d = register(source)
    if r.op in ("sum", "prod"):
        if d.kind == "f":
            return getattr(np, r.op)(flat.astype(np.longdouble), axis=-1).astype(d)
        return getattr(np, r.op)(flat, axis=-1, dtype=d)
    if r.op in ("max", "min"):
        return getattr(np, r.op)(flat, axis=-1)
    where = getattr(np, r.op)(flat, axis=-1)  # NumPy's too: the first NaN wins
    assert index is not None
    return np.take_along_axis(index, where[..., None], -1)[..., 0]


def _value(
    kernel: Kernel, inst: Inst, values: list[np.ndarray], stage: Stage, loops: Any, shape: Any,
    arrays: Any, meta: Any, scalars: Any, layout: Any, carries: Any, affine: Any, within: bool,
) -> np.ndarray:  # fmt: skip
    d = inst.dtype
    k: Any = inst.extra
    if inst.op == "load":
        access, place = kernel.accesses[k], layout.accesses[k]
        at = affine(access.address, place.const, place.strides, loops, shape)
        for a, p in zip(inst.args, place.indirect):
            at = at + values[a] * meta[p]
        present = np.ones(shape, bool)
        for g, (const, bound, places) in zip(access.guards, place.guards):
            v = affine(g, const, places, loops, shape)
            present &= (v >= 0) & (v < meta[bound])
        source = arrays[access.buffer].reshape(-1)
        out = source[np.where(present, at, 0)].astype(register(d))
        return np.where(present, out, np.array(access.fill).astype(register(d)))
    if inst.op == "const":
        return np.full(
            shape, cast(np.array(k).astype(register(d)), d, d) if d in HALF else k, register(d)
        )
    if inst.op == "scalar":
        return (
            cast(np.full(shape, scalars[k], register(d)), D.float32, d)
            if d in HALF
            else np.full(shape, scalars[k], d.np)
        )
    if inst.op == "loop":
        return loops[k]
    if inst.op == "meta":
        return np.full(shape, meta[layout.integers[k]], np.int64)
    if inst.op == "carry":
        c = carries[k]
        return np.broadcast_to(c.reshape(c.shape + (1,) * (kernel.inner if within else 0)), shape)
    args = [values[a] for a in inst.args]
    return compute(inst.op, d, stage.code[inst.args[0]].dtype, args)


# Shorthands for tests.


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


class Maker:
    """Builds kernels and their meta arrays from concrete strides."""

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...] = ()) -> None:
        self.outer, self.inner = outer, inner
        self.buffers: list[D.dtype] = []
        self.accesses: list[Access] = []
        self.numbers: list[int] = []
        self.integers: list[int] = []
        self.stages: list[Stage] = []
        self.scalars: list[D.dtype] = []

    def buffer(self, d: D.dtype) -> int:
        self.buffers.append(d)
        return len(self.buffers) - 1

    def access(
        self,
        buffer: int,
        strides: tuple[int, ...],
        const: int = 0,
        guards: Any = (),
        fill: Any = 0,
        indirect: Any = (),
    ) -> int:
        """``guards``: (const, bound, strides) each; ``indirect``: strides of index values."""

        def classes(s: tuple[int, ...]) -> Affine:
            return Affine(tuple(v if v in (0, 1) else None for v in s))

        def general(s: tuple[int, ...]) -> list[int]:
            return [v for v in s if v not in (0, 1)]

        self.numbers += [const, *general(strides)]
        for c, bound, s in guards:
            self.numbers += [c, bound, *general(s)]
        self.numbers += indirect
        guard_forms = tuple(classes(s) for _, _, s in guards)
        self.accesses.append(Access(buffer, classes(strides), guard_forms, fill, len(indirect)))
        return len(self.accesses) - 1

    def stage(self, kind: str, code: list[Inst], reduces: Any = (), stores: Any = ()) -> None:
        self.stages.append(
            Stage(
                kind,
                tuple(code),
                tuple(Reduce(*r) for r in reduces),
                tuple(Store(*s) for s in stores),
            )
        )

    @property
    def kernel(self) -> Kernel:
        return Kernel(
            len(self.outer), len(self.inner), tuple(self.buffers), tuple(self.scalars),
            len(self.integers), tuple(self.accesses), tuple(self.stages),
        )  # fmt: skip

    @property
    def meta(self) -> tuple[int, ...]:
        return (*self.outer, *self.inner, *self.numbers, *self.integers)
