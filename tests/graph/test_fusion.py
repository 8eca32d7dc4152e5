"""The number of kernels: fusion that gets worse fails here, without a clock and without a GPU."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
from cupola import engine
from cupola.nn import functional as F


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


ROWS = {
    "softmax": lambda x: F.softmax(x, 1),
    "softmax over the first dimension": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, (32,), cupola.ones(32), cupola.zeros(32)),
    "rms_norm": lambda x: F.rms_norm(x, (32,), cupola.ones(32)),
    "group_norm": lambda x: F.group_norm(x.view(8, 8, 4, 8), 2, cupola.ones(8)),
    "batch_norm": lambda x: F.batch_norm(x.view(8, 8, 4, 8), None, None, training=True),
    "logsumexp": lambda x: cupola.logsumexp(x, 1),
    "var_mean": lambda x: cupola.var_mean(x, 1),
    "normalize": lambda x: F.normalize(x, dim=1),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_one_kernel(name):
    x = cupola.randn(64, 32)
    assert counted(lambda: ROWS[name](x)) == (1, 0)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "rms_norm", "batch_norm"])
def test_the_gradient_of_a_row_is_one_kernel(name):
    x = cupola.randn(64, 32)
    weight = cupola.randn(64, 32)

    def run():
        leaf = x.detach().requires_grad_()
        out = ROWS[name](leaf)
        out.backward(weight.view(out.shape))
        return [leaf.grad, out]

    assert counted(run) == (1, 0)


def test_layer_norm_with_its_gradients():
    """Forward and the input's gradient share the row; weight and bias are sums over columns."""
    x, w, b = cupola.randn(64, 32), cupola.ones(32), cupola.zeros(32)
    grad = cupola.randn(64, 32)

    def run():
        leaves = [t.detach().requires_grad_() for t in (x, w, b)]
        out = F.layer_norm(leaves[0], (32,), *leaves[1:])
        out.backward(grad)
        return [leaf.grad for leaf in leaves] + [out]

    assert counted(run) == (2, 0)


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


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda ps: cupola.optim.SGD(ps, lr=0.1),
        lambda ps: cupola.optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=1e-4),
        lambda ps: cupola.optim.Adam(ps),
        lambda ps: cupola.optim.AdamW(ps, amsgrad=True),
    ],
)
def test_a_hundred_parameters_are_one_launch(optimizer):
    shapes = [(8, 4), (32,), (4, 4, 3, 3), (16,)] * 25
    params = [cupola.nn.Parameter(cupola.randn(*s)) for s in shapes]
    step = optimizer(params)
    for _ in range(3):  # the first one makes the state
        for p in params:
            p.grad = cupola.randn(*p.shape)
        engine.realize([p.grad.node for p in params])
        before = engine.stats["launches"]
        step.step()
        engine.realize([p.node for p in params])
    assert engine.stats["launches"] - before == 1


def test_residual_block_in_training():
    """Two products of each convolution's gradient, a normalisation each way, and few others."""
    block = cupola.nn.Sequential(
        cupola.nn.Conv2d(8, 8, 3, padding=1, bias=False),
        cupola.nn.BatchNorm2d(8),
        cupola.nn.ReLU(),
        cupola.nn.Conv2d(8, 8, 3, padding=1, bias=False),
        cupola.nn.BatchNorm2d(8),
    )
    x, weight = cupola.randn(2, 8, 6, 6), cupola.randn(2, 8, 6, 6)

    def run():
        leaf = x.detach().requires_grad_()
        out = (block(leaf) + leaf).relu()
        out.backward(weight)
        return [out, leaf.grad, *(p.grad for p in block.parameters())]

    kernels, calls = counted(run)
    assert calls == 6
    assert kernels <= 5


def test_attention_is_two_products_and_one_kernel():
    q, k, v = (cupola.randn(2, 4, 8, 16) for _ in range(3))

    def attend():
        return cupola.softmax(q @ k.transpose(-2, -1) / 4.0, -1) @ v

    assert counted(attend) == (1, 2)


def test_gelu_perceptron():
    """Products and their bias, activation; the gradient's sums over rows; nothing twice."""
    net = cupola.nn.Sequential(cupola.nn.Linear(16, 32), cupola.nn.GELU(), cupola.nn.Linear(32, 16))
    x = cupola.randn(8, 16)
    kernels, calls = counted(lambda: net(x))
    assert calls == 2
    assert kernels <= 2

    def run():
        out = net(x)
        out.square().mean().backward()
        return [p.grad for p in net.parameters()]

    kernels, calls = counted(run)
    assert calls == 5
    assert kernels <= 3


def test_a_copy_joins_what_it_copies():
    x = cupola.randn(8, 4)
    assert counted(lambda: (x.t().contiguous() + 1).clone()) == (1, 0)
    assert counted(lambda: x.t().contiguous()) == (1, 0)


@pytest.mark.parametrize("dtype", [cupola.float16, cupola.bfloat16])
def test_what_leaves_a_half_type_was_rounded_to_it(dtype):
    x = cupola.linspace(0.1, 5.0, 777).to(dtype)
    wide = (x.sin() * x).float()
    assert cupola.equal(wide, wide.to(dtype).float())
