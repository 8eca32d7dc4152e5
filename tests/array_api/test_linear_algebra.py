"""Linear algebra and Fourier transforms, beside array-api-strict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from beside_strict import (
    COMPLEX,
    INTEGERS,
    NUMERIC,
    REAL,
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

FLOATING = REAL + COMPLEX
INF = float("inf")


def close(mine, other, tolerance=2e-3):
    """Types and shapes agree, values roughly: the algorithms differ."""
    assert isinstance(mine, xp.Array) and name_of(mine) == plain(other).dtype.name
    assert mine.shape == other.shape
    np.testing.assert_allclose(plain(mine), plain(other), rtol=tolerance, atol=tolerance)


def values(dtypes, shape):
    return arrays(dtypes, shape=shape, small=True, special=False)


@few
@given(st.data())
def test_products(data):
    dtypes = (data.draw(st.sampled_from(NUMERIC)),)
    found = data.draw(hnp.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)"))
    a, b = (data.draw(values(dtypes, st.just(s))) for s in found.input_shapes)
    close(xp.matmul(ours(a), ours(b)), strict().matmul(theirs(a), theirs(b)))
    close(ours(a) @ ours(b), theirs(a) @ theirs(b))
    found = data.draw(hnp.mutually_broadcastable_shapes(signature="(n),(n)->()"))
    a, b = (data.draw(values(dtypes, st.just(s))) for s in found.input_shapes)
    for module, other in ((xp, strict()), (xp.linalg, strict().linalg)):
        close(module.vecdot(ours(a), ours(b)), other.vecdot(theirs(a), theirs(b)))
    one = hnp.array_shapes(min_dims=1, max_dims=1, min_side=0, max_side=4)
    a, b = data.draw(values(dtypes, one)), data.draw(values(dtypes, one))
    close(xp.linalg.outer(ours(a), ours(b)), strict().linalg.outer(theirs(a), theirs(b)))


@few
@given(st.data())
def test_tensordot(data):
    dtypes = (data.draw(st.sampled_from(NUMERIC)),)
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=0, max_size=2))
    more = [data.draw(st.lists(st.integers(0, 3), max_size=2)) for _ in range(2)]
    a = data.draw(values(dtypes, st.just((*more[0], *sizes))))
    b = data.draw(values(dtypes, st.just((*sizes, *more[1]))))
    n = len(sizes)
    close(xp.tensordot(ours(a), ours(b), axes=n), strict().tensordot(theirs(a), theirs(b), axes=n))
    pairs = (tuple(range(-n, 0)), tuple(range(n)))
    close(
        xp.linalg.tensordot(ours(a), ours(b), axes=pairs),
        strict().linalg.tensordot(theirs(a), theirs(b), axes=pairs),
    )


matrices = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4)
square = st.tuples(
    hnp.array_shapes(min_dims=0, max_dims=1, min_side=1, max_side=3), st.integers(1, 4)
).map(lambda s: (*s[0], s[1], s[1]))


def regular(a):
    """A well conditioned Hermitian positive definite matrix from any."""
    a = a / (1 + np.abs(a).max(initial=0))
    n = a.shape[-1]
    return (a @ a.swapaxes(-1, -2).conj() + n * np.eye(n)).astype(a.dtype)


@few
@given(st.data())
def test_square_matrices(data):
    a = regular(data.draw(values(FLOATING, square)))
    for name in ("cholesky", "det", "inv", "slogdet"):
        mine, other = getattr(xp.linalg, name)(ours(a)), getattr(strict().linalg, name)(theirs(a))
        if name == "slogdet":
            assert mine._fields == other._fields
            close(mine.sign, other.sign), close(mine.logabsdet, other.logabsdet)
        else:
            close(mine, other)
    close(xp.linalg.cholesky(ours(a), upper=True), strict().linalg.cholesky(theirs(a), upper=True))
    n = data.draw(st.integers(-2, 3))
    close(xp.linalg.matrix_power(ours(a), n), strict().linalg.matrix_power(theirs(a), n))
    close(xp.linalg.eigvalsh(ours(a)), strict().linalg.eigvalsh(theirs(a)))
    found = xp.linalg.eigh(ours(a))
    assert found._fields == ("eigenvalues", "eigenvectors")
    v = plain(found.eigenvectors)
    back = v * plain(found.eigenvalues)[..., None, :] @ v.swapaxes(-1, -2).conj()
    np.testing.assert_allclose(back, a, rtol=1e-3, atol=1e-3)
    for b in (a[..., :1], a[(0,) * (a.ndim - 2)][0], a):
        close(xp.linalg.solve(ours(a), ours(b)), strict().linalg.solve(theirs(a), theirs(b)))


@few
@given(st.data())
def test_any_matrices(data):
    a = data.draw(values(FLOATING, matrices))
    x, y = ours(a), theirs(a)
    close(xp.linalg.svdvals(x), strict().linalg.svdvals(y))
    for full in (True, False):
        found = xp.linalg.svd(x, full_matrices=full)
        other = strict().linalg.svd(y, full_matrices=full)
        assert found._fields == other._fields == ("U", "S", "Vh")
        close(found.S, other.S)
        assert [f.shape for f in found] == [f.shape for f in other]
        k = found.S.shape[-1]
        u, vh = plain(found.U)[..., :k], plain(found.Vh)[..., :k, :]
        np.testing.assert_allclose(u * plain(found.S)[..., None, :] @ vh, a, rtol=1e-3, atol=1e-3)
    for mode in ("reduced", "complete"):
        q, r = xp.linalg.qr(x, mode=mode)
        other = strict().linalg.qr(y, mode=mode)
        assert (q.shape, r.shape) == (other.Q.shape, other.R.shape)
        np.testing.assert_allclose(plain(q) @ plain(r), a, rtol=1e-3, atol=1e-3)
    for rtol in (None, 0.1):
        same(xp.linalg.matrix_rank(x, rtol=rtol), strict().linalg.matrix_rank(y, rtol=rtol))
    inverse = plain(xp.linalg.pinv(x, rtol=1e-3))
    np.testing.assert_allclose(a @ inverse @ a, a, rtol=1e-2, atol=5e-2)
    for ord in ("fro", "nuc", 1, -1, 2, -2, INF, -INF):
        for keep in (True, False):
            close(
                xp.linalg.matrix_norm(x, ord=ord, keepdims=keep),
                strict().linalg.matrix_norm(y, ord=ord, keepdims=keep),
            )


@few
@given(st.data())
def test_diagonals_and_traces(data):
    a = data.draw(values(NUMERIC, matrices))
    offset = data.draw(st.integers(-3, 3))
    close(
        xp.linalg.diagonal(ours(a), offset=offset),
        strict().linalg.diagonal(theirs(a), offset=offset),
    )
    close(xp.linalg.trace(ours(a), offset=offset), strict().linalg.trace(theirs(a), offset=offset))


@few
@given(st.data())
def test_cross_products(data):
    dtypes = (data.draw(st.sampled_from([d for d in NUMERIC if d not in INTEGERS[4:]])),)
    found = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3))
    a, b = (data.draw(values(dtypes, st.just((*s, 3)))) for s in found.input_shapes)
    close(xp.linalg.cross(ours(a), ours(b)), strict().linalg.cross(theirs(a), theirs(b)))


@few
@given(st.data())
def test_vector_norms(data):
    a = data.draw(values(FLOATING, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)))
    axis = data.draw(st.none() | st.integers(-a.ndim, a.ndim - 1) | st.just(tuple(range(a.ndim))))
    for ord in (0, 1, 2, 3, 0.5, -1, INF, -INF):
        for keep in (True, False):
            kw = {"axis": axis, "keepdims": keep, "ord": ord}
            with np.errstate(all="ignore"):
                other = strict().linalg.vector_norm(theirs(a), **kw)
            if np.isfinite(plain(other)).all():
                close(xp.linalg.vector_norm(ours(a), **kw), other, 1e-2)


NORMS = ("backward", "ortho", "forward")


@few
@given(st.data())
def test_transforms_along_an_axis(data):
    shape = hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=6)
    a = data.draw(values(COMPLEX, shape))
    kw = {
        "axis": data.draw(st.integers(-a.ndim, a.ndim - 1)),
        "n": data.draw(st.none() | st.integers(1, 8)),
        "norm": data.draw(st.sampled_from(NORMS)),
    }
    for name in ("fft", "ifft", "irfft", "hfft", "rfft", "ihfft"):
        x = np.ascontiguousarray(a.real) if name in ("rfft", "ihfft") else a
        own = dict(kw)
        if name in ("irfft", "hfft") and own["n"] is None and a.shape[kw["axis"]] == 1:
            own["n"] = 1
        close(getattr(xp.fft, name)(ours(x), **own), getattr(strict().fft, name)(theirs(x), **own))


@few
@given(st.data())
def test_transforms_along_several_axes(data):
    a = data.draw(values(COMPLEX, hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=4)))
    one = st.integers(-a.ndim, a.ndim - 1)
    several = st.lists(one, min_size=1, max_size=a.ndim, unique_by=lambda d: d % a.ndim)
    axes = data.draw(st.none() | several)
    s = (
        None
        if axes is None
        else data.draw(st.none() | st.just([data.draw(st.integers(1, 5)) for _ in axes]))
    )
    kw = {"axes": axes, "s": s, "norm": data.draw(st.sampled_from(NORMS))}
    for name in ("fftn", "ifftn", "irfftn", "rfftn"):
        x = np.ascontiguousarray(a.real) if name == "rfftn" else a
        close(getattr(xp.fft, name)(ours(x), **kw), getattr(strict().fft, name)(theirs(x), **kw))
    for name in ("fftshift", "ifftshift"):
        other = getattr(strict().fft, name)(theirs(a), axes=axes)
        same(getattr(xp.fft, name)(ours(a), axes=axes), other)


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
def test_frequencies(name):
    for n in (1, 2, 5, 8):
        for d in (1.0, 0.25):
            for dtype in REAL:
                close(
                    getattr(xp.fft, name)(n, d=d, dtype=getattr(xp, dtype)),
                    getattr(strict().fft, name)(n, d=d, dtype=getattr(strict(), dtype)),
                    1e-6,
                )
        assert getattr(xp.fft, name)(n).dtype == xp.float32
