"""Statistical, searching, sorting, set and utility functions, beside array-api-strict."""

import warnings

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
    UNSIGNED,
    arrays,
    few,
    name_of,
    ours,
    plain,
    same,
    strict,
    theirs,
    xp,
)

pytest.importorskip("array_api_strict")

REDUCTIONS = {
    "all": EVERY, "any": EVERY, "count_nonzero": EVERY, "max": ORDERED, "min": ORDERED,
    "mean": REAL + COMPLEX, "prod": NUMERIC, "std": REAL, "sum": NUMERIC, "var": REAL,
}  # fmt: skip


def axes(draw, ndim):
    """None, an axis, or several."""
    if not ndim:
        return None
    one = st.integers(-ndim, ndim - 1)
    some = st.lists(one, max_size=ndim, unique_by=lambda a: a % ndim).map(tuple)
    return draw(st.one_of(st.none(), one, some))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    @few
    @given(st.data())
    def check(data):
        a = data.draw(arrays(REDUCTIONS[name], special=False, small=name != "all"))
        kw = {"axis": axes(data.draw, a.ndim), "keepdims": data.draw(st.booleans())}
        if name in ("max", "min"):
            gone = range(a.ndim) if kw["axis"] is None else np.atleast_1d(kw["axis"])
            if any(a.shape[int(d)] == 0 for d in gone):
                return
        if name in ("std", "var"):
            kw["correction"] = data.draw(st.sampled_from([0.0, 1.0, 0.5, 1]))
        if name in ("sum", "prod") and data.draw(st.booleans()):
            kind = {"i": ("int64",), "u": ("uint64",), "f": REAL, "c": COMPLEX}[a.dtype.kind]
            dtype = data.draw(st.sampled_from([d for d in kind if np.can_cast(a.dtype, d)]))
            mine, other = {"dtype": getattr(xp, dtype)}, {"dtype": getattr(strict(), dtype)}
        else:
            mine = other = {}
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = getattr(strict(), name)(theirs(a), **kw, **other)
        out = getattr(xp, name)(ours(a), **kw, **mine)
        if name in ("std", "var", "mean", "sum", "prod") and a.dtype.kind in "fc":
            np.testing.assert_allclose(plain(out), plain(expected), rtol=1e-3, atol=1e-3)
            assert out.shape == expected.shape and name_of(out) == plain(expected).dtype
        elif not (mine or other) and name in ("sum", "prod") and a.dtype.kind in "iu":
            same(out, expected)
        else:
            same(out, expected)

    check()


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_of_special_numbers(name):
    for dtype in REAL:
        for values in ([1.0, np.nan], [np.inf, -np.inf], [np.nan, np.inf, 0.0]):
            a = np.array(values, dtype)
            same(getattr(xp, name)(ours(a)), getattr(strict(), name)(theirs(a)))


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
def test_cumulative(name):
    @few
    @given(st.data())
    def check(data):
        shape = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
        a = data.draw(arrays(NUMERIC, shape=shape, special=False, small=True))
        axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
        kw = {"axis": None if a.ndim == 1 else axis, "include_initial": data.draw(st.booleans())}
        same(getattr(xp, name)(ours(a), **kw), getattr(strict(), name)(theirs(a), **kw), rtol=1e-3)

    check()


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_of_extremes(name):
    @few
    @given(st.data())
    def check(data):
        shape = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
        a = data.draw(arrays(ORDERED, shape=shape, small=data.draw(st.booleans()), special=False))
        axis = data.draw(st.none() | st.integers(-a.ndim, a.ndim - 1)) if a.ndim else None
        kw = {"axis": axis, "keepdims": data.draw(st.booleans())}
        same(getattr(xp, name)(ours(a), **kw), getattr(strict(), name)(theirs(a), **kw))

    check()


@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_sorting(name):
    @few
    @given(st.data())
    def check(data):
        shape = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)
        a = data.draw(arrays(ORDERED, shape=shape, small=True, special=False))
        kw = {
            "axis": data.draw(st.integers(-a.ndim, a.ndim - 1)),
            "descending": data.draw(st.booleans()),
        }
        same(getattr(xp, name)(ours(a), **kw), getattr(strict(), name)(theirs(a), **kw))

    check()


@few
@given(arrays(EVERY, shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
def test_nonzero(a):
    same(xp.nonzero(ours(a)), strict().nonzero(theirs(a)))


def test_nonzero_wants_dimensions():
    with pytest.raises(ValueError):
        xp.nonzero(xp.asarray(1))


@few
@given(st.data())
def test_searchsorted(data):
    dtype = data.draw(st.sampled_from(ORDERED))
    vector = hnp.array_shapes(min_dims=1, max_dims=1, min_side=0, max_side=6)
    a = data.draw(arrays((dtype,), shape=vector, small=True, special=False))
    b = data.draw(arrays((dtype,), small=True, special=False))
    side = data.draw(st.sampled_from(["left", "right"]))
    order = np.argsort(a)
    same(
        xp.searchsorted(ours(a), ours(b), side=side, sorter=ours(order)),
        strict().searchsorted(theirs(a), theirs(b), side=side, sorter=theirs(order)),
    )
    same(
        xp.searchsorted(ours(a[order]), ours(b), side=side),
        strict().searchsorted(theirs(a[order]), theirs(b), side=side),
    )


@few
@given(st.data())
def test_where(data):
    dtypes = data.draw(st.sampled_from([INTEGERS[:4], UNSIGNED, REAL, COMPLEX, ("bool",)]))
    found = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3))
    c, x, y = found.input_shapes
    c = data.draw(hnp.arrays("bool", c))
    x = data.draw(arrays(dtypes, shape=st.just(x)))
    y = data.draw(arrays(dtypes, shape=st.just(y)))
    same(xp.where(*map(ours, (c, x, y))), strict().where(*map(theirs, (c, x, y))), zeros=True)
    number = x.dtype.type(1).item()
    same(xp.where(ours(c), ours(x), number), strict().where(theirs(c), theirs(x), number))
    same(xp.where(ours(c), number, ours(x)), strict().where(theirs(c), number, theirs(x)))


@pytest.mark.parametrize("dtype", EVERY)
def test_sets(dtype):
    @few
    @given(arrays((dtype,), small=dtype not in REAL))
    def check(a):
        values, indices, inverse, counts = xp.unique_all(ours(a))
        v, i, k, c = map(plain, (values, indices, inverse, counts))
        assert name_of(values) == dtype and indices.dtype == inverse.dtype == counts.dtype
        assert counts.dtype == xp.int64 and k.shape == a.shape and c.sum() == a.size
        np.testing.assert_array_equal(v[k], a)
        flat = a.reshape(-1)
        np.testing.assert_array_equal(flat[i], v)
        nans = np.isnan(v) if a.dtype.kind in "fc" else np.zeros(v.shape, bool)
        assert len(np.unique(v[~nans])) == (~nans).sum() and (c[nans] == 1).all()
        for j in range(len(v)):
            if not nans[j]:
                assert i[j] == np.flatnonzero(flat == v[j])[0] and c[j] == (flat == v[j]).sum()
        np.testing.assert_array_equal(plain(xp.unique_values(ours(a))), v)
        same_counts, same_inverse = xp.unique_counts(ours(a)), xp.unique_inverse(ours(a))
        np.testing.assert_array_equal(plain(same_counts.counts), c)
        np.testing.assert_array_equal(plain(same_inverse.inverse_indices), k)

    check()


@few
@given(st.data())
def test_diff(data):
    shape = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5)
    a = data.draw(arrays(NUMERIC, shape=shape, special=False, small=True))
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    n = data.draw(st.integers(0, 3))
    same(xp.diff(ours(a), axis=axis, n=n), strict().diff(theirs(a), axis=axis, n=n), rtol=1e-3)
    if n:
        same(
            xp.diff(ours(a), axis=axis, n=n, prepend=ours(a), append=ours(a)),
            strict().diff(theirs(a), axis=axis, n=n, prepend=theirs(a), append=theirs(a)),
            rtol=1e-3,
        )
