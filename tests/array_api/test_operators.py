"""The array object: operators, Python numbers, in-place forms, subscripts, conversions."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from beside_strict import (
    COMPLEX,
    EVERY,
    INTEGERS,
    NUMERIC,
    ORDERED,
    REAL,
    arrays,
    elements,
    few,
    ours,
    pairs,
    plain,
    promotes,
    same,
    shapes,
    theirs,
    xp,
)

pytest.importorskip("array_api_strict")

BITS = ("bool", *INTEGERS)
OPERATORS = {
    "add": NUMERIC, "sub": NUMERIC, "mul": NUMERIC, "truediv": REAL + COMPLEX,
    "floordiv": ORDERED, "mod": ORDERED, "pow": ORDERED, "and_": BITS, "or_": BITS, "xor": BITS,
    "lshift": INTEGERS, "rshift": INTEGERS, "eq": EVERY, "ne": EVERY, "lt": ORDERED,
    "le": ORDERED, "gt": ORDERED, "ge": ORDERED,
}  # fmt: skip
SHIFTS = ("lshift", "rshift")


def usable(name, a, b):
    """Whether the standard says what the result is, and array-api-strict follows it."""
    a, b = np.asarray(a), np.asarray(b)
    if name in SHIFTS or name == "pow":
        return not (b.dtype.kind in "iu" and ((b < 0).any() or (b > 7).any()))
    if name in ("floordiv", "mod"):
        return (b != 0).all() and np.isfinite(a).all() and np.isfinite(b).all()
    return True


def applied(f, *xs):
    with np.errstate(all="ignore"):
        return f(*xs)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name):
    f = getattr(operator, name)

    @few
    @given(pairs(OPERATORS[name], small=name in SHIFTS).filter(lambda ab: usable(name, *ab)))
    def check(ab):
        same(f(*map(ours, ab)), applied(f, *map(theirs, ab)), zeros=True)

    check()


@st.composite
def with_number(draw, dtypes):
    """An array and a Python number of its kind that it holds."""
    dtype = draw(st.sampled_from(dtypes))
    array = draw(arrays((dtype,), small=True))
    number = draw(elements(dtype, small=True, special=False))
    return array, number


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_with_numbers(name):
    f = getattr(operator, name)

    @few
    @given(with_number(OPERATORS[name]))
    def check(drawn):
        a, v = drawn
        if usable(name, a, v):
            same(f(ours(a), v), applied(f, theirs(a), v), zeros=True)
        if usable(name, v, a) and not (name == "pow" and isinstance(v, float) and v < 0):
            same(f(v, ours(a)), applied(f, v, theirs(a)), zeros=True)

    check()


@pytest.mark.parametrize("name", [n for n in OPERATORS if n not in "eq ne lt le gt ge".split()])
def test_in_place(name):
    f = getattr(operator, "i" + name.rstrip("_"))

    @st.composite
    def drawn(draw):
        first = draw(st.sampled_from(OPERATORS[name]))
        smaller = [
            d for d in OPERATORS[name]
            if promotes(first, d) and np.promote_types(first, d) == np.dtype(first)
        ]  # fmt: skip
        second = draw(st.sampled_from(smaller))
        shape = draw(shapes)
        other = draw(hnp.broadcastable_shapes(shape, max_dims=len(shape), min_side=0))
        other = other if np.broadcast_shapes(shape, other) == shape else shape
        how = {"small": name in SHIFTS}
        return (
            draw(hnp.arrays(first, shape, elements=elements(first, **how))),
            draw(hnp.arrays(second, other, elements=elements(second, **how))),
        )

    @few
    @given(drawn().filter(lambda ab: usable(name, *ab)))
    def check(ab):
        mine, other = ours(ab[0]), theirs(ab[0])
        kept = mine
        mine = f(mine, ours(ab[1]))
        assert mine is kept
        same(mine, applied(f, other, theirs(ab[1])), zeros=True)

    check()


def test_in_place_keeps_the_dtype():
    x = xp.asarray([1, 2], dtype=xp.int8)
    with pytest.raises(TypeError, match="int16"):
        x += xp.asarray([1, 2], dtype=xp.int16)
    x @= xp.asarray([[1, 0], [0, 1]], dtype=xp.int8)
    assert plain(x).tolist() == [1, 2] and x.dtype == xp.int8


@pytest.mark.parametrize("f", [abs, operator.neg, operator.pos, operator.invert])
def test_unary_operators(f):
    @few
    @given(arrays(BITS if f is operator.invert else NUMERIC))
    def check(a):
        same(f(ours(a)), applied(f, theirs(a)), zeros=True)

    check()


# --- subscripts


@few
@given(st.data())
def test_basic_subscripts(data):
    a = data.draw(arrays(EVERY))
    key = data.draw(hnp.basic_indices(a.shape, allow_newaxis=True, allow_ellipsis=True))
    expected = theirs(a)._array[key]
    out = ours(a)[key]
    assert isinstance(out, xp.Array)
    np.testing.assert_array_equal(plain(out), expected)


@few
@given(st.data())
def test_writing_subscripts(data):
    a = data.draw(arrays(EVERY, special=False))
    key = data.draw(hnp.basic_indices(a.shape, allow_newaxis=True, allow_ellipsis=True))
    value = data.draw(elements(a.dtype, special=False))
    mine = ours(a)
    mine[key] = value
    other = a.copy()
    other[key] = value
    np.testing.assert_array_equal(plain(mine), other)


@few
@given(st.data())
def test_masks(data):
    a = data.draw(arrays(EVERY))
    mask = data.draw(hnp.arrays("bool", a.shape[: data.draw(st.integers(0, a.ndim))]))
    np.testing.assert_array_equal(plain(ours(a)[ours(mask)]), a[mask])
    mine, other = ours(a), a.copy()
    mine[ours(mask)] = 1
    other[mask] = 1
    np.testing.assert_array_equal(plain(mine), other)


@few
@given(st.data())
def test_integer_array_subscripts(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    a = data.draw(arrays(EVERY, shape=st.just(shape)))
    common = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3))
    key = []
    for n in shape[: data.draw(st.integers(1, len(shape)))]:
        if data.draw(st.booleans()):
            key.append(data.draw(hnp.arrays("int64", common, elements=st.integers(-n, n - 1))))
        else:
            key.append(data.draw(st.integers(-n, n - 1)))
    mine = tuple(ours(k) if isinstance(k, np.ndarray) else k for k in key)
    np.testing.assert_array_equal(plain(ours(a)[mine]), a[tuple(key)])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_indices_of_every_integer_type(dtype):
    x = xp.arange(5)
    index = xp.asarray([3, 0, 1], dtype=getattr(xp, dtype))
    assert plain(x[index]).tolist() == [3, 0, 1]
    assert int(x[index[0]]) == 3 and operator.index(index[0]) == 3


def test_masks_without_elements_choose_nothing():
    for shape, mask in (((3,), (0,)), ((2, 3), (2, 0)), ((2, 3), (0,)), ((0, 3), (0, 3))):
        a, m = np.ones(shape), np.zeros(mask, bool)
        np.testing.assert_array_equal(plain(ours(a)[ours(m)]), theirs(a)[theirs(m)]._array)


def test_subscripts_that_do_not_fit():
    x = xp.ones((2, 3))
    for key in ((0, 0, 0), (5,), xp.asarray([True, False, True])):
        with pytest.raises(IndexError):
            x[key]


def test_arrays_are_iterated_by_their_first_dimension():
    assert [int(v) for v in xp.arange(3)] == [0, 1, 2]
    assert all(isinstance(v, xp.Array) for v in xp.arange(3))


# --- conversions and attributes


@few
@given(arrays(EVERY, shape=st.just(()), special=False))
def test_python_numbers(a):
    x = ours(a)
    kind = a.dtype.kind
    assert bool(x) == bool(a)
    if kind != "c":
        assert float(x) == float(a) and int(x) == int(a)
    assert complex(x) == complex(a)
    if kind in "iu":
        assert operator.index(x) == int(a)
    elif kind == "f":
        with pytest.raises(TypeError):
            operator.index(x)


def test_numbers_that_python_has_not():
    inf, nan = xp.asarray(float("inf")), xp.asarray(float("nan"))
    with pytest.raises(OverflowError):
        int(inf)
    with pytest.raises(ValueError):
        int(nan)
    for f in (int, float):
        with pytest.raises(TypeError):
            f(xp.asarray(1j))


def test_attributes():
    x = xp.zeros((2, 3, 4), dtype=xp.uint16)
    assert x.size == 24 and x.size(1) == 3 and x.ndim == 3 and x.shape == (2, 3, 4)
    assert x.mT.shape == (2, 4, 3) and isinstance(x.mT, xp.Array)
    assert x[0].T.shape == (4, 3)
    with pytest.raises(ValueError):
        _ = x.T
    assert x.device in x.__array_namespace__().__array_namespace_info__().devices()
    assert x.to_device(x.device).device == x.device
    assert x.dtype == xp.uint16 and x.dtype != xp.uint32 and len({xp.int8, xp.int8}) == 1
    with pytest.raises(ValueError, match="2019.12"):
        x.__array_namespace__(api_version="2019.12")
