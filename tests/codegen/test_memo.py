"""Kernels that are lowered once: equal structure in other places and, where it can be, sizes."""

from __future__ import annotations

import numpy as np

import cupola
from cupola import engine
from cupola.codegen import memo


def lowered(function) -> int:
    """How many kernels were lowered anew for a function's results."""
    before = len(memo._known)
    out = function()
    engine.realize([o.node for o in out])
    return len(memo._known) - before


def update(x, y):
    return ((x * 0.731 + y).sin() / (y.abs() + 0.25)).cos()


def test_sizes_do_not_matter_element_by_element():
    memo._known.clear()
    pairs = [(cupola.randn(*s), cupola.randn(*s)) for s in [(5,), (3, 4), (2, 3, 7), (64,)]]
    for x, y in pairs:
        engine.realize([x.node, y.node])
    assert lowered(lambda: [update(*pairs[0])]) == 1
    for x, y in pairs[1:]:
        assert lowered(lambda x=x, y=y: [update(x, y)]) == 0
    x, y = (t.double() for t in pairs[2])
    got = update(*pairs[2]).numpy()
    np.testing.assert_allclose(got, update(x, y).numpy(), rtol=2e-5, atol=1e-6)


def test_layers_are_lowered_once():
    layers = [cupola.randn(8) for _ in range(6)]
    x = cupola.randn(4, 8)
    engine.realize([t.node for t in (x, *layers)])

    def run(count):
        y, out = x, []
        for w in layers[:count]:
            y = cupola.softmax(y * w, 1) @ cupola.softmax(y, 0).t() @ y
            out.append(y)
        return out

    memo._known.clear()
    few = lowered(lambda: run(3))
    assert lowered(lambda: run(6)) == 0
    assert few <= 6
