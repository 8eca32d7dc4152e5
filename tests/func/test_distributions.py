"""Distributions beside the samples of tests/cases: density, moments, draws of the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cupola
from func.test_vmap import agree


def positive(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.4, 3.0, shape).astype(np.float32)


def real(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


A, B, L = positive(4), positive(4, seed=2), real(4)
COUNTS = np.array([0.0, 1, 3, 7], np.float32)
SPD = (lambda r: (r @ r.T + np.eye(3)).astype(np.float32))(real(3, 3))
TRIL = np.linalg.cholesky(SPD).astype(np.float32)
CORR = np.linalg.cholesky(SPD / np.sqrt(np.outer(np.diag(SPD), np.diag(SPD)))).astype(np.float32)
UNIT = np.array([0.0, 0.3, 0.9, 1.0], np.float32)
NARROW = real(4, 2, seed=6)
STICK = np.array([0.2, 0.3, 0.5], np.float32)

MADE = {
    "VonMises": (lambda d, a, b, x: d.VonMises(x, a), L),
    "NegativeBinomial": (lambda d, a, b, x: d.NegativeBinomial(a, logits=x), COUNTS),
    "NegativeBinomial.probs": (lambda d, a, b, x: d.NegativeBinomial(5, x.sigmoid()), COUNTS),
    "InverseGamma": (lambda d, a, b, x: d.InverseGamma(a + 2, b), positive(4, seed=3)),
    "FisherSnedecor": (lambda d, a, b, x: d.FisherSnedecor(a + 4, b + 5), positive(4, seed=3)),
    "Kumaraswamy": (lambda d, a, b, x: d.Kumaraswamy(a, b), positive(4, seed=3) / 4),
    "LogisticNormal": (lambda d, a, b, x: d.LogisticNormal(x[:2], a[:2]), STICK),
    "Wishart": (lambda d, a, b, x: d.Wishart(5.0, covariance_matrix=x.new_tensor(SPD)), SPD * 4),
    "Wishart.precision": (
        lambda d, a, b, x: d.Wishart(a[:2] + 4, precision_matrix=x.new_tensor(SPD)),
        SPD * 4,
    ),
    "Wishart.tril": (lambda d, a, b, x: d.Wishart(a[0] + 4, scale_tril=x.new_tensor(TRIL)), SPD),
    "LKJCholesky": (lambda d, a, b, x: d.LKJCholesky(3, a), CORR),
    "ContinuousBernoulli": (lambda d, a, b, x: d.ContinuousBernoulli(logits=x * 3), UNIT),
    "ContinuousBernoulli.probs": (lambda d, a, b, x: d.ContinuousBernoulli(a / 3.1), UNIT),
    "ContinuousBernoulli.half": (lambda d, a, b, x: d.ContinuousBernoulli(a / 1e4 + 0.4998), UNIT),
    "GeneralizedPareto": (lambda d, a, b, x: d.GeneralizedPareto(-b, a, x / 5), A / 9),
    "GeneralizedPareto.zero": (lambda d, a, b, x: d.GeneralizedPareto(-b, a, 0 * a), B),
    "GeneralizedPareto.uniform": (lambda d, a, b, x: d.GeneralizedPareto(-b, a, -1.0), A * 0 - B),
    "LowRankMultivariateNormal": (
        lambda d, a, b, x: d.LowRankMultivariateNormal(x, x.new_tensor(NARROW) * a[0], b),
        L * 2,
    ),
    "LowRankMultivariateNormal.batch": (
        lambda d, a, b, x: d.LowRankMultivariateNormal(
            x, x.new_tensor(NARROW) * a[:3, None, None], b
        ),
        L * 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_log_prob_and_gradients(name):
    """Density, and its gradient for the parameters."""
    make, value = MADE[name]

    def program(m, a, b, x):
        leaves = [t.requires_grad_() for t in (a, b, x)]
        density = make(m.distributions, *leaves).log_prob(m.tensor(value))
        used = (
            m.autograd.grad(density.sum(), leaves, allow_unused=True)
            if density.requires_grad
            else ()
        )
        return density, [g for g in used if g is not None]

    agree(program, A, B, L, tolerance=2e-4)


@pytest.mark.parametrize("name", MADE)
def test_moments(name):
    """Mean, mode, variance and entropy where torch has them."""
    make, _ = MADE[name]

    def program(m, a, b, x):
        made = make(m.distributions, a, b, x)
        theirs = make(torch.distributions, *map(torch.tensor, (A, B, L)))
        out = [m.tensor(0.0)]
        for what in ("mean", "mode", "variance"):
            if what == "mode" and name == "Kumaraswamy":  # torch's is NaN where there is a mode
                continue
            try:
                getattr(theirs, what)
            except (NotImplementedError, AttributeError):
                continue
            out.append(getattr(made, what) * 1)
        try:
            theirs.entropy()
        except NotImplementedError:
            return out
        return [*out, made.entropy()]

    agree(program, A, B, L, tolerance=2e-4)


@pytest.mark.parametrize("name", MADE)
def test_draws(name):
    """The same seed gives the same draws."""
    make, _ = MADE[name]

    def program(m, a, b, x):
        m.manual_seed(5)
        return make(m.distributions, a, b, x).sample((6,))

    agree(program, A, B, L, tolerance=1e-3)


@pytest.mark.parametrize("name", [n for n in MADE if n.startswith(("Cont", "Gener", "LowR"))])
def test_further_parts(name):
    """Distribution functions, matrices, gradients of draws, copies of a larger batch."""
    make, value = MADE[name]

    def program(m, a, b, x):
        leaves = [t.requires_grad_() for t in (a, b, x)]
        made, out = make(m.distributions, *leaves), []
        m.manual_seed(3)
        draw = made.rsample((5,))
        used = m.autograd.grad(draw.sum(), leaves, allow_unused=True)
        out += [draw, *(g for g in used if g is not None)]
        for what in ("scale_tril", "precision_matrix", "covariance_matrix"):
            if name.startswith("LowRank"):
                out.append(getattr(made, what))
        if not name.startswith("LowRank"):
            out += [made.cdf(m.tensor(value)), made.icdf(m.tensor(UNIT * 0.9))]
        wide = made.expand((2, *made.batch_shape))
        return [*out, wide.log_prob(m.tensor(value)), wide.entropy()]

    agree(program, A, B, L, tolerance=1e-3)


def test_errors():
    """Parameters outside their constraints."""
    d = cupola.distributions
    with pytest.raises(ValueError, match="dim"):
        d.LKJCholesky(1)
    with pytest.raises(ValueError, match="df"):
        d.Wishart(1.0, covariance_matrix=cupola.eye(3))
    with pytest.raises(ValueError, match="concentration"):
        d.VonMises(cupola.tensor(0.0), cupola.tensor(-1.0))
    with pytest.raises(ValueError, match="probs"):
        d.ContinuousBernoulli(cupola.tensor(1.5), validate_args=True)
    with pytest.raises(ValueError, match="cov_factor"):
        d.LowRankMultivariateNormal(cupola.zeros(3), cupola.zeros(2, 1), cupola.ones(3))
    with pytest.raises(ValueError, match="batch shapes"):
        d.LowRankMultivariateNormal(cupola.zeros(2, 3), cupola.zeros(3, 3, 1), cupola.ones(3))


FAMILIES = {
    "Normal": lambda d, a, b, x: d.Normal(x, a),
    "Laplace": lambda d, a, b, x: d.Laplace(x, a),
    "Gumbel": lambda d, a, b, x: d.Gumbel(x, a),
    "Cauchy": lambda d, a, b, x: d.Cauchy(x, a),
    "Exponential": lambda d, a, b, x: d.Exponential(a),
    "Gamma": lambda d, a, b, x: d.Gamma(a, b),
    "Beta": lambda d, a, b, x: d.Beta(a, b),
    "Uniform": lambda d, a, b, x: d.Uniform(x, x + a),
    "Pareto": lambda d, a, b, x: d.Pareto(a, b),
    "HalfNormal": lambda d, a, b, x: d.HalfNormal(a),
    "Bernoulli": lambda d, a, b, x: d.Bernoulli(logits=x),
    "Binomial": lambda d, a, b, x: d.Binomial(5, logits=x),
    "Poisson": lambda d, a, b, x: d.Poisson(a),
    "Geometric": lambda d, a, b, x: d.Geometric(logits=x),
    "ContinuousBernoulli": lambda d, a, b, x: d.ContinuousBernoulli(logits=x),
    "LowRankMultivariateNormal": lambda d, a, b, x: d.LowRankMultivariateNormal(
        x, x.new_tensor(NARROW) * a[0], b
    ),
    "MultivariateNormal": lambda d, a, b, x: d.MultivariateNormal(x, a.diag() * b),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_divergences(name):
    """Every pair of families that both sides have a rule for."""
    from torch.distributions.kl import _KL_REGISTRY

    from cupola.distributions.kl import _RULES

    theirs = {(p.__name__, q.__name__) for p, q in _KL_REGISTRY}
    ours = {(p.__name__, q.__name__) for p, q in _RULES}
    for other in FAMILIES:
        if (name, other) not in theirs & ours:
            continue

        def program(m, a, b, x, other=other):
            d = m.distributions
            p, q = FAMILIES[name](d, a, b, x), FAMILIES[other](d, b, a, x * 0.5)
            return d.kl_divergence(p, q)

        agree(program, A, B, L, tolerance=2e-4)
    assert (name, name) in ours
