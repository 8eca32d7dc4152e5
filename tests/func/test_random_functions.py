"""The random functions on tensors: torch's own values from the same seed, and its generator's
state afterwards. ``tests/random`` checks the rules below them on arrays.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola

ULP = 3e-7  # two units in the last place of float32, relative

EXACT = {
    "rand": lambda m: m.rand(5, 7),
    "rand.double": lambda m: m.rand(33, dtype=m.float64),
    "rand.bfloat16": lambda m: m.rand(9, dtype=m.bfloat16).float(),
    "rand_like": lambda m: m.rand_like(m.ones(3, 5).t()),
    "randint": lambda m: m.randint(-3, 9, (4, 5)),
    "randint.wide": lambda m: m.randint(0, 1 << 40, (6,)),
    "rand_like.permuted": lambda m: m.rand_like(m.ones(3, 1, 5).permute(2, 1, 0)),
    "rand_like.contiguous": lambda m: m.rand_like(
        m.ones(3, 5).t(), memory_format=m.contiguous_format
    ),
    "randint_like.transposed": lambda m: m.randint_like(m.ones(3, 5).t(), 9),
    "randint_like": lambda m: m.randint_like(m.ones(4), 5),
    "randperm": lambda m: m.randperm(40),
    "random_": lambda m: m.empty(6, dtype=m.int64).random_(),
    "random_.range": lambda m: m.empty(6).random_(3, 90),
    "uniform_": lambda m: m.empty(4, 5).uniform_(-1.5, 2.5),
    "uniform_.view": lambda m: m.zeros(4, 6).t()[1:4].uniform_(),
    "bernoulli": lambda m: m.bernoulli(m.linspace(0, 1, 40)),
    "bernoulli_": lambda m: m.empty(20).bernoulli_(0.3),
    "bernoulli_.tensor": lambda m: m.empty(20).bernoulli_(m.linspace(0, 1, 20)),
    "multinomial": lambda m: m.multinomial(m.tensor([0.1, 0.5, 0.4]), 9, True),
    "multinomial.once": lambda m: m.multinomial(m.tensor([[0.1, 0.5, 0.4], [1.0, 2, 3]]), 2),
    "dropout": lambda m: m.nn.functional.dropout(m.ones(6, 7), 0.4),
    "dropout.training off": lambda m: m.nn.functional.dropout(m.ones(6), 0.4, False),
    "dropout1d": lambda m: m.nn.functional.dropout1d(m.ones(3, 4, 5), 0.5),
    "dropout2d": lambda m: m.nn.functional.dropout2d(m.ones(3, 4, 5, 2), 0.5),
    "dropout3d": lambda m: m.nn.functional.dropout3d(m.ones(2, 3, 2, 2, 2), 0.5),
    "Dropout": lambda m: m.nn.Dropout(0.25)(m.ones(30)),
    "Dropout2d": lambda m: m.nn.Dropout2d(0.25)(m.ones(3, 8, 2, 2)),
    "poisson": lambda m: m.poisson(m.linspace(0, 30, 20)),
    "init.uniform_": lambda m: m.nn.init.uniform_(m.empty(3, 4), -1, 2),
}
CLOSE = {
    "randn": lambda m: m.randn(40),
    "randn.few": lambda m: m.randn(5),
    "randn_like": lambda m: m.randn_like(m.ones(3, 9).t()),
    "randn.complex": lambda m: m.view_as_real(m.randn(20, dtype=m.complex64)),
    "normal": lambda m: m.normal(1.0, 2.0, (20,)),
    "normal.tensors": lambda m: m.normal(m.linspace(0, 3, 20), m.linspace(0.1, 2, 20)),
    "normal_": lambda m: m.empty(4, 5).normal_(2, 0.5),
    "log_normal_": lambda m: m.empty(20).log_normal_(),
    "exponential_": lambda m: m.empty(20).exponential_(1.5),
    "cauchy_": lambda m: m.empty(20).cauchy_(1.0, 2.0),
    "geometric_": lambda m: m.empty(20).geometric_(0.3),
    "alpha_dropout": lambda m: m.nn.functional.alpha_dropout(m.ones(40), 0.3, True),
    "feature_alpha_dropout": lambda m: m.nn.functional.feature_alpha_dropout(
        m.ones(3, 5, 2), 0.3, True
    ),
    "gumbel_softmax": lambda m: m.nn.functional.gumbel_softmax(m.linspace(0, 2, 12).reshape(3, 4)),
    "rrelu": lambda m: m.nn.functional.rrelu(-m.ones(20), training=True),
    "init.normal_": lambda m: m.nn.init.normal_(m.empty(4, 5), 1, 2),
    "init.trunc_normal_": lambda m: m.nn.init.trunc_normal_(m.empty(4, 5), 0, 1, -1, 2),
    "init.xavier_uniform_": lambda m: m.nn.init.xavier_uniform_(m.empty(4, 5), 1.5),
    "init.xavier_normal_": lambda m: m.nn.init.xavier_normal_(m.empty(4, 5, 3)),
    "init.kaiming_uniform_": lambda m: m.nn.init.kaiming_uniform_(m.empty(4, 5), 5**0.5),
    "init.kaiming_normal_": lambda m: m.nn.init.kaiming_normal_(m.empty(4, 5), mode="fan_out"),
    "init.sparse_": lambda m: m.nn.init.sparse_(m.empty(9, 5), 0.3),
    "init.orthogonal_": lambda m: m.nn.init.orthogonal_(m.empty(4, 6)),
}


def drawn(m, function):
    """The values, and the generator's state afterwards."""
    m.manual_seed(1234)
    made = function(m)
    return made.numpy(), m.get_rng_state().numpy()


@pytest.mark.parametrize("name", EXACT)
def test_exact(name):
    """Equal bits: integers and single roundings."""
    want, state = drawn(torch, EXACT[name])
    got, mine = drawn(cupola, EXACT[name])
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(mine, state)


@pytest.mark.parametrize("name", CLOSE)
def test_close(name):
    """Two units in the last place, where a transcendental function or a product is involved."""
    want, state = drawn(torch, CLOSE[name])
    got, mine = drawn(cupola, CLOSE[name])
    assert got.dtype == want.dtype
    wide = name in ("init.orthogonal_", "gumbel_softmax")  # a decomposition, a softmax
    np.testing.assert_allclose(got, want, rtol=2e-5 if wide else ULP, atol=1e-6 if wide else 1e-7)
    np.testing.assert_array_equal(mine, state)


def test_generator_objects():
    """Streams of their own: seeds, states, clones, and what they leave of the default stream."""

    def program(m):
        m.manual_seed(0)
        a = m.Generator().manual_seed(7)
        out = [m.rand(3, generator=a), m.randn(20, generator=a), m.randperm(9, generator=a)]
        state = a.get_state()
        b = m.Generator()
        b.set_state(state)
        out += [m.rand(3, generator=a), m.rand(3, generator=b)]
        out += [m.empty(4).normal_(generator=b), m.bernoulli(m.full((5,), 0.5), generator=b)]
        out += [m.multinomial(m.ones(4), 2, generator=b), m.randint(9, (3,), generator=b)]
        out += [m.empty(3).uniform_(generator=a), m.empty(3).exponential_(generator=a)]
        out += [m.rand(4), m.tensor(a.initial_seed()), state]
        return [o.numpy() for o in out]

    for want, got in zip(program(torch), program(cupola), strict=True):
        np.testing.assert_allclose(got, want, rtol=ULP)


def test_saved_states():
    """``get_rng_state`` and ``fork_rng`` bring numbers back; torch takes our state."""
    cupola.manual_seed(3)
    cupola.randn(3)
    state = cupola.get_rng_state()
    first = cupola.randn(5).numpy()
    cupola.set_rng_state(state)
    np.testing.assert_array_equal(cupola.randn(5).numpy(), first)
    torch.set_rng_state(torch.tensor(state.numpy()))
    np.testing.assert_allclose(torch.randn(5).numpy(), first, rtol=ULP)


def test_a_training_run_draws_alike():
    """Weights, dropout masks and shuffled batches together."""

    def program(m):
        m.manual_seed(11)
        net = m.nn.Sequential(m.nn.Linear(4, 8), m.nn.Dropout(0.5), m.nn.Linear(8, 2))
        order = m.randperm(6)
        x = m.randn(6, 4)[order]
        return [net(x).detach().numpy(), order.numpy(), net[0].weight.detach().numpy()]

    for want, got in zip(program(torch), program(cupola), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
