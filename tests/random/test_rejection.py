import numpy as np
import pytest
import torch

from cupola import random


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("top", [0.0, 1.0, 9.99, 12.0, 1000.0])
def test_poisson(twin, pair, name, top):
    rate = torch.linspace(0, top, 1200).to(pair(name)[0]).reshape(30, 40)
    twin.seed(71)
    twin.agree(torch.poisson(rate), random.poisson(twin.array(rate), generator=twin.ours))
    twin.agree(torch.poisson(rate.t()), random.poisson(twin.array(rate).T, generator=twin.ours))


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("top", [1, 20, 300, 1_000_000])
def test_binomial(twin, pair, name, top):
    theirs, _ = pair(name)
    count = torch.linspace(0, top, 1000).floor().to(theirs)
    prob = torch.linspace(0, 1, 1000).to(theirs).flip(0)
    twin.seed(72)
    got = random.binomial(twin.array(count), twin.array(prob), generator=twin.ours)
    twin.agree(torch.binomial(count, prob), got)


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("top", [0.01, 0.9, 3.0, 1e4])
def test_standard_gamma(twin, pair, name, top):
    alpha = torch.linspace(top / 1000, top, 1000).to(pair(name)[0])
    twin.seed(73)
    got = random.standard_gamma(twin.array(alpha), generator=twin.ours)
    twin.agree(torch._standard_gamma(alpha), got, tolerance=2)
    # Gamma numbers take normal ones and share their leftover.
    twin.agree(torch.randn(3), random.normal((3,), generator=twin.ours))
    twin.agree(
        torch._standard_gamma(alpha[:5]),
        random.standard_gamma(twin.array(alpha[:5]), generator=twin.ours),
        tolerance=2,
    )


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_dirichlet(twin, pair, name):
    alpha = torch.linspace(0.01, 5, 1000).to(pair(name)[0]).reshape(200, 5)
    twin.seed(74)
    got = random.dirichlet(twin.array(alpha), generator=twin.ours)
    # The order in which torch adds up a row is not followed.
    twin.agree(torch._sample_dirichlet(alpha), got, tolerance=1 if name == "float32" else 8)


def test_drawing_ahead_leaves_nothing_behind(twin):
    rate = torch.full((3000,), 3.5)
    twin.seed(75)
    twin.agree(torch.poisson(rate), random.poisson(rate.numpy(), generator=twin.ours))
    twin.agree(torch.rand(5), random.uniform((5,), generator=twin.ours))
    twin.agree(torch.poisson(rate[:0]), random.poisson(rate[:0].numpy(), generator=twin.ours))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (lambda x: torch._standard_gamma(x), random.standard_gamma),
        (lambda x: torch._sample_dirichlet(x), random.dirichlet),
        (lambda x: torch.binomial(x, x), lambda x: random.binomial(x, x)),
    ],
)
def test_no_half_precision(twin, pair, name, theirs, ours):
    alpha = torch.ones(2, dtype=pair(name)[0])
    with pytest.raises(NotImplementedError):
        theirs(alpha)
    with pytest.raises(NotImplementedError):
        ours(twin.array(alpha))


def test_negative_rates_are_refused():
    with pytest.raises(RuntimeError):
        torch.poisson(torch.tensor([-1.0]))
    with pytest.raises(RuntimeError, match="non-negative"):
        random.poisson(np.array([-1.0]))
    with pytest.raises(RuntimeError, match="non-negative"):
        random.standard_gamma(np.array([-1.0]))
