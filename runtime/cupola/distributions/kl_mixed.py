"""Kullback-Leibler divergences between distributions of different families: expectations of the
second's log density under the first, in closed form (torch.distributions.kl).
"""

from __future__ import annotations

import math
from typing import Any

from cupola.distributions.composed import Pareto
from cupola.distributions.continuous import Exponential, Gumbel, Laplace, Uniform
from cupola.distributions.discrete import Bernoulli, Poisson
from cupola.distributions.gamma import Beta, Gamma
from cupola.distributions.kl import register_kl
from cupola.distributions.normal import Normal
from cupola.functional.selection import xlogy
from cupola.tensor import Tensor

_EULER = 0.57721566490153286060
_ROOT = math.sqrt(2 * math.pi)


def _log_gap(x: Tensor, y: Tensor) -> Tensor:
    """The integral of log(t) from y to x."""
    return xlogy(x, x) - xlogy(y, y) - (x - y)


def _gamma_norm(q: Any) -> Tensor:
    """Minus the logarithm of a Gamma's normalising factor."""
    return q.concentration.lgamma() - q.concentration * q.rate.log()


def _square(q: Any, mean: Tensor, variance: Tensor) -> Tensor:
    """Minus the expected log density of a Normal, without its constant."""
    return (variance + (mean - q.loc).pow(2)) / (2 * q.scale.pow(2)) + (q.scale * _ROOT).log()


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Beta, Exponential)
def _beta_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> Tensor:
    log_mean = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    return -p.entropy() + _gamma_norm(q) - (q.concentration - 1) * log_mean + q.rate * p.mean


@register_kl(Beta, Normal)
def _beta_normal(p: Any, q: Any) -> Tensor:
    return -p.entropy() + _square(q, p.mean, p.variance)


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Tensor:
    out = -p.entropy() + (q.high - q.low).log()
    return out.masked_fill((q.low > 0) | (q.high < 1), math.inf)


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Any, q: Any) -> Tensor:
    product, place = p.rate * q.scale, q.loc / q.scale
    return product.log() - 1 - place + place.exp() * product / (product + 1) + 1 / product


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Any, q: Any) -> Tensor:
    a, product, place = p.concentration, p.rate * q.scale, q.loc / q.scale
    entropy = (a - 1) * a.digamma() - a.lgamma() - a
    tail = place.exp() * (1 + 1 / product).pow(-a) - place
    return entropy + product.log() + a / product + tail


@register_kl(Gumbel, Normal)
def _gumbel_normal(p: Any, q: Any) -> Tensor:
    return -p.scale.log() - (_EULER + 1) + _square(q, p.mean, p.variance)


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Any, q: Any) -> Tensor:
    shift, spread = (p.loc - q.loc) / q.scale, (p.scale / q.scale).pow(2)
    tail = (0.5 * spread - shift).exp()
    return -0.5 * spread.log() + shift + tail - 0.5 * (1 + math.log(2 * math.pi))


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    gap = p.loc - q.loc
    ratio = gap / p.scale
    far = math.sqrt(2 / math.pi) * p.scale * (-0.5 * ratio.pow(2)).exp()
    distance = far + gap * (math.sqrt(0.5) * ratio).erf()
    constant = 0.5 * (1 + math.log(0.5 * math.pi))
    return -(p.scale / q.scale).log() + distance / q.scale - constant


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Any, q: Any) -> Tensor:
    product = p.scale * q.rate
    out = (p.alpha / product).log() - 1 / p.alpha + p.alpha * product / (p.alpha - 1) - 1
    return out.masked_fill(p.alpha <= 1, math.inf)


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Any, q: Any) -> Tensor:
    log_mean = p.scale.log() + 1 / p.alpha
    mean = p.alpha * p.scale / (p.alpha - 1)
    out = p.alpha.log() - log_mean + _gamma_norm(q) + (1 - q.concentration) * log_mean
    return (out + q.rate * mean - 1).masked_fill(p.alpha <= 1, math.inf)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Any, q: Any) -> Tensor:
    part = p.scale / (p.alpha - 1)
    variance = p.alpha * part.pow(2) / (p.alpha - 2)
    out = (p.alpha / p.scale).log() - 1 / p.alpha - 1 + _square(q, p.alpha * part, variance)
    return out.masked_fill(p.alpha <= 2, math.inf)


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    a, b = q.concentration1, q.concentration0
    first = (a - 1) * _log_gap(p.high, p.low) / width
    second = (b - 1) * _log_gap(1 - p.low, 1 - p.high) / width
    out = a.lgamma() + b.lgamma() - (a + b).lgamma() - width.log() - first - second
    return out.masked_fill((p.high > 1) | (p.low < 0), math.inf)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    out = -width.log() + _gamma_norm(q) + q.rate * (p.high + p.low) / 2
    out = out + (1 - q.concentration) * _log_gap(p.high, p.low) / width
    return out.masked_fill(p.low < 0, math.inf)


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Any, q: Any) -> Tensor:
    ratio = q.scale / (p.high - p.low)
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    return ratio.log() + 0.5 * (high + low) - ratio * ((-high).exp() - (-low).exp())


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    log_mean = _log_gap(p.high, p.low) / width
    out = log_mean * (q.alpha + 1) - (q.alpha * q.scale.pow(q.alpha) * width).log()
    return out.masked_fill(p.low < q.scale, math.inf)
