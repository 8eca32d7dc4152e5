"""Every instruction of the loop form, generated for this processor, against NumPy."""

from __future__ import annotations

import itertools
import os
import platform
import sys
import threading
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from codegen.oracle import HALF, Maker, compute, interpret, register, strides_of
from cupola import dtypes as D
from cupola.backends.cache import DiskCache
from cupola.backends.cpu import CPUBackend, threads
from cupola.backends.cpu.jit import Jit
from cupola.backends.cpu.launch import Launcher
from cupola.backends.cpu.pool import Pool, size_class
from cupola.codegen.form import Inst
from cupola.codegen.llvm import generate, library_function, target_from_features

BACKEND = CPUBackend()
FLOATS = [D.float32, D.float64, D.float16, D.bfloat16]
INTEGERS = [D.uint8, D.int8, D.uint16, D.int16, D.uint32, D.int32, D.uint64, D.int64]
ALL = [D.bool, *INTEGERS, *FLOATS]
SIZES = [1, 7, 8, 9, 31, 33, 1000]
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


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("d", FLOATS, ids=lambda d: d.name)
def test_float_arithmetic(d: D.dtype, n: int) -> None:
    many([(op, d) for op in UNARY] + [("isnan", D.bool)], d, n, 1)
    binary = ["add", "sub", "mul", "div", "max", "min", "fmod", "copysign", "nextafter"]
    if d in HALF:
        binary.remove("nextafter")  # a step of float32 is no step of a half type
    many([(op, d) for op in binary] + [(op, D.bool) for op in COMPARE], d, n, 2)
    if d not in HALF:
        many([("fma", d)], d, n, 3)


@pytest.mark.parametrize("d", [D.float32, D.float64, D.float16], ids=lambda d: d.name)
def test_functions(d: D.dtype) -> None:
    for n in (5, 333):
        many([(op, d) for op in FUNCTIONS], d, n, 1)
        many([(op, d) for op in ("pow", "atan2", "hypot")], d, n, 2)


@pytest.mark.parametrize("n", [1, 9, 33])
@pytest.mark.parametrize("d", INTEGERS, ids=lambda d: d.name)
def test_integer_arithmetic(d: D.dtype, n: int) -> None:
    many([(op, d) for op in ("neg", "abs", "not", "floor")], d, n, 1)
    binary = ["add", "sub", "mul", "max", "min", "idiv", "imod", "and", "or", "xor", "shl", "shr"]
    many([(op, d) for op in binary] + [(op, D.bool) for op in COMPARE], d, n, 2)


@pytest.mark.parametrize("n", [1, 9, 33])
def test_bool_arithmetic(n: int) -> None:
    many([("not", D.bool)], D.bool, n, 1)
    many(
        [(op, D.bool) for op in ("and", "or", "xor", "max", "min", "add", "mul", *COMPARE)],
        D.bool,
        n,
        2,
    )


@pytest.mark.parametrize("d", ALL, ids=lambda d: d.name)
def test_cast(d: D.dtype) -> None:
    for n in (3, 41):
        many([("cast", to) for to in ALL], d, n, 1)


def test_every_half_number_converts() -> None:
    bits = np.arange(65536, dtype=np.uint16)
    for d in HALF:
        x = bits.view(d.np)
        m = Maker((65536,))
        a, b, c = m.buffer(d), m.buffer(D.float32), m.buffer(d)
        code = [
            Inst("load", d, (), m.access(a, (1,))),
            Inst("cast", D.float32, (0,)),
            Inst("cast", d, (1,)),
        ]
        m.stage("point", code, stores=[(m.access(b, (1,)), 1), (m.access(c, (1,)), 2)])
        launch(m, [x, np.zeros(65536, np.float32), np.zeros(65536, d.np)], what=d.name)


def test_rounding_to_half_types() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 2**32, 200_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    for d in HALF:
        m = Maker((x.size,))
        a, b = m.buffer(D.float32), m.buffer(d)
        code = [Inst("load", D.float32, (), m.access(a, (1,))), Inst("cast", d, (0,))]
        m.stage("point", code, stores=[(m.access(b, (1,)), 1)])
        launch(m, [x, np.zeros(x.size, d.np)], what=d.name)


def test_bitcast() -> None:
    for a, z in ((D.float32, D.int32), (D.int64, D.float64), (D.int32, D.float32)):
        many([("bitcast", z)], a, 33, 1)


def test_where_scalar_const_loop_and_meta() -> None:
    for d, n in itertools.product(
        (D.float32, D.int32, D.float16, D.bool, D.int64, D.uint8), (1, 9, 40)
    ):
        m = Maker((3, n))
        c, x, y, z, w = (m.buffer(t) for t in (D.bool, d, d, d, D.int64))
        m.scalars = [d]
        m.integers = [5]
        row = (n, 1)
        code = [
            Inst("load", D.bool, (), m.access(c, row)),
            Inst("load", d, (), m.access(x, row)),
            Inst("load", d, (), m.access(y, (0, 1))),
            Inst("where", d, (0, 1, 2)),
            Inst("scalar", d, (), 0),
            Inst("const", d, (), 1),
            Inst("where", d, (0, 4, 3)),
            Inst("eq", D.bool, (6, 5)),
            Inst("where", d, (7, 5, 6)),
            Inst("loop", D.int64, (), 0),
            Inst("loop", D.int64, (), 1),
            Inst("meta", D.int64, (), 0),
            Inst("mul", D.int64, (9, 11)),
            Inst("add", D.int64, (12, 10)),
        ]
        m.stage("point", code, stores=[(m.access(z, row), 8), (m.access(w, row), 13)])
        shape = (3, n)
        arrays = [
            sample(D.bool, shape),
            sample(d, shape, 1),
            sample(d, n, 2),
            np.zeros(shape, d.np),
            np.zeros(shape, np.int64),
        ]
        launch(m, arrays, (1.1 if d.is_floating_point else 1,), what=d.name)


LAYOUTS = {
    "contiguous": lambda a: (a, 0),
    "transposed": lambda a: (a.T, 0),
    "reversed": lambda a: (a[::-1, ::-1], 0),
    "stepped": lambda a: (a[::2, ::3], 0),
    "row": lambda a: (np.broadcast_to(a[0], a.shape), 0),
    "column": lambda a: (np.broadcast_to(a[:, :1], a.shape), 0),
    "scalar": lambda a: (np.broadcast_to(a[:1, :1], a.shape), 0),
}


@pytest.mark.parametrize(
    "d", [D.float32, D.float64, D.uint8, D.bool, D.float16], ids=lambda d: d.name
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides(layout: str, d: D.dtype) -> None:
    for shape in ((1, 1), (5, 33), (33, 5), (40, 41)):
        base = sample(d, shape)
        view, _ = LAYOUTS[layout](base)
        out = np.zeros(view.shape, d.np)
        for target in (out, np.zeros(view.shape[::-1], d.np).T):
            m = Maker(view.shape)
            x, y = m.buffer(d), m.buffer(d)
            item = d.itemsize
            m.access(x, tuple(s // item for s in view.strides))
            m.access(y, tuple(s // item for s in target.strides))
            m.stage("point", [Inst("load", d, (), 0)], stores=[(1, 0)])
            BACKEND.compile(m.kernel)([view, target], m.meta, ())
            np.testing.assert_array_equal(target, view)


@pytest.mark.parametrize(
    "d", [D.float32, D.float64, D.uint8, D.bool, D.float16, D.int64], ids=lambda d: d.name
)
@pytest.mark.parametrize("fill", [0, 1])
def test_guards(d: D.dtype, fill: int) -> None:
    """Padding: what lies outside yields the fill and is never read."""
    for (h, w), (top, left), step in itertools.product(
        ((1, 1), (5, 9), (7, 40)), ((0, 0), (2, 3)), (1, 2)
    ):
        outer = (h + 2 * top, (w + 2 * left) // step + 1)
        m = Maker(outer)
        x, y = m.buffer(d), m.buffer(d)
        guards = ((-top, h, (1, 0)), (-left, w, (0, step)))
        a = m.access(x, (w, step), -top * w - left, guards, fill)
        z = m.access(y, (outer[1], 1))
        m.stage("point", [Inst("load", d, (), a)], stores=[(z, 0)])
        launch(m, [sample(d, (h, w)), np.zeros(outer, d.np)], what=f"{d.name} {outer} {step}")


def test_indirect() -> None:
    rng = np.random.default_rng(0)
    for n, c in ((1, 1), (5, 33), (40, 3)):
        table = sample(D.float32, (17, c))
        index = rng.integers(0, 17, n)
        rows = Maker((n, c))
        t, i, y = rows.buffer(D.float32), rows.buffer(D.int64), rows.buffer(D.float32)
        code = [
            Inst("load", D.int64, (), rows.access(i, (1, 0))),
            Inst("load", D.float32, (0,), rows.access(t, (0, 1), indirect=(c,))),
        ]
        rows.stage("point", code, stores=[(rows.access(y, (c, 1)), 1)])
        launch(rows, [table, index, np.zeros((n, c), np.float32)])
        lanes = Maker((n,))
        t, i, y = lanes.buffer(D.float32), lanes.buffer(D.int64), lanes.buffer(D.float32)
        guard = ((0, 17, (0,)),)
        code = [
            Inst("load", D.int64, (), lanes.access(i, (1,))),
            Inst("load", D.float32, (0, 0), lanes.access(t, (0,), 0, guard, 0, indirect=(c, 0))),
        ]
        lanes.stage("point", code, stores=[(lanes.access(y, (1,)), 1)])
        launch(lanes, [table, index, np.zeros(n, np.float32)])


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


@pytest.mark.parametrize("order", ["rows", "columns"])
@pytest.mark.parametrize(
    "d", [D.float32, D.float64, D.float16, D.int32, D.int64, D.uint8, D.bool], ids=lambda d: d.name
)
def test_reductions(d: D.dtype, order: str) -> None:
    ops = (
        ["sum", "prod", "max", "min", "argmax", "argmin"]
        if d is not D.bool
        else ["max", "min", "argmax", "argmin"]
    )
    for (outer, inner), special in itertools.product(REDUCE_SHAPES, (False, True)):
        if special and not d.is_floating_point:
            continue
        m, shape = reduction(outer, inner, d, ops, order)
        rng = np.random.default_rng(1)
        if d.is_floating_point:
            x = rng.uniform(0.9, 1.1, shape).astype(d.np)
            if special:
                flat = x.reshape(-1)
                flat[rng.integers(0, flat.size, 1 + flat.size // 50)] = np.nan
                flat[rng.integers(0, flat.size, 1 + flat.size // 30)] = -np.inf
        else:
            x = sample(d, shape)
        wide = D.float32 if d in HALF else d
        outs = [np.zeros(outer, np.int64 if op.startswith("arg") else wide.np) for op in ops]
        launch(m, [x, *outs], ulps=512, what=f"{d.name} {outer} {inner} {order}")


def test_argmax_of_equal_and_infinite_elements_is_the_first() -> None:
    for outer, inner in (((1,), (100,)), ((40,), (9,))):
        for order, value in itertools.product(("rows", "columns"), (-np.inf, np.inf, 3.0, np.nan)):
            m, shape = reduction(outer, inner, D.float32, ["argmax", "argmin"], order)
            x = np.full(shape, value, np.float32)
            got = launch(m, [x, np.zeros(outer, np.int64), np.zeros(outer, np.int64)])
            assert not got[1].any() and not got[2].any()


def test_long_sums_are_accurate() -> None:
    rng = np.random.default_rng(0)
    for order in ("rows", "columns"):
        for outer, inner in (((1,), (3_000_001,)), ((3,), (700_000,)), ((64,), (30_000,))):
            m, shape = reduction(outer, inner, D.float32, ["sum"], order)
            launch(
                m,
                [rng.random(shape, np.float32), np.zeros(outer, np.float32)],
                ulps=4,
                what=f"{order} {outer} {inner}",
            )


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


@pytest.mark.parametrize("order", ["rows", "columns"])
def test_softmax_is_one_kernel(order: str) -> None:
    for outer, inner in REDUCE_SHAPES:
        m, shape = softmax(outer, inner, order)
        x = np.random.default_rng(2).standard_normal(shape).astype(np.float32) * 5
        launch(m, [x, np.zeros(shape, np.float32)], ulps=16, what=f"{outer} {inner}")


def test_layer_norm_is_one_kernel() -> None:
    f = D.float32
    for n, c in ((1, 1), (5, 33), (33, 768)):
        m = Maker((n,), (c,))
        x, w, y, mean = m.buffer(f), m.buffer(f), m.buffer(f), m.buffer(f)
        ax, aw, ay, am = (
            m.access(x, (c, 1)),
            m.access(w, (0, 1)),
            m.access(y, (c, 1)),
            m.access(mean, (1, 0)),
        )
        m.scalars = [f, f]
        load, average = (
            Inst("load", f, (), ax),
            [Inst("carry", f, (), 0), Inst("scalar", f, (), 0), Inst("mul", f, (1, 2))],
        )
        m.stage("reduce", [load], reduces=[("sum", 0)])
        centred = [load, *average, Inst("sub", f, (0, 3))]
        m.stage("reduce", [*centred, Inst("mul", f, (4, 4))], reduces=[("sum", 5)])
        scale = [
            Inst("carry", f, (), 1), Inst("mul", f, (5, 2)), Inst("scalar", f, (), 1),
            Inst("add", f, (6, 7)), Inst("sqrt", f, (8,)), Inst("div", f, (4, 9)),
            Inst("load", f, (), aw), Inst("mul", f, (10, 11)),
        ]  # fmt: skip
        m.stage("map", [*centred, *scale], stores=[(ay, 12)])
        m.stage("point", [Inst("carry", f, (), 0)], stores=[(am, 0)])
        arrays = [
            np.random.default_rng(2).standard_normal((n, c)).astype("f"),
            np.ones(c, "f"),
            np.zeros((n, c), "f"),
            np.zeros(n, "f"),
        ]
        got = launch(m, arrays, (1 / c, 1e-5), ulps=1e9)
        z = arrays[0].astype("d")
        want = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(got[2], want, rtol=1e-5, atol=1e-5)


def test_nothing_to_do() -> None:
    m = Maker((0, 5))
    x = m.buffer(D.float32)
    m.stage("point", [Inst("const", D.float32, (), 1.0)], stores=[(m.access(x, (5, 1)), 0)])
    BACKEND.compile(m.kernel)([np.zeros((0, 5), np.float32)], m.meta, ())
    m, _ = reduction((4,), (0,), D.float32, ["sum", "prod"], "rows")
    out = [np.ones(4, np.float32), np.zeros(4, np.float32)]
    BACKEND.compile(m.kernel)([np.zeros((4, 0), np.float32), *out], m.meta, ())
    assert out[0].tolist() == [0] * 4 and out[1].tolist() == [1] * 4


def test_results_do_not_depend_on_threads() -> None:
    before = threads.count
    rng = np.random.default_rng(5)
    cases: list[tuple[Maker, tuple[int, ...]]] = []
    for outer, inner in (
        ((1,), (3_000_001,)),
        ((400,), (3001,)),
        ((3,), (70_000,)),
        ((5,), (3, 40_000)),
    ):
        for order in ("rows", "columns"):
            m, shape = reduction(outer, inner, D.float32, ["sum", "argmax"], order)
            cases.append((m, shape))
    try:
        for m, shape in cases:
            x = rng.random(shape, np.float32)
            results = []
            for count in (1, 2, 3, 4):
                threads.set(count)
                out = [np.zeros(m.outer, np.float32), np.zeros(m.outer, np.int64)]
                BACKEND.compile(m.kernel)([x, *out], m.meta, ())
                results.append(out)
            for other in results[1:]:
                np.testing.assert_array_equal(results[0][0], other[0])
                np.testing.assert_array_equal(results[0][1], other[1])
    finally:
        threads.set(before)


def test_types_without_generated_code_say_so() -> None:
    m = Maker((4,))
    x = m.buffer(D.complex64)
    m.stage("point", [Inst("const", D.float32, (), 1.0)], stores=[(m.access(x, (1,)), 0)])
    with pytest.raises(NotImplementedError, match="complex64"):
        BACKEND.compile(m.kernel)([np.zeros(4, np.complex64)], m.meta, ())


@pytest.fixture
def oldest(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Code for the first 64-bit x86 processors: 16-byte vectors, no fused products, no half
    conversion, no rounding.
    """
    if platform.machine() != "x86_64":
        pytest.skip("an x86-64 processor")
    target = target_from_features("x86_64-unknown-linux-gnu", "x86-64", {})
    backend = CPUBackend()
    backend._launcher = Launcher(Jit(DiskCache("cpu", tmp_path), target))
    monkeypatch.setattr(sys.modules[__name__], "BACKEND", backend)


def test_oldest_processor(oldest: None) -> None:
    for d in FLOATS:
        many([(op, d) for op in UNARY] + [("isnan", D.bool)], d, 333, 1)
        many([("cast", to) for to in ALL], d, 41, 1)
    many([("fma", D.float32)], D.float32, 33, 3)
    functions = [op for op in FUNCTIONS if op not in ("lgamma", "tgamma")]
    for d in (D.float32, D.float64):
        many([(op, d) for op in functions], d, 333, 1)
        many([(op, d) for op in ("pow", "atan2", "hypot")], d, 333, 2)
    test_every_half_number_converts()
    test_rounding_to_half_types()
    for order in ("rows", "columns"):
        test_softmax_is_one_kernel(order)
    test_guards(D.float32, 1)


@pytest.mark.parametrize(
    "triple, cpu, features",
    [
        (
            "x86_64-unknown-linux-gnu",
            "skylake-avx512",
            "fma avx2 f16c avx512f avx512vl avx512dq avx512bw",
        ),
        ("x86_64-unknown-linux-gnu", "haswell", "fma avx2 f16c"),
        ("aarch64-unknown-linux-gnu", "neoverse-n1", "neon"),
    ],
)
def test_other_processors_compile(triple: str, cpu: str, features: str) -> None:
    """Code for processors that this machine is not: LLVM accepts it and has instructions for all of
    it.
    """
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = target_from_features(triple, cpu, dict.fromkeys(features.split(), True))
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=target.features, opt=2, codemodel="small"
    )
    kernels = [softmax((4,), (9,), order)[0].kernel for order in ("rows", "columns")]
    for d in (D.float32, D.float16, D.bfloat16, D.int64, D.bool):
        ops = ["max", "argmin"] if d is D.bool else ["sum", "max", "argmin"]
        kernels += [reduction((4,), (9,), d, ops, order)[0].kernel for order in ("rows", "columns")]
    for kernel in kernels:
        program = generate(kernel, target)
        assert machine.emit_assembly(llvm.parse_assembly(program.text))
        for symbol, (op, type_, lanes) in program.needs.items():
            text = library_function(target, symbol, op, type_, lanes)
            assert symbol in machine.emit_assembly(llvm.parse_assembly(text))


def test_a_forked_child_computes() -> None:
    """The parent's threads are not there in the child, which must not wait for them."""
    m, shape = reduction((1,), (3_000_001,), D.float32, ["sum"], "rows")
    x = np.ones(shape, np.float32)

    def total() -> float:
        out = np.zeros(1, np.float32)
        BACKEND.compile(m.kernel)([x, out], m.meta, ())
        return float(out[0])

    before = threads.count
    threads.set(2)
    try:
        assert total() == 3_000_001
        child = os.fork()
        if child == 0:
            os._exit(0 if total() == 3_000_001 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        threads.set(before)


def test_launches_from_many_python_threads() -> None:
    m, shape = reduction((64,), (1000,), D.float32, ["sum"], "rows")
    kernel = m.kernel
    wrong = []

    def work(seed: int) -> None:
        x = np.full(shape, seed, np.float32)
        for _ in range(200):
            out = np.zeros(64, np.float32)
            BACKEND.compile(kernel)([x, out], m.meta, ())
            if (out != 1000 * seed).any():
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_memory_is_reused_and_bounded() -> None:
    pool = Pool(limit=1 << 24)
    a = pool.empty((1000, 1000), np.dtype(np.float32))
    address = a.ctypes.data
    assert address % 64 == 0 and a.flags.c_contiguous and pool.live >= 4_000_000
    view = a[10:]
    del a
    assert pool.live >= 4_000_000  # a view keeps it
    del view
    assert pool.live == 0 and pool.held >= 4_000_000
    b = pool.empty((999, 1001), np.dtype(np.float32))
    assert b.ctypes.data == address
    many_arrays = [pool.empty((1 << 22,), np.dtype(np.uint8)) for _ in range(8)]
    del many_arrays, b
    assert pool.held <= 1 << 24 and pool.live == 0
    pool.trim()
    assert pool.held == 0
    assert pool.empty((0, 5), np.dtype(np.float64)).shape == (0, 5)
    assert pool.empty((), np.dtype(np.float64)).shape == ()
    for size in (1 << 15, (1 << 15) + 1, 100_000, 3 << 20, (1 << 30) + 1):
        assert size <= size_class(size) <= size * 1.2 + (1 << 21)
    with pytest.raises(MemoryError, match="smaller batch"):
        pool.empty((1 << 60,), np.dtype(np.uint8))


def test_from_numpy_copies_only_what_code_cannot_address() -> None:
    x = np.arange(12, dtype=np.float32)
    assert np.shares_memory(BACKEND.from_numpy(x[::2]), x)
    swapped = BACKEND.from_numpy(x.astype(">f4"))
    assert swapped.dtype.isnative and (swapped == x).all()
    packed = np.zeros(4, dtype=np.dtype([("a", "u1"), ("b", "<f4")]))["b"]
    assert BACKEND.from_numpy(packed).flags.aligned


def test_constants_that_compare_equal_are_told_apart() -> None:
    for value in (0.0, -0.0, 0.0):
        m = Maker((9,))
        y = m.buffer(D.float32)
        code = [Inst("const", D.float32, (), value)]
        m.stage("point", code, stores=[(m.access(y, (1,)), 0)])
        out = np.ones(9, np.float32)
        BACKEND.compile(m.kernel)([out], m.meta, ())
        assert (np.signbit(out) == (np.copysign(1, value) < 0)).all()


def test_tiles_cover_everything() -> None:
    for (rows, columns), d in itertools.product(
        ((64, 32), (65, 33), (1000, 700), (300, 2048), (2048, 129)), (D.float32, D.uint8)
    ):
        x = sample(d, (columns, rows))
        m = Maker((rows, columns))
        a, b = m.buffer(d), m.buffer(d)
        code = [Inst("load", d, (), m.access(a, (1, rows)))]
        m.stage("point", code, stores=[(m.access(b, (columns, 1)), 0)])
        out = np.zeros((rows, columns), d.np)
        BACKEND.compile(m.kernel)([x, out], m.meta, ())
        np.testing.assert_array_equal(out, x.T)
