"""Kernels, data and comparisons that the tests of generated CPU code share."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.oracle import HALF, Maker, compute, interpret, register, strides_of
from cupola import dtypes as D
from cupola.backends.cpu import CPUBackend
from cupola.codegen.form import Inst

BACKEND = CPUBackend()
FLOATS = [D.float32, D.float64, D.float16, D.bfloat16]
INTEGERS = [D.uint8, D.int8, D.uint16, D.int16, D.uint32, D.int32, D.uint64, D.int64]
ALL = [D.bool, *INTEGERS, *FLOATS]
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.5,
    3.5,
    np.inf,
    -np.inf,
    np.nan,
    1e-40,
    -1e-40,
    1e30,
    -1e30,
    88.8,
    -104.0,
]


def sample(d: D.dtype, shape: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if d is D.bool:
        return rng.integers(0, 2, shape).astype(bool)
    if d.category == 1:
        info = np.iinfo(d.np)
        out = rng.integers(info.min, info.max, shape, d.np, endpoint=True)
        flat = out.reshape(-1)
        edge = np.array([0, 1, info.min, info.max, 3, info.max], d.np)[: flat.size]
        flat[: edge.size] = np.roll(edge, seed)
        small = flat[edge.size :: 2]
        small[...] = rng.integers(0, 9, small.shape)
        return out
    out = rng.standard_normal(shape) * np.exp(rng.uniform(-3, 3, shape))
    flat = out.reshape(-1)
    if flat.size > 20:
        order = rng.permutation(len(SPECIAL))
        flat[: len(SPECIAL)] = np.array(SPECIAL)[order]
    with np.errstate(all="ignore"):
        return out.astype(d.np)


def same(got: np.ndarray, want: np.ndarray, ulps: float = 0, what: str = "") -> None:
    """Equal, or (``ulps``) within that many units in the last place; NaN equals NaN, infinities
    must agree.
    """
    assert got.shape == want.shape and got.dtype == want.dtype
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    wide = np.float64
    fine = {2: 2.0**-10, 4: 2.0**-23, 8: 2.0**-52}[got.dtype.itemsize]
    if got.dtype == D.bfloat16.np:
        fine = 2.0**-7
    tiny = (
        {2: 2.0**-24, 4: 2.0**-149, 8: 5e-324}[got.dtype.itemsize]
        if got.dtype != D.bfloat16.np
        else 2.0**-133
    )
    g, w = got.astype(wide), want.astype(wide)
    equal = (g == w) | (np.isnan(g) & np.isnan(w))
    with np.errstate(all="ignore"):
        close = (
            np.isfinite(g)
            & np.isfinite(w)
            & (np.abs(g - w) <= ulps * np.maximum(np.abs(w) * fine, tiny))
        )
    bad = ~(equal | close)
    if bad.any():
        i = tuple(np.argwhere(bad)[0])
        raise AssertionError(
            f"{what}: {bad.sum()} of {bad.size} differ, first at {i}: {g[i]!r}, not {w[i]!r}"
        )


def launch(
    maker: Maker, arrays: list[np.ndarray], scalars: Any = (), ulps: float = 0, what: str = ""
) -> list[np.ndarray]:
    """Runs a kernel and the oracle on copies of the arrays, and compares all of them."""
    kernel = maker.kernel
    got = [a.copy() for a in arrays]
    want = [a.copy() for a in arrays]
    BACKEND.compile(kernel)(got, maker.meta, scalars)
    interpret(kernel, want, list(maker.meta), scalars)
    for k, (g, w) in enumerate(zip(got, want)):
        same(g, w, ulps, f"{what} buffer {k}")
    return got


def many(ops: list[tuple[str, D.dtype]], d: D.dtype, n: int, count: int) -> None:
    """One kernel that applies several operations to the same ``count`` operands."""
    m = Maker((n,))
    arrays = []
    code = []
    for k in range(count):
        b = m.buffer(d)
        arrays.append(sample(d, n, k))
        code.append(Inst("load", d, (), m.access(b, (1,))))
    stores = []
    for op, result in ops:
        code.append(Inst(op, result, tuple(range(count))))
        b = m.buffer(result)
        arrays.append(np.zeros(n, result.np))
        stores.append((m.access(b, (1,)), len(code) - 1))
    m.stage("point", code, stores=stores)
    got = [a.copy() for a in arrays]
    BACKEND.compile(m.kernel)(got, m.meta, ())
    operands = [a.astype(register(d)) for a in arrays[:count]]
    for (op, result), g in zip(ops, got[count:]):
        w = compute(op, result, d, operands).astype(result.np)
        same(
            g,
            w,
            ULPS.get(op, 0) if d not in HALF else min(1, ULPS.get(op, 0)),
            f"{op} of {d.name}, n={n}",
        )


ULPS = dict.fromkeys(
    [
        *"exp expm1 log log1p log2 log10 exp2 sin cos tan asin acos atan sinh cosh tanh".split(),
        *"asinh acosh atanh erf erfc pow atan2 hypot".split(),
    ],
    4.0,
) | {"lgamma": 1e4, "tgamma": 8.0}
UNARY = ["neg", "abs", "floor", "ceil", "trunc", "round", "sqrt"]
FUNCTIONS = [
    *"exp expm1 log log1p log2 log10 exp2 sin cos tan asin acos atan sinh cosh tanh".split(),
    *"asinh acosh atanh erf erfc lgamma tgamma".split(),
]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]
REDUCE_SHAPES = [
    # outer sizes, inner sizes, and for each loop its place in the input's dimensions
    ((1,), (1,)), ((1,), (1000,)), ((5,), (33,)), ((33,), (5,)), ((3, 40), (9,)), ((2,), (3, 17)),
    ((40,), (2, 3)), ((9,), (7, 5, 2)), ((1,), (20011,)), ((2,), (9000,)),
]  # fmt: skip


def reduction(
    outer: Any, inner: Any, d: D.dtype, ops: list[str], order: str
) -> tuple[Maker, tuple[int, ...]]:
    """Reduces an array whose dimensions are (outer, inner) or (inner, outer) in memory."""
    shape = (*outer, *inner) if order == "rows" else (*inner, *outer)
    steps = strides_of(shape)
    split = len(outer) if order == "rows" else len(inner)
    strides = steps if order == "rows" else (*steps[split:], *steps[:split])
    m = Maker(outer, inner)
    x = m.buffer(d)
    code = [Inst("load", d, (), m.access(x, strides))]
    for loop, step in enumerate(strides_of(inner)):
        m.integers.append(step)
        code += [Inst("loop", D.int64, (), len(outer) + loop), Inst("meta", D.int64, (), loop)]
        code.append(Inst("mul", D.int64, (len(code) - 2, len(code) - 1)))
        if loop:
            code.append(Inst("add", D.int64, (len(code) - 4, len(code) - 1)))
    value = 0
    if d in HALF:
        code.append(Inst("cast", D.float32, (0,)))
        value, flat = len(code) - 1, len(code) - 2
    else:
        flat = len(code) - 1
    reduces = [(op, value, flat) if op.startswith("arg") else (op, value) for op in ops]
    m.stage("reduce", code, reduces=reduces)
    point, stores = [], []
    for k, op in enumerate(ops):
        result = D.int64 if op.startswith("arg") else code[value].dtype
        y = m.buffer(result)
        point.append(Inst("carry", result, (), k))
        stores.append((m.access(y, (*strides_of(outer), *[0] * len(inner))), k))
    m.stage("point", point, stores=stores)
    return m, shape


def softmax(outer: Any, inner: Any, order: str) -> tuple[Maker, tuple[int, ...]]:
    m, shape = reduction(outer, inner, D.float32, [], order)
    m.stages.clear()
    m.integers.clear()
    f = D.float32
    out = m.buffer(f)
    first = m.accesses[0]
    m.accesses.append(type(first)(out, first.address))
    m.numbers = m.numbers * 2
    load = Inst("load", f, (), 0)
    shifted = [load, Inst("carry", f, (), 0), Inst("sub", f, (0, 1)), Inst("exp", f, (2,))]
    m.stage("reduce", [load], reduces=[("max", 0)])
    m.stage("reduce", shifted, reduces=[("sum", 3)])
    m.stage("map", [*shifted, Inst("carry", f, (), 1), Inst("div", f, (3, 4))], stores=[(1, 5)])
    return m, shape
