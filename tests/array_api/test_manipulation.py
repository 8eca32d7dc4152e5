"""Creation, manipulation and indexing functions, beside array-api-strict."""

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cupola
from beside_strict import (
    COMPLEX,
    EVERY,
    INTEGERS,
    NUMERIC,
    ORDERED,
    REAL,
    UNSIGNED,
    arrays,
    elements,
    few,
    name_of,
    ours,
    pairs,
    plain,
    same,
    shapes,
    strict,
    theirs,
    xp,
)

pytest.importorskip("array_api_strict")

SOLID = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)


def beside(name, a, *rest, **kw):
    same(getattr(xp, name)(ours(a), *rest, **kw), getattr(strict(), name)(theirs(a), *rest, **kw))


def an_axis(draw, ndim):
    return draw(st.integers(-ndim, ndim - 1))


def some_axes(draw, ndim):
    one = st.integers(-ndim, ndim - 1)
    return tuple(draw(st.lists(one, max_size=ndim, unique_by=lambda a: a % ndim)))


@few
@given(st.data())
def test_moves(data):
    a = data.draw(arrays(EVERY, shape=SOLID))
    axis, axes = an_axis(data.draw, a.ndim), some_axes(data.draw, a.ndim)
    beside("flip", a)
    beside("flip", a, axis=axis)
    beside("flip", a, axis=axes)
    order = tuple(data.draw(st.permutations(range(a.ndim))))
    beside("permute_dims", a, order)
    beside("moveaxis", a, axis, an_axis(data.draw, a.ndim))
    beside("moveaxis", a, axes, tuple(data.draw(st.permutations(range(a.ndim))))[: len(axes)])
    shift = data.draw(st.integers(-9, 9))
    beside("roll", a, shift)
    beside("roll", a, shift, axis=axis)
    if axes:
        beside("roll", a, shift, axis=axes)
        shifts = tuple(data.draw(st.integers(-9, 9)) for _ in axes)
        beside("roll", a, shifts, axis=axes)
    beside("unstack", a, axis=axis)
    if a.ndim >= 2:
        beside("matrix_transpose", a)
        k = data.draw(st.integers(-5, 5))
        beside("tril", a, k=k)
        beside("triu", a, k=k)


@few
@given(st.data())
def test_shapes(data):
    a = data.draw(arrays(EVERY))
    beside("expand_dims", a, data.draw(st.integers(-a.ndim - 1, a.ndim)))
    beside("reshape", a, (a.size,))
    beside("reshape", a, (a.size,), copy=True)
    if a.size:
        beside("reshape", a, (-1, 1))
    ones = a.reshape(1, *a.shape, 1)
    beside("squeeze", ones, 0)
    beside("squeeze", ones, (0, -1))
    beside("broadcast_to", a, (2, *a.shape))
    repetitions = tuple(data.draw(st.lists(st.integers(0, 3), max_size=4)))
    beside("tile", a, repetitions)
    assert plain(xp.reshape(ours(a), (a.size,), copy=False)).shape == (a.size,)


@few
@given(st.data())
def test_repeat(data):
    a = data.draw(arrays(EVERY, shape=SOLID))
    axis = an_axis(data.draw, a.ndim)
    n = data.draw(st.integers(0, 3))
    beside("repeat", a, n)
    beside("repeat", a, n, axis=axis)
    each = data.draw(hnp.arrays("int64", a.shape[axis], elements=st.integers(0, 3)))
    for dtype in ("int64", "int8", "uint16"):
        same(
            xp.repeat(ours(a), ours(each.astype(dtype)), axis=axis),
            strict().repeat(theirs(a), theirs(each), axis=axis),
        )


@few
@given(st.data())
def test_joins(data):
    kinds = st.sampled_from([INTEGERS[:4], UNSIGNED, REAL, COMPLEX, ("bool",)])
    dtypes = data.draw(kinds)
    shape = data.draw(SOLID)
    axis = an_axis(data.draw, len(shape))
    made = []
    for _ in range(data.draw(st.integers(1, 3))):
        own = list(shape)
        own[axis] = data.draw(st.integers(0, 3))
        made.append(data.draw(arrays(dtypes, shape=st.just(tuple(own)))))
    same(
        xp.concat([ours(a) for a in made], axis=axis),
        strict().concat([theirs(a) for a in made], axis=axis),
    )
    same(
        xp.concat([ours(a) for a in made], axis=None),
        strict().concat([theirs(a) for a in made], axis=None),
    )
    alike = [data.draw(arrays(dtypes, shape=st.just(shape))) for _ in made]
    at = data.draw(st.integers(-len(shape) - 1, len(shape)))
    same(
        xp.stack([ours(a) for a in alike], axis=at),
        strict().stack([theirs(a) for a in alike], axis=at),
    )


@few
@given(pairs(EVERY))
def test_broadcasts(ab):
    same(xp.broadcast_arrays(*map(ours, ab)), strict().broadcast_arrays(*map(theirs, ab)))
    assert xp.broadcast_shapes(*(a.shape for a in ab)) == np.broadcast_shapes(
        *(a.shape for a in ab)
    )


@few
@given(st.data())
def test_takes(data):
    a = data.draw(arrays(EVERY, shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)))
    axis = an_axis(data.draw, a.ndim)
    n = a.shape[axis]
    where = st.integers(-n, n - 1)
    index = data.draw(hnp.arrays("int64", data.draw(st.integers(0, 5)), elements=where))
    same(
        xp.take(ours(a), ours(index), axis=axis), strict().take(theirs(a), theirs(index), axis=axis)
    )
    places = list(a.shape)
    places[axis] = data.draw(st.integers(0, 4))
    index = data.draw(hnp.arrays("int64", tuple(places), elements=where))
    same(
        xp.take_along_axis(ours(a), ours(index), axis=axis),
        strict().take_along_axis(theirs(a), theirs(index), axis=axis),
    )


# --- creation


@few
@given(st.data())
def test_arange(data):
    number = st.one_of(st.integers(-20, 20), st.floats(-20, 20).map(lambda v: round(v, 1)))
    start, stop = data.draw(number), data.draw(st.none() | number)
    step = data.draw(number.filter(lambda v: abs(v) > 0.2))
    dtype = data.draw(st.sampled_from([d for d in ORDERED if d not in UNSIGNED]))
    whole = all(isinstance(v, int) for v in (start, step)) and not isinstance(stop, float)
    if dtype in INTEGERS and not whole:
        return
    same(
        xp.arange(start, stop, step, dtype=getattr(xp, dtype)),
        strict().arange(start, stop, step, dtype=getattr(strict(), dtype)),
        rtol=1e-5,
    )
    if whole:
        assert xp.arange(start, stop, step).dtype == xp.int64


def test_arange_of_large_numbers():
    top = 2**64 - 1
    assert plain(xp.arange(top - 3, top, dtype=xp.uint64)).tolist() == [top - 3, top - 2, top - 1]
    low = -(2**63)
    assert plain(xp.arange(low, low + 2, dtype=xp.int64)).tolist() == [low, low + 1]
    assert xp.arange(5, 2).shape == (0,) and xp.arange(5, 2).dtype == xp.int64
    assert xp.arange(0, 1, 0.25).dtype == xp.float32


@few
@given(st.data())
def test_linspace(data):
    dtype = data.draw(st.sampled_from(REAL + COMPLEX))
    bound = elements(dtype, special=False, small=True)
    args = data.draw(bound), data.draw(bound), data.draw(st.integers(0, 20))
    kw = {"endpoint": data.draw(st.booleans())}
    mine = xp.linspace(*args, dtype=getattr(xp, dtype), **kw)
    expected = strict().linspace(*args, dtype=getattr(strict(), dtype), **kw)
    assert name_of(mine) == dtype
    np.testing.assert_allclose(plain(mine), plain(expected), rtol=1e-5, atol=1e-5)
    if args[2] > 1:
        assert plain(mine)[0] == np.dtype(dtype).type(args[0])
        if kw["endpoint"]:
            assert plain(mine)[-1] == np.dtype(dtype).type(args[1])
        else:
            longer = xp.linspace(args[0], args[1], args[2] + 1, dtype=mine.dtype)
            np.testing.assert_array_equal(plain(mine), plain(longer)[:-1])


@few
@given(st.data())
def test_filled(data):
    dtype, shape = data.draw(st.sampled_from(EVERY)), data.draw(shapes)
    value = data.draw(elements(dtype))
    mine, other = getattr(xp, dtype), getattr(strict(), dtype)
    same(xp.full(shape, value, dtype=mine), strict().full(shape, value, dtype=other))
    for name in ("zeros", "ones"):
        same(getattr(xp, name)(shape, dtype=mine), getattr(strict(), name)(shape, dtype=other))
        like = np.zeros(shape, "int8")
        same(
            getattr(xp, f"{name}_like")(ours(like), dtype=mine),
            getattr(strict(), f"{name}_like")(theirs(like), dtype=other),
        )
    assert xp.empty(shape, dtype=mine).shape == shape
    assert xp.empty_like(xp.empty(shape, dtype=mine)).dtype == mine
    a = xp.full_like(xp.zeros(shape, dtype=mine), value)
    assert a.dtype == mine and a.shape == shape
    n, m, k = (data.draw(st.integers(0, 5)) for _ in range(3))
    same(xp.eye(n, m, k=k - 2, dtype=mine), strict().eye(n, m, k=k - 2, dtype=other))


def test_default_dtypes():
    assert xp.zeros(2).dtype == xp.float32 and xp.full(2, 1).dtype == xp.int64
    assert xp.full((), True).dtype == xp.bool and xp.full((), 1j).dtype == xp.complex64
    assert xp.asarray(1.0).dtype == xp.float32 and xp.asarray([1, 2.0]).dtype == xp.float32
    assert xp.asarray([True, False]).dtype == xp.bool and xp.asarray([[1]]).dtype == xp.int64
    assert xp.asarray([]).dtype == xp.float32 and xp.linspace(0, 1, 3).dtype == xp.float32
    assert xp.eye(2).dtype == xp.float32 and xp.linspace(0j, 1, 3).dtype == xp.complex64
    assert xp.eye(2, k=10**30).shape == (2, 2)


@few
@given(st.data())
def test_meshgrid(data):
    vector = hnp.array_shapes(min_dims=1, max_dims=1, min_side=0, max_side=4)
    dtype = data.draw(st.sampled_from(NUMERIC))
    made = [data.draw(arrays((dtype,), shape=vector)) for _ in range(data.draw(st.integers(1, 3)))]
    for indexing in ("xy", "ij"):
        same(
            tuple(xp.meshgrid(*map(ours, made), indexing=indexing)),
            tuple(strict().meshgrid(*map(theirs, made), indexing=indexing)),
        )


@few
@given(arrays(EVERY))
def test_asarray(a):
    mine = getattr(xp, str(a.dtype))
    # A list does not say what the sizes after a 0 are.
    for given_as in (a if 0 in a.shape else a.tolist(), a, ours(a), theirs(a)):
        x = xp.asarray(given_as, dtype=mine)
        assert x.dtype == mine and x.shape == a.shape
        np.testing.assert_array_equal(plain(x), a)
    x = xp.asarray(a, copy=True)
    kept = a.copy()
    a.fill(1)
    np.testing.assert_array_equal(plain(x), kept)
    y = xp.asarray(x)
    z = xp.asarray(x, copy=True)
    assert y is x and z is not x and xp.asarray(x, copy=False) is x
    if x.size:
        z[...] = 1
        np.testing.assert_array_equal(plain(x), kept)


def test_asarray_of_other_things():
    nested = [[xp.asarray(1, dtype=xp.int8), xp.asarray(2, dtype=xp.int16)]]
    assert xp.asarray(nested).dtype == xp.int16 and plain(xp.asarray(nested)).tolist() == [[1, 2]]
    numbers = array.array("d", [1.0, 2.0])
    assert xp.asarray(numbers).dtype == xp.float64
    assert plain(xp.asarray(memoryview(b"ab"))).tolist() == [97, 98]
    assert plain(xp.asarray(range(3))).tolist() == [0, 1, 2]
    top = 2**64 - 1
    assert int(xp.asarray(top, dtype=xp.uint64)) == top
    for value, dtype in ((2**63, None), (256, xp.uint8), (-1, xp.uint64), ([2**63], None)):
        with pytest.raises(OverflowError):
            xp.asarray(value, dtype=dtype)
    for value in (1, [1.0], xp.asarray([1.0])):
        with pytest.raises(ValueError):
            xp.asarray(value, dtype=xp.float64, copy=False)
    shared = np.arange(3.0)
    xp.asarray(shared)[0] = 7
    assert shared[0] == 7
    given = cupola.ones(2)
    assert xp.asarray(given) is given and type(xp.asarray(given, copy=True)) is xp.Array


# --- dtypes


def test_result_types_are_the_standards():
    for a in EVERY:
        for b in EVERY:
            try:
                expected = strict().result_type(getattr(strict(), a), getattr(strict(), b))
            except TypeError:
                continue
            found = xp.result_type(getattr(xp, a), getattr(xp, b))
            assert str(expected).rpartition(".")[2] == found.name
    with pytest.raises(TypeError):
        xp.result_type(xp.int8, xp.uint64)
    with pytest.raises(ValueError):
        xp.result_type(1, 2.0)
    assert xp.result_type(xp.int8, 1) == xp.int8 and xp.result_type(xp.float32, 1) == xp.float32
    assert xp.result_type(xp.float32, 1j) == xp.complex64
    assert xp.result_type(xp.ones(2, dtype=xp.int8), xp.asarray(1, dtype=xp.int16)) == xp.int16


def test_casts_that_promotion_allows():
    for a in EVERY:
        for b in EVERY:
            expected = strict().can_cast(getattr(strict(), a), getattr(strict(), b))
            assert xp.can_cast(getattr(xp, a), getattr(xp, b)) == expected, (a, b)


def test_kinds():
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating",
             "complex floating", "numeric")  # fmt: skip
    for name in EVERY:
        for kind in (*kinds, ("integral", "bool"), ("real floating", "complex floating")):
            expected = strict().isdtype(getattr(strict(), name), kind)
            assert xp.isdtype(getattr(xp, name), kind) == expected
        assert xp.isdtype(getattr(xp, name), getattr(xp, name))
    with pytest.raises(ValueError):
        xp.isdtype(xp.int8, "letters")
    with pytest.raises(TypeError):
        xp.isdtype(xp.int8, 3)


def test_limits():
    for name in REAL + COMPLEX:
        mine, other = xp.finfo(getattr(xp, name)), strict().finfo(getattr(strict(), name))
        for field in ("bits", "eps", "max", "min", "smallest_normal"):
            assert getattr(mine, field) == getattr(other, field)
            assert type(getattr(mine, field)) is type(getattr(other, field))
        assert str(other.dtype).rpartition(".")[2] == mine.dtype.name
    for name in INTEGERS:
        mine, other = xp.iinfo(getattr(xp, name)), strict().iinfo(getattr(strict(), name))
        assert (mine.bits, mine.max, mine.min) == (other.bits, other.max, other.min)
        assert mine.dtype == getattr(xp, name) and xp.iinfo(xp.ones(1, dtype=mine.dtype)) == mine


@few
@given(st.data())
def test_astype(data):
    a = data.draw(arrays(EVERY, small=True, special=False))
    if a.dtype.kind in "fc":
        a = np.abs(a)
    target = data.draw(st.sampled_from(EVERY))
    if a.dtype.kind == "c" and target not in COMPLEX:
        if target != "bool":
            with pytest.raises(TypeError):
                xp.astype(ours(a), getattr(xp, target))
        return
    if (a < 0).any() and target in UNSIGNED:
        return
    same(
        xp.astype(ours(a), getattr(xp, target)),
        strict().astype(theirs(a), getattr(strict(), target)),
    )
    x = ours(a)
    assert xp.astype(x, x.dtype, copy=False) is x and xp.astype(x, x.dtype) is not x
    assert xp.astype(x, x.dtype, device=x.device).device == x.device


def test_inspection():
    info = xp.__array_namespace_info__()
    assert set(info.capabilities()) == {
        "boolean indexing", "data-dependent shapes", "max dimensions"
    }  # fmt: skip
    assert info.default_device() in info.devices()
    assert info.default_dtypes() == {
        "real floating": xp.float32, "complex floating": xp.complex64, "integral": xp.int64,
        "indexing": xp.int64,
    }  # fmt: skip
    assert set(info.dtypes()) == set(EVERY)
    theirs_info = strict().__array_namespace_info__()
    for kind in ("bool", "integral", "numeric", ("signed integer", "real floating"), ()):
        mine = {k: v.name for k, v in info.dtypes(kind=kind).items()}
        other = {k: str(v).rpartition(".")[2] for k, v in theirs_info.dtypes(kind=kind).items()}
        assert mine == other
    for device in info.devices():
        assert info.dtypes(device=device) and info.default_dtypes(device=device)
