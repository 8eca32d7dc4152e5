"""Reductions in generated CPU code: values, accuracy, and what must not change them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from codegen import cpu
from codegen.cpu import REDUCE_SHAPES, launch, reduction, sample, softmax
from codegen.oracle import HALF, Maker
from cupola import dtypes as D
from cupola.backends.cpu import threads
from cupola.codegen.form import Inst


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
    cpu.BACKEND.compile(m.kernel)([np.zeros((0, 5), np.float32)], m.meta, ())
    m, _ = reduction((4,), (0,), D.float32, ["sum", "prod"], "rows")
    out = [np.ones(4, np.float32), np.zeros(4, np.float32)]
    cpu.BACKEND.compile(m.kernel)([np.zeros((4, 0), np.float32), *out], m.meta, ())
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
                cpu.BACKEND.compile(m.kernel)([x, *out], m.meta, ())
                results.append(out)
            for other in results[1:]:
                np.testing.assert_array_equal(results[0][0], other[0])
                np.testing.assert_array_equal(results[0][1], other[1])
    finally:
        threads.set(before)
