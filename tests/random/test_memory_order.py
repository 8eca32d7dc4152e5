"""Random numbers and constants in the order of memory: what dropout draws, and what it reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola

PERMUTED = [((2, 32, 4), (0, 2, 1)), ((2, 3, 4, 5), (0, 2, 3, 1)), ((3, 100, 7), (1, 0, 2))]


def _both(make):
    results = []
    for t in (torch, cupola):
        t.manual_seed(0)
        results.append(make(t))
    return results


def _steps(x):
    return [s for s, n in zip(x.stride(), x.shape, strict=True) if n != 1]


@pytest.mark.parametrize(("shape", "dims"), PERMUTED)
@pytest.mark.parametrize(
    "drop",
    [
        lambda t, x: t.nn.functional.dropout(x, 0.5),
        lambda t, x: t.nn.functional.dropout(x.relu() + 1, 0.3),
        lambda t, x: t.nn.functional.alpha_dropout(x, 0.5, training=True),
        lambda t, x: t.nn.functional.dropout(x.softmax(-1), 0.3),
        lambda t, x: t.nn.functional.dropout(t.nn.functional.layer_norm(x, x.shape[-1:]) + 1, 0.3),
        lambda t, x: t.nn.functional.dropout(x.masked_fill(x < 0, 2.0), 0.3),
        lambda t, x: t.empty_like(x).bernoulli_(0.5),
        lambda t, x: t.zeros_like(x).uniform_(),
        lambda t, x: t.full_like(x, 2.0).normal_(),
        lambda t, x: t.empty_like(x, memory_format=t.contiguous_format).exponential_(),
    ],
    ids=["dropout", "sum", "alpha", "softmax", "layer_norm", "masked_fill", "bernoulli_",
         "uniform_", "normal_", "contiguous"],
)  # fmt: skip
def test_draws_follow_the_order_of_memory(shape, dims, drop):
    theirs, ours = _both(lambda t: drop(t, t.ones(shape).permute(dims)))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda t, x: t.zeros_like(x),
        lambda t, x: t.ones_like(x),
        lambda t, x: t.full_like(x, 3.0),
        lambda t, x: t.empty_like(x, dtype=t.float64),
        lambda t, x: t.zeros_like(x, memory_format=t.contiguous_format),
        lambda t, x: t.zeros_like(x[:1].expand(4, 3, 4)),
        lambda t, x: x.repeat(1, 1, 2),
        lambda t, x: x.unsqueeze(0).repeat(2, 1, 1, 1),
        lambda t, x: x.tile(2),
        lambda t, x: x.softmax(-1),
        lambda t, x: x.log_softmax(0),
        lambda t, x: x.masked_fill(x > 3, 0.0),
        lambda t, x: x.masked_scatter(x > 3, t.ones(24)),
        lambda t, x: t.nn.functional.layer_norm(x, (4,)),
        lambda t, x: t.nn.functional.group_norm(x, 1),
        lambda t, x: t.nn.functional.batch_norm(x, t.zeros(3), t.ones(3)),
        lambda t, x: t.nn.functional.batch_norm(x, None, None, training=True),
    ],
)
def test_results_lie_in_memory_as_torchs(make):
    theirs, ours = _both(lambda t: make(t, t.arange(24.0).reshape(4, 2, 3).permute(1, 2, 0)))
    assert _steps(ours) == _steps(theirs)


def test_normalization_keeps_channels_last():
    def strides(t):
        x = t.ones(2, 8, 4, 4).to(memory_format=t.channels_last)
        f = t.nn.functional
        return [f.batch_norm(x, t.zeros(8), t.ones(8)).stride(), f.group_norm(x, 2).stride(),
                f.batch_norm(x, None, None, training=True).stride()]  # fmt: skip

    theirs, ours = _both(strides)
    assert ours == theirs


def test_a_repeated_permutation_can_be_viewed():
    x = cupola.arange(24.0).reshape(4, 2, 3).permute(1, 2, 0)
    assert x.unsqueeze(0).repeat(2, 1, 1, 1).view(4, 3, 4).shape == (4, 3, 4)
