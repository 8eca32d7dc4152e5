"""Sample kernels of the loop form with their data, and a NumPy interpreter of the form as their
oracle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cupola import dtypes as dt
from cupola.codegen.form import Access, Affine, Inst, Kernel, Reduce, Stage, Store, meta_layout


def class_of(stride: int) -> int | None:
    return stride if stride in (0, 1) else None


class Builder:
    """Collects accesses with concrete strides; ``kernel`` and ``meta`` come out in the form's
    order.
    """

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...] = ()) -> None:
        self.outer, self.inner = outer, inner
        self.buffers: list[dt.dtype] = []
        self.arrays: list[np.ndarray] = []
        self.accesses: list[Access] = []
        self.numbers: list[list[int]] = []
        self.scalars: list[tuple[dt.dtype, Any]] = []
        self.integers: list[int] = []
        self.stages: list[Stage] = []

    def buffer(self, array: np.ndarray) -> int:
        self.arrays.append(array)
        self.buffers.append(dt.from_numpy_dtype(array.dtype))
        return len(self.buffers) - 1

    def access(self, buffer, strides, const=0, guards=(), fill=0, indirect=()) -> int:
        """``guards``: (const, bound, strides) each; ``indirect``: strides of index values."""
        numbers = [const, *(s for s in strides if class_of(s) is None)]
        forms = []
        for g_const, bound, g_strides in guards:
            numbers += [g_const, bound, *(s for s in g_strides if class_of(s) is None)]
            forms.append(Affine(tuple(map(class_of, g_strides))))
        numbers += list(indirect)
        address = Affine(tuple(map(class_of, strides)))
        self.accesses.append(Access(buffer, address, tuple(forms), fill, len(indirect)))
        self.numbers.append(numbers)
        return len(self.accesses) - 1

    def stage(self, kind: str) -> Code:
        return Code(self, kind)

    def sample(self, name: str, tolerance: float = 1e-5) -> Sample:
        kernel = Kernel(
            len(self.outer), len(self.inner), tuple(self.buffers),
            tuple(d for d, _ in self.scalars), len(self.integers), tuple(self.accesses),
            tuple(self.stages), name,
        )  # fmt: skip
        meta = [*self.outer, *self.inner, *(n for m in self.numbers for n in m), *self.integers]
        assert len(meta) == meta_layout(kernel).length
        return Sample(
            name, kernel, tuple(meta), self.arrays, [v for _, v in self.scalars], tolerance
        )


class Code:
    """Writes one stage, instruction by instruction."""

    def __init__(self, builder: Builder, kind: str) -> None:
        self.builder, self.kind = builder, kind
        self.code: list[Inst] = []
        self.reduces: list[Reduce] = []
        self.stores: list[Store] = []

    def __call__(self, op: str, dtype: dt.dtype, *args: int, extra: Any = None) -> int:
        self.code.append(Inst(op, dtype, args, extra))
        return len(self.code) - 1

    def load(self, access: int, *index: int) -> int:
        d = self.builder.buffers[self.builder.accesses[access].buffer]
        value = self("load", d, *index, extra=access)
        return self("cast", dt.float32, value) if d in (dt.float16, dt.bfloat16) else value

    def store(self, access: int, value: int) -> None:
        d = self.builder.buffers[self.builder.accesses[access].buffer]
        if self.code[value].dtype is not d:
            value = self("cast", d, value)
        self.stores.append(Store(access, value))

    def reduce(self, op: str, value: int, index: int = -1) -> None:
        self.reduces.append(Reduce(op, value, index))

    def end(self) -> None:
        stage = Stage(self.kind, tuple(self.code), tuple(self.reduces), tuple(self.stores))
        self.builder.stages.append(stage)


@dataclass
class Sample:
    name: str
    kernel: Kernel
    meta: tuple[int, ...]
    arrays: list[np.ndarray]
    scalars: list[Any]
    tolerance: float
    expected: list[np.ndarray] = field(default_factory=list)

    def fresh(self) -> list[np.ndarray]:
        """The inputs, and outputs filled with a pattern that a missing store leaves behind."""
        outputs, read = set(self.kernel.outputs), set()
        for stage in self.kernel.stages:
            read |= {self.kernel.accesses[i.extra].buffer for i in stage.code if i.op == "load"}
        fresh = [a.copy() for a in self.arrays]
        for n in outputs - read:
            fresh[n].view(np.uint8).fill(0x5A)
        return fresh

    def check(self, got: list[np.ndarray], note: str = "") -> None:
        if not self.expected:
            self.expected = interpret(self.kernel, self.fresh(), self.meta, self.scalars)
        for n in self.kernel.outputs:
            d = self.kernel.buffers[n]
            a, b = got[n], self.expected[n]
            if d.is_floating_point:
                a, b = a.astype(np.float64), b.astype(np.float64)
            rtol = {"float16": 2e-3, "bfloat16": 1.6e-2, "float64": 1e-12}.get(
                d.name, self.tolerance
            )
            rtol = 0 if d.category < 2 else rtol
            message = f"{self.name} {note} output {n}"
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * 0.1, err_msg=message)


_NUMPY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "abs": np.abs, "max": np.maximum, "min": np.minimum, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "round": np.rint, "sqrt": np.sqrt, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "isnan": np.isnan,
    "where": np.where, "pow": np.power, "atan2": np.arctan2, "copysign": np.copysign,
    "nextafter": np.nextafter, "hypot": np.hypot, "fmod": np.fmod, "shl": np.left_shift,
    "shr": np.right_shift, "idiv": lambda a, b: np.trunc(a / b), "imod": np.fmod,
    "fma": lambda a, b, c: a * b + c, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "not": np.invert, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
}  # fmt: skip
for _name in ("exp expm1 log log1p log2 log10 exp2 sin cos tan sinh cosh tanh").split():
    _NUMPY[_name] = getattr(np, _name)
for _name, _f in (
    ("erf", math.erf),
    ("erfc", math.erfc),
    ("lgamma", math.lgamma),
    ("tgamma", math.gamma),
):
    _NUMPY[_name] = np.vectorize(_f, otypes=[np.float64])


def interpret(kernel: Kernel, arrays: list[np.ndarray], meta, scalars) -> list[np.ndarray]:
    """Runs a kernel with NumPy over whole index grids; floats are computed in float64 where that
    helps.
    """
    where = meta_layout(kernel)
    sizes = [meta[p] for p in where.sizes]
    loops = np.ix_(*(np.arange(n) for n in sizes)) if sizes else ()
    flat = [a.reshape(-1) for a in arrays]
    carries: list[Any] = []
    inner_axes = tuple(range(kernel.outer, kernel.outer + kernel.inner))

    def affine(a: Affine, const: int, positions: tuple[int, ...]) -> Any:
        total = np.full((1,) * len(sizes), const, np.int64)
        for d, stride in enumerate(a.strides):
            total = total + loops[d] * (stride if stride is not None else meta[positions[d]])
        return total

    for stage in kernel.stages:
        values: list[Any] = []
        shape = list(sizes)
        if stage.kind == "point":
            shape[kernel.outer :] = [1] * kernel.inner

        def place(number: int, index: list[Any]) -> tuple[Any, Any]:
            access, at = kernel.accesses[number], where.accesses[number]
            address = affine(access.address, meta[at.const], at.strides)
            for value, position in zip(index, at.indirect):
                address = address + value * meta[position]
            ok = np.ones((1,) * len(sizes), bool)
            for g, (const, bound, positions) in zip(access.guards, at.guards):
                v = affine(g, meta[const], positions)
                ok = ok & (v >= 0) & (v < meta[bound])
            return address, ok

        with np.errstate(all="ignore"):
            for inst in stage.code:
                args = [values[a] for a in inst.args]
                out = inst.dtype.np
                if inst.op == "load":
                    access = kernel.accesses[inst.extra]
                    address, ok = place(inst.extra, args)
                    address, ok = np.broadcast_arrays(address, ok)
                    data = flat[access.buffer][np.where(ok, address, 0)]
                    v = np.where(ok, data, np.asarray(access.fill).astype(data.dtype))
                elif inst.op == "scalar":
                    v = np.asarray(scalars[inst.extra])
                elif inst.op == "const":
                    v = np.asarray(inst.extra)
                elif inst.op == "loop":
                    v = loops[inst.extra]
                elif inst.op == "meta":
                    v = np.asarray(meta[where.integers[inst.extra]])
                elif inst.op == "carry":
                    v = carries[inst.extra]
                elif inst.op == "cast":
                    source = stage.code[inst.args[0]].dtype
                    v = args[0]
                    if source.is_floating_point and inst.dtype.category == 1:
                        v = np.trunc(v.astype(np.float64)).astype(np.int64)
                elif inst.op == "bitcast":
                    v = args[0].view(out)
                elif inst.op == "where":
                    v = np.where(*args)
                else:
                    kind = stage.code[inst.args[0]].dtype
                    if kind.is_floating_point:
                        args = [a.astype(np.float64) for a in args]
                    v = _NUMPY[inst.op](*args)
                values.append(np.asarray(v).astype(out))
            for r in stage.reduces:
                carries.append(_reduce(r, values, stage, shape, inner_axes))
        for store in stage.stores:
            address, _ = place(store.access, [])
            address, value = np.broadcast_arrays(address, values[store.value])
            full = np.broadcast_shapes(address.shape, tuple(shape))
            address, value = np.broadcast_to(address, full), np.broadcast_to(value, full)
            if stage.kind == "point" and inner_axes:
                pick = tuple(
                    slice(None) if d < kernel.outer else slice(0, 1) for d in range(len(sizes))
                )
                address, value = address[pick], value[pick]
            flat[kernel.accesses[store.access].buffer][address] = value
    return arrays


def _reduce(
    r: Reduce, values: list[Any], stage: Stage, shape: list[int], axes: tuple[int, ...]
) -> Any:
    d = stage.code[r.value].dtype
    v = np.broadcast_to(values[r.value], shape)
    wide = v.astype(np.float64) if d.is_floating_point else v
    if r.op in ("argmax", "argmin"):
        index = np.broadcast_to(values[r.index], shape)
        lead = tuple(shape[: len(shape) - len(axes)])
        flat, places = wide.reshape(*lead, -1), index.reshape(*lead, -1)
        best = (np.argmax if r.op == "argmax" else np.argmin)(
            flat, axis=-1
        )  # NaN first, as the form
        picked = np.take_along_axis(places, best[..., None], -1)
        return picked.reshape(*lead, *(1 for _ in axes))
    f = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}[r.op]
    extra = {} if r.op in ("max", "min") else {"dtype": wide.dtype}
    return f(wide, axis=axes, keepdims=True, **extra).astype(d.np)
