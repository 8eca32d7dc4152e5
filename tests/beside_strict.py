"""What the Array API tests share: the same calls on cupola's namespace and on array-api-strict."""

import functools
import os
import warnings

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cupola

VERSION = "2024.12"
xp = cupola.ones(()).__array_namespace__(api_version=VERSION)

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
REAL = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
NUMERIC = INTEGERS + REAL + COMPLEX
EVERY = ("bool", *NUMERIC)
ORDERED = INTEGERS + REAL

# CUPOLA_EXAMPLES=300 looks further than CI has time for.
few = settings(
    max_examples=int(os.environ.get("CUPOLA_EXAMPLES", "12")),
    deadline=None,
    derandomize=True,
    database=None,
)


@functools.cache
def strict():
    """array-api-strict at the standard's version that cupola follows."""
    import array_api_strict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array_api_strict.set_array_api_strict_flags(api_version=VERSION)
    return array_api_strict


def ours(array):
    """A NumPy array as cupola's."""
    return xp.asarray(np.asarray(array), copy=True)


def theirs(array):
    """A NumPy array as array-api-strict's."""
    return strict().asarray(np.array(array))


def plain(x):
    """An array of either library as NumPy's."""
    if isinstance(x, cupola.Tensor):
        return x.detach().numpy()
    return np.asarray(x._array)


def name_of(x):
    return str(x.dtype).removeprefix("torch.")


_SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.5, 2.0, 3.0, np.inf, -np.inf, np.nan]


def elements(dtype, special=True, small=False):
    """A strategy for elements of a NumPy dtype; ``small``: no result overflows easily."""
    d = np.dtype(dtype)
    if d.kind == "b":
        return st.booleans()
    if d.kind in "iu":
        info = np.iinfo(d)
        low, high = (max(info.min, -9), min(info.max, 9)) if small else (info.min, info.max)
        return st.integers(int(low), int(high))
    width = 32 if d.itemsize in (4, 8) and d != np.float64 else 64
    bound = 16.0 if small else None
    number = st.floats(
        width=width,
        min_value=None if bound is None else -bound,
        max_value=bound,
        allow_nan=None if small else special,
        allow_infinity=None if small else special,
        allow_subnormal=False,
    )
    if small:
        number = number.map(lambda v: float(np.float32(round(v, 3))))
    if special:
        number = st.one_of(number, st.sampled_from(_SPECIAL))
    return st.builds(complex, number, number) if d.kind == "c" else number


shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def arrays(draw, dtypes, shape=shapes, **how):
    """NumPy arrays of one of several dtypes."""
    dtype = draw(st.sampled_from(dtypes))
    made = draw(hnp.arrays(dtype, draw(shape), elements=elements(dtype, **how)))
    return made


@st.composite
def pairs(draw, dtypes, mixed=True, **how):
    """Two NumPy arrays that broadcast, and whose dtypes promote."""
    first = draw(st.sampled_from(dtypes))
    second = draw(st.sampled_from([d for d in dtypes if mixed and promotes(first, d)] or [first]))
    if not mixed:
        second = first
    both = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4))
    return tuple(
        draw(hnp.arrays(d, s, elements=elements(d, **how)))
        for d, s in zip((first, second), both.input_shapes, strict=True)
    )


def promotes(a, b):
    """Whether the standard defines the result of two dtypes."""
    kinds = {np.dtype(a).kind, np.dtype(b).kind}
    if "uint64" in (a, b) and kinds == {"i", "u"}:
        return False
    return len(kinds) == 1 or kinds in ({"i", "u"}, {"f", "c"})


def same(mine, other, rtol=None, exact=False, zeros=False):
    """Asserts that results of both libraries agree: type, dtype, shape, values.

    Args:
        rtol: relative tolerance of floating values, against the largest; by default 1e-5 and
            1e-12.
        exact: values must be equal.
        zeros: the signs of zeros must agree too.
    """
    if isinstance(other, (tuple, list)):
        assert isinstance(mine, (tuple, list)) and len(mine) == len(other)
        if hasattr(other, "_fields"):
            assert mine._fields == other._fields
        for m, o in zip(mine, other, strict=True):
            same(m, o, rtol, exact, zeros)
        return
    if not hasattr(other, "_array"):
        assert type(mine) is type(other) and mine == other
        return
    assert isinstance(mine, xp.Array), f"a {type(mine).__name__}, not an Array"
    assert name_of(mine) == str(other.dtype).rpartition(".")[2], (mine.dtype, other.dtype)
    assert tuple(mine.shape) == tuple(other.shape)
    a, b = plain(mine), plain(other)
    if exact or a.dtype.kind in "biu":
        np.testing.assert_array_equal(a, b)
    else:
        tolerance = rtol or (1e-5 if a.dtype.itemsize == 4 or a.dtype == np.complex64 else 1e-12)
        with np.errstate(all="ignore"):
            size = np.abs(b[np.isfinite(b)]).max(initial=0)
        if not np.isfinite(size):
            size = 0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * min(size, 1e30) * 0)
    if zeros and a.dtype.kind == "f":
        at = b == 0
        np.testing.assert_array_equal(np.signbit(a[at]), np.signbit(b[at]))
