"""Updates recorded as one node give what their operators give, whichever results are read."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
from cupola import engine
from cupola.backends.reference import ReferenceBackend
from cupola.ir import source
from cupola.ir.op import pending
from cupola.optim._formula import Update
from cupola.tensor import composite, wrap

OPTIMIZERS = {
    "Adam": {"weight_decay": 0.1},
    "AdamW": {"amsgrad": True},
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "RMSprop": {"momentum": 0.5, "centered": True},
}


def trained(kind, dtype, steps=5):
    cupola.manual_seed(0)
    params = [cupola.nn.Parameter(cupola.randn(n, 3, dtype=dtype)) for n in (1, 2, 4)]
    optimizer = getattr(cupola.optim, kind)(params, lr=0.1, **OPTIMIZERS[kind])
    for _ in range(steps):
        optimizer.zero_grad()
        sum((p * p).sum() for p in params).backward()
        optimizer.step()
    states = [v for s in optimizer.state.values() for v in s.values() if hasattr(v, "shape")]
    return [t.detach().double().numpy() for t in (*params, *states)]


@pytest.mark.parametrize("dtype", [cupola.float32, cupola.float64, cupola.bfloat16], ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_same_as_operators(kind, dtype, monkeypatch):
    found = trained(kind, dtype)
    monkeypatch.setattr(composite, "_EAGER", True)
    expected = trained(kind, dtype)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_on_the_reference_backend():
    expected = trained("Adam", cupola.float64)
    usual = engine.backend("cpu")
    engine.use_backend("cpu", ReferenceBackend())
    try:
        found = trained("Adam", cupola.float64)
    finally:
        engine.use_backend("cpu", usual)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def _sum_and_scaled(x, y, factor):
    return x + y, (x + y) * factor


BOTH = Update(_sum_and_scaled, "sum_and_scaled")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_results_read_one_after_another(order):
    x, y = cupola.arange(3.0), cupola.ones(3)
    results = BOTH.one((x, y), (2.5,))
    expected = [[1.0, 2.0, 3.0], [2.5, 5.0, 7.5]]
    for i in order:
        assert results[i].tolist() == expected[i]


def test_one_result_alone_and_a_reader():
    x = cupola.arange(3.0) + 1
    _, scaled = BOTH.one((x, x), (0.0,))
    assert (scaled + 1).tolist() == [1.0, 1.0, 1.0]
    total, _ = BOTH.one((x, x), (3.0,))
    assert (total * total).sum().item() == 4 + 16 + 36


def test_other_numbers_are_the_same_plan():
    x = cupola.ones(4)
    for number in (0.3, 0.7, 0.9):
        before = engine.stats["plans"]
        results = BOTH.one((x, x), (number,))
        np.testing.assert_allclose(results[1].numpy(), 2 * number * np.ones(4), rtol=1e-6)
        if number != 0.3:
            assert engine.stats["plans"] == before


def test_numbers_inside_are_kept_apart():
    inside = Update(lambda x: (x * 0.3, x * -0.0 + x * 0.7), "holds_numbers")
    first, second = inside.one((cupola.ones(2),), ())
    np.testing.assert_allclose((first + second).numpy(), [1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(first.numpy(), [0.3, 0.3], rtol=1e-6)


def test_recording_is_short():
    """The updates of all parameters are one node recorded."""
    params = [cupola.nn.Parameter(cupola.ones(3)) for _ in range(10)]
    optimizer = cupola.optim.Adam(params)
    for _ in range(3):
        for p in params:
            p.grad = cupola.ones(3)
        before = pending.count
        optimizer.step()
    assert pending.count - before == 1


def test_results_are_items_of_one_node():
    x = cupola.ones(2)
    first, second = BOTH.one((x, x), (2.0,))
    assert first.node.op is source.ITEM
    assert first.node.srcs[0] is second.node.srcs[0]
    assert wrap(first.node).tolist() == [2.0, 2.0]
