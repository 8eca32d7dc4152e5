"""Convolutions that detectors bring: no rows, operands inside of arrays, a GPU short of memory."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from cupola.backends.cuda import available, flags

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not available(), reason="needs a GPU and CuPy")]

WINDOW = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)


def random(shape, seed: int, shift: int = 0):
    """An array that begins `shift` elements behind an aligned address."""
    import cupy

    count = int(np.prod(shape))
    values = np.random.default_rng(seed).standard_normal(count + shift).astype(np.float32)
    return cupy.asarray(values)[shift:].reshape(shape)


def error(got, want) -> float:
    import cupy

    got = cupy.asnumpy(got).astype(np.float64)
    assert got.shape == want.shape
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.fixture
def problem(monkeypatch):
    """Operands, results in float64 and the three convolutions to compare with them."""
    from cupola.backends.cuda import convolution as c
    from cupola.ops import conv

    monkeypatch.setattr(flags, "cudnn_tf32", False)
    monkeypatch.setattr(c, "_solved", {})
    shapes = {"x": (3, 8, 7, 7), "w": (16, 8, 3, 3), "g": (3, 16, 7, 7), "b": (16,)}

    def check(shift: int = 0) -> list[float]:
        import cupy

        x, w, g, b = (random(shape, k, shift) for k, shape in enumerate(shapes.values()))
        hx, hw, hg, hb = (cupy.asnumpy(a).astype(np.float64) for a in (x, w, g, b))
        names = dict(zip(("stride", "padding", "dilation", "groups"), WINDOW))
        y = conv.convolution.reference(np, hx, hw, **names)
        dx = conv.convolution_input_grad.reference(np, hg, hw, x_shape=x.shape, **names)
        dw = conv.convolution_weight_grad.reference(np, hg, hx, w_shape=w.shape, **names)
        biased = np.maximum(y + hb[:, None, None], 0)
        return [
            error(c.convolution(x, w, *WINDOW), y),
            error(c.convolution(x, w, *WINDOW, bias=b, activation="relu"), biased),
            error(c.input_grad(g, w, x.shape, *WINDOW), dx),
            error(c.weight_grad(g, x, w.shape, *WINDOW), dw),
        ]

    return check


@pytest.mark.parametrize("shift", (0, 1, 2, 3))
def test_operands_may_begin_anywhere(problem, shift: int) -> None:
    assert max(problem(shift)) < 2e-5


def failing(monkeypatch, times: int) -> list[int]:
    """Makes cuDNN refuse so many times; returns where calls are counted."""
    from cupola.backends.cuda import cudnn_graph

    if cudnn_graph.module() is None:
        pytest.skip("nvidia-cudnn-frontend is not installed")
    calls: list[int] = []
    original = cudnn_graph.Plan._run

    class Refusing:
        def __init__(self, graph) -> None:
            self.graph = graph

        def _execute(self, *args) -> None:
            calls.append(1)
            if len(calls) <= times:
                raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
            self.graph._execute(*args)

    def run(self, pack, room) -> None:
        whole, self.graph = self.graph, Refusing(self.graph)
        try:
            original(self, pack, room)
        finally:
            self.graph = whole

    monkeypatch.setattr(cudnn_graph.Plan, "_run", run)
    return calls


def test_a_refusal_is_tried_again_with_free_memory(problem, monkeypatch) -> None:
    calls = failing(monkeypatch, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert max(problem()) < 2e-5
    assert len(calls) == 5


def test_a_plan_that_cannot_run_is_replaced(problem, monkeypatch) -> None:
    failing(monkeypatch, 10**6)
    with pytest.warns(UserWarning, match="cuDNN has planned a convolution .*EXECUTION_FAILED"):
        assert max(problem()) < 2e-5


@pytest.mark.parametrize("dtype", ("float32", "float64", "float16", "bfloat16"))
@pytest.mark.parametrize("training", (True, False))
def test_no_rows(dtype: str, training: bool) -> None:
    """No box was found: heads of detectors run on nothing, and have gradients of zeros."""
    import cupola
    from cupola import nn

    layers = [nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.ConvTranspose2d(16, 4, 2, 2), nn.GroupNorm(2, 4), nn.AdaptiveAvgPool2d(3)]
    layers += [nn.Flatten(), nn.Linear(36, 5)]
    head = nn.Sequential(*layers).to("cuda", getattr(cupola, dtype)).train(training)
    x = cupola.zeros(0, 8, 7, 7, device="cuda", dtype=getattr(cupola, dtype), requires_grad=True)
    y = head(x)
    assert y.shape == (0, 5)
    y.sum().backward()
    assert x.grad.shape == x.shape
    for name, weight in head.named_parameters():
        assert weight.grad is not None and float(weight.grad.abs().sum()) == 0, name
