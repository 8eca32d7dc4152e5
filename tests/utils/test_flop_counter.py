"""Counted operations beside PyTorch's, by module."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode as Theirs

import cupola
from cupola.utils.flop_counter import FlopCounterMode


def network(m):
    return m.nn.Sequential(
        m.nn.Conv2d(4, 8, 3, padding=1, stride=2), m.nn.ReLU(), m.nn.Flatten(),
        m.nn.Sequential(m.nn.Linear(128, 5), m.nn.Tanh()), m.nn.Linear(5, 2),
    )  # fmt: skip


def forward(m, mode):
    net = network(m)
    with mode:
        net(m.ones(2, 4, 8, 8))


def training(m, mode):
    """The second step has a tape that was met before."""
    net, x = network(m), m.ones(2, 4, 8, 8, requires_grad=True)
    net(x).sum().backward()
    with mode:
        for _ in range(2):
            net(x).pow(2).sum().backward()


def transformer(m, mode):
    layer = m.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with mode:
        layer(m.ones(2, 5, 8)).sum().backward()


def products(m, mode):
    a, b = m.ones(2, 3, 4), m.ones(2, 4, 5)
    with mode:
        m.einsum("bij,bjk->bik", a, b)
        m.bmm(a, b)
        m.baddbmm(m.ones(2, 3, 5), a, b)
        a[0] @ b[0]
        m.nn.functional.linear(a, m.ones(7, 4), m.ones(7))
        a + 1


def transposed_convolution(m, mode):
    layer, x = m.nn.ConvTranspose2d(3, 4, 3), m.ones(1, 3, 5, 5, requires_grad=True)
    with mode:
        layer(x).sum().backward()


def without_memory(m, mode):
    with m.device("meta"):
        net, x = network(m), m.ones(2, 4, 8, 8)
    with mode:
        net(x)


PROGRAMS = [forward, training, transformer, products, transposed_convolution, without_memory]


def counted(program, m, kind):
    mode = kind(display=False, depth=None)
    program(m, mode)
    sums = {name: sum(counts.values()) for name, counts in mode.get_flop_counts().items()}
    return {k: v for k, v in sums.items() if v}, mode.get_total_flops()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_counts(program):
    ours = counted(program, cupola, FlopCounterMode)
    assert ours == counted(program, torch, Theirs)
    assert ours[1]


def test_the_engine_is_left_as_it_was():
    layer, x = cupola.nn.Linear(3, 4), cupola.ones(2, 3)
    before = cupola.ir.op.Primitive.__call__
    mode = FlopCounterMode(display=False)
    with pytest.raises(ValueError, match="stop"), mode:
        layer(x)
        raise ValueError("stop")
    total = mode.get_total_flops()
    layer(x).sum().backward()
    assert mode.get_total_flops() == total == 48
    assert cupola.ir.op.Primitive.__call__ is before


def test_modules_that_failed_are_left():
    """PyTorch counts what follows for them, too."""
    net = network(cupola)
    with FlopCounterMode(display=False) as mode:
        with pytest.raises(RuntimeError):
            net(cupola.ones(2, 5, 8, 8))
        cupola.ones(2, 3) @ cupola.ones(3, 4)
    assert mode.get_flop_counts()["Global"] == {"matmul": 48}
    assert "Sequential" not in mode.get_flop_counts()


def test_table(capsys):
    layer = cupola.nn.Sequential(cupola.nn.Linear(30, 40), cupola.nn.Linear(40, 50))
    with FlopCounterMode(depth=1):
        layer(cupola.ones(20, 30))
    text = capsys.readouterr().out
    assert "Sequential" in text and "128.000K  100.00%" in text and "Sequential.0" not in text
    with pytest.raises(cupola.UnsupportedError):
        FlopCounterMode(custom_mapping={"x": len})
