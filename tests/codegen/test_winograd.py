"""Winograd's convolutions against the direct sum in float64."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
from cupola.backends.cpu import winograd
from cupola.backends.cpu.backend import CPUBackend
from cupola.backends.cpu.heavy import heavy_ops
from cupola.backends.cpu.team import Team
from cupola.nn import functional as F


@pytest.fixture(scope="module")
def convolve():
    backend = CPUBackend()
    return winograd.Winograd(heavy_ops(), Team(backend.launcher), backend.pool)


def direct(x, w, bias, residual, padding, activation):
    x = np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    y = np.einsum("nhwcij,oijc->nhwo", windows, w.astype(np.float64))
    y = y if bias is None else y + bias
    y = y if residual is None else y + residual
    return np.maximum(y, 0) if activation else y


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(
    ("shape", "results", "padding", "bias", "residual", "activation"),
    [
        ((1, 8, 8, 16), 32, ((1, 1), (1, 1)), True, True, "relu"),
        ((3, 7, 13, 32), 16, ((1, 1), (1, 1)), True, False, None),
        ((2, 5, 6, 16), 16, ((0, 0), (0, 0)), False, False, "relu"),
        ((1, 3, 3, 16), 16, ((0, 2), (1, 0)), False, True, None),
        ((2, 30, 41, 16), 16, ((2, 2), (2, 2)), True, False, "relu"),
    ],
)
def test_equals_the_direct_sum(
    convolve, tile, shape, results, padding, bias, residual, activation
) -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal(shape, np.float32)
    w = rng.standard_normal((results, 3, 3, shape[3]), np.float32) / 12
    b = rng.standard_normal(results, np.float32) if bias else None
    want = direct(x, w, b, None, padding, None)
    r = rng.standard_normal(want.shape, np.float32) if residual else None
    want = direct(x, w, b, r, padding, activation)
    got = convolve(tile, x, w, b, r, padding, activation, ("test", shape, bool(residual)))
    assert got.shape == want.shape
    assert np.linalg.norm(got - want) <= 4e-6 * np.linalg.norm(want)


def test_kept_weights_are_forgotten(convolve) -> None:
    x = np.ones((1, 8, 8, 16), np.float32)
    for number in (1.0, 2.0):
        w = np.full((16, 3, 3, 16), number, np.float32)
        y = convolve(4, x, w, None, None, ((1, 1), (1, 1)), None, "again")
        assert abs(y[0, 4, 4, 0] - 144 * number) < 1e-3
        convolve.forget("again")
    assert ("again", 4) not in convolve.kept


def test_models_use_it_and_can_do_without(monkeypatch) -> None:
    calls = []
    run = winograd.Winograd.__call__
    monkeypatch.setattr(
        winograd.Winograd, "__call__", lambda self, *a: calls.append(a[0]) or run(self, *a)
    )
    layer = cupola.nn.Conv2d(32, 32, 3, padding=1)
    x = cupola.randn(2, 32, 24, 24)
    model = cupola.compile(lambda x: F.relu(layer(x)))
    with cupola.no_grad():
        plain = [F.relu(layer(x)).numpy() for _ in range(3)]
        assert not calls
        results = [model(x).numpy() for _ in range(4)][1:]  # the first call is recorded
        assert len(calls) >= 3 and set(calls) == {4}
        monkeypatch.setattr(winograd.switch, "enabled", False)
        assert np.array_equal(model(x).numpy(), plain[0])
    assert all(np.array_equal(p, plain[0]) for p in plain)
    assert all(np.array_equal(r, results[0]) for r in results)
    assert np.linalg.norm(results[0] - plain[0]) <= 4e-6 * np.linalg.norm(plain[0])


@pytest.mark.parametrize(
    ("shape", "channels", "results", "tile"),
    [((8, 56, 56), 64, 64, 4), ((1, 14, 14), 256, 256, 2), ((1, 4, 4), 512, 512, 0)],
)
def test_tile_by_size(shape, channels, results, tile) -> None:
    assert winograd.tile_for(shape, channels, results) == tile
