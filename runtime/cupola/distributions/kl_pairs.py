"""Divergences between families, and of families that ``kl`` leaves out."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.distributions.composed import HalfNormal, Pareto
from cupola.distributions.continuous import Cauchy, Exponential, Gumbel, Laplace, Uniform
from cupola.distributions.discrete import Bernoulli, Binomial, Poisson
from cupola.distributions.gamma import Beta, Gamma
from cupola.distributions.kl import kl_divergence, register_kl
from cupola.distributions.normal import Normal
from cupola.tensor import Tensor

_EULER = 0.57721566490153286060  # the Euler-Mascheroni constant


def _infinite(p: Any, q: Any) -> Tensor:
    """The support of p reaches beyond that of q."""
    shape = cupola.broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape))
    return cupola.full(shape, math.inf)


_BEYOND = {
    Normal: (Uniform, Pareto, Gamma, Exponential, Beta),
    Laplace: (Uniform, Pareto, Gamma, Exponential, Beta),
    Gumbel: (Uniform, Pareto, Gamma, Exponential, Beta),
    Exponential: (Uniform, Pareto, Beta),
    Gamma: (Uniform, Pareto, Beta),
    Pareto: (Uniform, Beta),
    Beta: (Pareto,),
    Poisson: (Bernoulli, Binomial),
}
for _p, _others in _BEYOND.items():
    for _q in _others:
        register_kl(_p, _q)(_infinite)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    found = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return found.masked_fill(p.scale < q.scale, math.inf)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    ratio, shift = p.scale / q.scale, (p.loc - q.loc) / q.scale
    tail = ((1 + ratio).lgamma() - shift).exp()
    return shift - ratio.log() + ratio * _EULER + tail - (1 + _EULER)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Tensor:
    wide = (p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)
    return wide.log() - (4 * p.scale * q.scale).log()


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Tensor:
    once = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return (p.total_count * once).masked_fill(p.total_count > q.total_count, math.inf)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Tensor:
    ratio, a = q.rate / p.rate, q.concentration
    return ratio - a * ratio.log() + a.lgamma() + a * _EULER - (1 + _EULER)


@register_kl(Exponential, Normal)
def _exponential_normal(p: Any, q: Any) -> Tensor:
    size, variance = p.rate.pow(2), q.scale.pow(2)
    spread = 1 / size - q.loc / p.rate + q.loc.pow(2) / 2
    return 0.5 * (size * variance * 2 * math.pi).log() - 1 + spread / variance


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Any, q: Any) -> Tensor:
    return q.rate * p.concentration / p.rate - p.entropy() - q.rate.log()


@register_kl(Gamma, Normal)
def _gamma_normal(p: Any, q: Any) -> Tensor:
    a, size, variance = p.concentration, p.rate.pow(2), q.scale.pow(2)
    head = 0.5 * (size * variance * 2 * math.pi).log() - a - a.lgamma()
    spread = 0.5 * (a.pow(2) + a) / size - q.loc * a / p.rate + 0.5 * q.loc.pow(2)
    return head + (a - 1) * a.digamma() + spread / variance


@register_kl(Laplace, Normal)
def _laplace_normal(p: Any, q: Any) -> Tensor:
    variance = q.scale.pow(2)
    ratio = p.scale.pow(2) / variance
    return ratio - 0.5 * (2 * ratio / math.pi).log() + 0.5 * (p.loc - q.loc).pow(2) / variance - 1


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Tensor:
    found = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return found.masked_fill(p.low < 0, math.inf)
