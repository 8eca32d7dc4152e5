"""torch.utils.checkpoint: the same gradients, and memory that is really given back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils import checkpoint as theirs

import cupola
from cupola.utils import checkpoint as ours


def model(framework, dropout: float = 0.0):
    nn = framework.nn
    framework.manual_seed(3)
    layers = [nn.Linear(8, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 8), nn.Tanh()]
    return nn.Sequential(*layers)


def gradients(framework, module, run):
    x = framework.linspace(-1, 1, 32).reshape(4, 8).requires_grad_()
    framework.manual_seed(5)
    run(module, x).square().sum().backward()
    return [x.grad.numpy(), *(p.grad.numpy() for p in module.parameters())]


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_torch(reentrant, dropout) -> None:
    def through(library):
        return lambda m, x: library.checkpoint(m, x, use_reentrant=reentrant)

    want = gradients(torch, model(torch, dropout), through(theirs))
    got = gradients(cupola, model(cupola, dropout), through(ours))
    plain = gradients(cupola, model(cupola, dropout), lambda m, x: m(x))
    for g, w, p in zip(got, want, plain, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(g, p, rtol=1e-5, atol=1e-6)


def test_parameters_get_gradients_where_no_input_needs_one() -> None:
    layer = cupola.nn.Linear(3, 2)
    ours.checkpoint(layer, cupola.ones(4, 3), use_reentrant=False).sum().backward()
    np.testing.assert_allclose(layer.bias.grad.numpy(), [4, 4])


def test_structures_and_other_arguments() -> None:
    def function(pair, scale, *, shift):
        a, b = pair
        return {"sum": a + b * scale + shift, "count": 3}, a.detach()

    a, b = (cupola.tensor([1.0, 2.0]).requires_grad_() for _ in range(2))
    out, plain = ours.checkpoint(function, (a, b), 2.0, shift=1.0, use_reentrant=False)
    assert out["count"] == 3 and not plain.requires_grad
    out["sum"].sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), [1, 1])
    np.testing.assert_allclose(b.grad.numpy(), [2, 2])


def test_second_derivatives() -> None:
    x = cupola.tensor(0.7).requires_grad_()
    y = ours.checkpoint(lambda t: t.sin() * t, x, use_reentrant=False)
    (first,) = cupola.autograd.grad(y, x, create_graph=True)
    (second,) = cupola.autograd.grad(first, x)
    want = 2 * np.cos(0.7) - 0.7 * np.sin(0.7)
    assert abs(second.item() - want) < 1e-6


def test_what_changes_between_the_runs_is_told() -> None:
    sizes = iter([2, 3])
    x = cupola.ones(4).requires_grad_()
    y = ours.checkpoint(lambda t: t[: next(sizes)] * 2, x, use_reentrant=False)
    with pytest.raises(ours.CheckpointError, match="run again"):
        y.sum().backward()


def live(segments: int) -> int:
    """Most bytes that a deep chain of layers holds at a time."""
    from cupola import engine

    pool = engine.backend("cpu").pool
    layers = [cupola.nn.Linear(256, 256) for _ in range(16)]
    x = cupola.randn(2048, 256).requires_grad_()

    def segment(part):
        def run(t):
            for layer in part:
                t = cupola.sin(layer(t))
            return t

        return run

    y, start = x, pool.live
    pool.peak = start
    size = len(layers) // segments
    for k in range(segments):
        part = segment(layers[k * size : (k + 1) * size])
        y = ours.checkpoint(part, y) if segments > 1 else part(y)
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    return pool.peak - start


def test_memory_is_given_back() -> None:
    assert live(4) < 0.65 * live(1)
