"""Every instruction of the loop form, generated for this processor, against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from codegen import cpu
from codegen.cpu import ALL, COMPARE, FLOATS, FUNCTIONS, INTEGERS, UNARY, launch, many, sample
from codegen.oracle import HALF, Maker
from cupola import dtypes as D
from cupola.codegen.form import Inst

SIZES = [1, 7, 8, 9, 31, 33, 1000]


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
            cpu.BACKEND.compile(m.kernel)([view, target], m.meta, ())
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
        cpu.BACKEND.compile(m.kernel)([x, out], m.meta, ())
        np.testing.assert_array_equal(out, x.T)
