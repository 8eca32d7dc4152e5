"""Divergences of the continuous Bernoulli and of low-rank normal distributions."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.distributions.composed import Pareto
from cupola.distributions.continuous import Exponential, Gumbel, Laplace, Uniform
from cupola.distributions.continuous_bernoulli import ContinuousBernoulli
from cupola.distributions.gamma import Beta, Gamma
from cupola.distributions.kl import register_kl
from cupola.distributions.kl_pairs import _infinite
from cupola.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from cupola.distributions.normal import MultivariateNormal, Normal
from cupola.tensor import Tensor

for _p in (Exponential, Gamma, Gumbel, Laplace, Normal, Pareto):
    register_kl(_p, ContinuousBernoulli)(_infinite)
register_kl(ContinuousBernoulli, Pareto)(_infinite)


def _at_zero(p: Any) -> Tensor:
    """Logarithm of the density at 0; it rises by ``logits`` up to 1."""
    return p._log_norm() + cupola.log1p(-p.probs)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _both(p: Any, q: Any) -> Tensor:
    return p.mean * (p.logits - q.logits) + _at_zero(p) - _at_zero(q)


@register_kl(ContinuousBernoulli, Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    return q.rate * p.mean - q.rate.log() - p.entropy()


@register_kl(ContinuousBernoulli, Normal)
def _normal(p: Any, q: Any) -> Tensor:
    square = p.variance + (p.mean - q.loc).pow(2)
    return square / (2 * q.scale.pow(2)) + (math.sqrt(2 * math.pi) * q.scale).log() - p.entropy()


@register_kl(ContinuousBernoulli, Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    found = (q.high - q.low).log() - p.entropy()
    return found.masked_fill((q.low >= 0) | (q.high <= 1), math.inf)


@register_kl(Uniform, ContinuousBernoulli)
def _from_uniform(p: Any, q: Any) -> Tensor:
    found = -p.entropy() - q.logits * p.mean - _at_zero(q)
    return found.masked_fill((p.high >= 1) | (p.low <= 0), math.inf)


@register_kl(Beta, ContinuousBernoulli)
def _beta(p: Any, q: Any) -> Tensor:
    return -p.entropy() - p.mean * q.logits - _at_zero(q)


def _squares(p: Any) -> Tensor:
    """A matrix whose product with its transpose is the covariance."""
    if isinstance(p, MultivariateNormal):
        return p.scale_tril
    return cupola.cat([p.cov_factor, cupola.diag_embed(p.cov_diag.sqrt())], -1)


def _log_det(p: Any) -> Tensor:
    return 2 * p._half_log_det() if isinstance(p, MultivariateNormal) else p._log_det()


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _normal_vectors(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL-divergence between normal vectors of different lengths: {tuple(p.event_shape)} "
            f"and {tuple(q.event_shape)}"
        )
    if isinstance(q, MultivariateNormal):
        solve = cupola.linalg.solve_triangular
        spread = solve(q.scale_tril, _squares(p), upper=False).pow(2).sum((-2, -1))
        shift = solve(q.scale_tril, (q.loc - p.loc).unsqueeze(-1), upper=False)
        shift = shift.pow(2).sum((-2, -1))
    else:
        spread = q._distance(_squares(p).movedim(-1, 0)).sum(0)
        shift = q._distance(q.loc - p.loc)
    return 0.5 * (_log_det(q) - _log_det(p) + spread + shift - p.event_shape[0])
