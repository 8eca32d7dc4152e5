"""Gradients of a tape met before are recorded as one node: same values, errors and releases."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import cupola
import cupola.nn.functional as F
from cupola import nn


def network():
    cupola.manual_seed(0)
    layers = (
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    return nn.Sequential(*layers)


def losses(steps, walked, monkeypatch):
    if walked:
        monkeypatch.setattr(sys.modules["cupola.tensor.backward"], "_unseen", lambda: False)
    model = network()
    optimizer = cupola.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    found = []
    for step in range(steps):
        x = cupola.randn(4, 2, 6, 6)
        weight = 1.0 + step  # another number each time: the structure is the same
        loss = F.cross_entropy(model(x), cupola.arange(4) % 3) * weight
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return [*found, *[p.detach().numpy() for p in model.parameters()]]


def test_training_is_the_same(monkeypatch):
    found = losses(5, False, monkeypatch)
    for a, b in zip(found, losses(5, True, monkeypatch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_known_tapes_need_no_new_plan():
    model = network()
    x = cupola.randn(4, 2, 6, 6)

    def step():
        model(x).square().sum().backward()
        return [p.grad.numpy() for p in model.parameters()]

    step()  # the running statistics are numbers before it
    model.zero_grad()
    first = step()
    model.zero_grad()
    plans = cupola.engine.stats["plans"]
    for a, b in zip(first, step(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert cupola.engine.stats["plans"] == plans


def test_what_was_overwritten_is_refused():
    for _ in range(2):
        x = cupola.ones(3, requires_grad=True)
        y = x.exp()
        z = (y * y).sum()
        y.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            z.backward()


@pytest.mark.parametrize("again", [False, True])
def test_graphs_are_freed(again):
    for _ in range(2):
        x = cupola.ones(3, requires_grad=True)
        y = (x * x).sum()
        y.backward(retain_graph=again)
        if again:
            y.backward()
            assert x.grad.tolist() == [4.0] * 3
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()


def test_hooks_are_called_though_the_tape_is_known():
    seen = []
    for hooked in (False, True, False):
        x = cupola.ones(3, requires_grad=True)
        y = x * 2
        if hooked:
            y.register_hook(lambda g: seen.append(g.tolist()))
        (y * y).sum().backward()
        assert x.grad.tolist() == [8.0] * 3
    assert seen == [[4.0] * 3]


def test_inputs_that_are_asked_for():
    for _ in range(2):
        x, w = cupola.ones(3, requires_grad=True), cupola.ones(3, requires_grad=True)
        y = x * w
        z = (y * w).sum()
        gy, gw = cupola.autograd.grad(z, [y, w], retain_graph=True)
        assert gy.tolist() == [1.0] * 3
        assert gw.tolist() == [2.0] * 3
        (alone,) = cupola.autograd.grad(z, [x])
        assert alone.tolist() == [1.0] * 3
        assert x.grad is None


def test_gradients_of_gradients_pass_through_layers():
    norm = nn.BatchNorm1d(3, dtype=cupola.float64)
    x = cupola.randn(6, 3, dtype=cupola.float64, requires_grad=True)
    assert cupola.autograd.gradcheck(norm, (x,))
    assert cupola.autograd.gradgradcheck(norm, (x,))


def test_layers_are_named_as_torch_names_them():
    y = nn.BatchNorm1d(3)(cupola.randn(6, 3))
    assert y.grad_fn.name() == "NativeBatchNormBackward0"
    assert y.grad_fn.next_functions[0][0] is None  # the input needs no gradient
    assert y.grad_fn.next_functions[1][0].name() == "AccumulateGrad"


def test_gradients_that_are_views_of_each_other():
    """A transposed gradient, read alone after another of the same walk, keeps its order."""
    x, w = cupola.randn(4, 2, 3), cupola.randn(3, 3, 5, requires_grad=True)
    b = cupola.randn(5, requires_grad=True)
    for _ in range(2):
        w.grad = b.grad = None
        F.conv_tbc(x, w, b, 1).square().sum().backward()
        assert b.grad.numpy().shape == (5,)
        found = w.grad.numpy()
        (wanted,) = cupola.autograd.grad(
            F.conv_tbc(x, w, b, 1).square().sum(), [w], create_graph=True
        )
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-5)


def test_a_loss_observed_before_the_backward_pass_computes_nothing_twice():
    layers = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    model = nn.Sequential(*layers)
    calls = []
    for early in (False, True) * 2:
        model.zero_grad()
        before = cupola.engine.stats["calls"]
        loss = F.cross_entropy(model(cupola.randn(4, 2, 6, 6)), cupola.arange(4) % 3)
        if early:
            loss.item()
        loss.backward()
        cupola.engine.realize([p.grad.node for p in model.parameters()])
        calls.append(cupola.engine.stats["calls"] - before)
    assert calls[3] <= calls[2] + 1  # the loss's gather is not worth keeping
