"""BLAS products cut into slices for the one team of threads, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from cupola.backends.cpu import blas
from cupola.backends.cpu.backend import CPUBackend
from cupola.backends.cpu.team import Team
from cupola.backends.cpu.threads import threads

pytestmark = pytest.mark.skipif(blas._library() is None, reason="NumPy has another BLAS")


@pytest.fixture(scope="module")
def products():
    return blas.Products(Team(CPUBackend().launcher))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("sizes", [(1, 70, 33, 200), (5, 64, 64, 40), (2, 1, 7, 3), (3, 300, 9, 1)])
def test_equals_numpy(products, sizes, turned, dtype, count, monkeypatch) -> None:
    monkeypatch.setattr(threads, "count", count)
    monkeypatch.setattr(blas, "_GRAIN", 1)
    batch, m, k, n = sizes
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((batch, m, k)), rng.standard_normal((batch, k, n))
    a, b = a.astype(dtype), b.astype(dtype)
    want = a @ b
    if turned[0]:
        a = np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2)
    if turned[1]:
        b = np.ascontiguousarray(b.swapaxes(1, 2)).swapaxes(1, 2)
    out = np.full(want.shape, np.nan, dtype)
    assert products.matmul(a, b, out)
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-5)
    assert products.matmul(a, b, out, add=True)
    np.testing.assert_allclose(out, 2 * want, rtol=1e-4, atol=1e-5)


def test_one_matrix_for_all(products) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((4, 6, 8), np.float32), rng.standard_normal((8, 5), np.float32)
    out = np.empty((4, 6, 5), np.float32)
    assert products.matmul(a, np.broadcast_to(b, (4, 8, 5)), out)
    np.testing.assert_allclose(out, a @ b, rtol=1e-5, atol=1e-5)


def test_other_strides_are_left_alone(products) -> None:
    x = np.ones((6, 12), np.float32)
    assert not products.matmul(x[:, ::2], np.ones((6, 4), np.float32), np.empty((6, 4), np.float32))
    assert not products.matmul(x[::-1], np.ones((12, 4), np.float32), np.empty((6, 4), np.float32))
