"""The number of kernels: fusion that gets worse fails here, without a clock and without a GPU."""

from __future__ import annotations

import numpy as np

import cupola
from cupola import engine


def counted(function):
    """Kernels and library calls that a function's result takes."""
    before = dict(engine.stats)
    out = function()
    engine.realize([o.node for o in (out if isinstance(out, (tuple, list)) else [out])])
    after = engine.stats
    return after["launches"] - before["launches"], after["calls"] - before["calls"]


def test_elementwise_chains_are_one_kernel():
    x = cupola.randn(64, 32)
    assert counted(lambda: ((x * 2 + 1).exp() / (x.abs() + 3)).tanh()) == (1, 0)


def test_movement_costs_no_kernel():
    x = cupola.randn(6, 4, 5)
    assert counted(lambda: x.permute(2, 0, 1)[1:, ::2].flip(0) * 2) == (1, 0)


def test_an_epilogue_joins_its_reduction():
    x = cupola.randn(64, 32)
    assert counted(lambda: (x * x).mean(1).sqrt() + 1) == (1, 0)


def test_softmax_takes_three_kernels():
    x = cupola.randn(64, 32)
    assert counted(lambda: cupola.softmax(x, 1))[0] <= 3


def test_gelu_layer_is_one_product_and_few_kernels():
    x, w, b = cupola.randn(64, 32), cupola.randn(16, 32), cupola.randn(16)
    kernels, calls = counted(lambda: cupola.nn.functional.gelu(x @ w.t() + b))
    assert calls == 1
    assert kernels <= 1


def test_weight_gradients_come_in_row_major_order():
    layer = cupola.nn.Linear(32, 16, bias=False)
    layer(cupola.randn(8, 32)).sum().backward()
    array = layer.weight.grad.numpy()
    assert array.flags.c_contiguous
    np.testing.assert_allclose(array[0], array[1])
