"""Distributions made of others: inverse gamma, Fisher-Snedecor, Kumaraswamy, logistic-normal."""

from __future__ import annotations

from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.composed import TransformedDistribution
from cupola.distributions.continuous import Uniform
from cupola.distributions.distribution import Distribution
from cupola.distributions.gamma import Gamma
from cupola.distributions.normal import Normal
from cupola.distributions.transforms import (
    AffineTransform,
    PowerTransform,
    StickBreakingTransform,
)
from cupola.distributions.utils import broadcast_all
from cupola.tensor import Tensor

_EULER = 0.57721566490153286060  # the Euler-Mascheroni constant


class InverseGamma(TransformedDistribution):
    """One over a gamma-distributed number."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args=validate_args)
        inverse = PowerTransform(-cupola.ones_like(base.rate))
        super().__init__(base, inverse, validate_args=validate_args)

    @property
    def concentration(self) -> Tensor:
        """Shape of the gamma distribution."""
        return self.base_dist.concentration

    @property
    def rate(self) -> Tensor:
        """Rate of the gamma distribution."""
        return self.base_dist.rate

    @property
    def mean(self) -> Tensor:
        a = self.concentration
        return cupola.where(a > 1, self.rate / (a - 1), cupola.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        a = self.concentration
        found = self.rate.square() / ((a - 1).square() * (a - 2))
        return cupola.where(a > 2, found, cupola.inf)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a + self.rate.log() + a.lgamma() - (1 + a) * a.digamma()


class FisherSnedecor(Distribution):
    """The ratio of two chi-squared means of ``df1`` and ``df2`` degrees of freedom."""

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        self._gamma1 = Gamma(self.df1 * 0.5, self.df1, validate_args=False)
        self._gamma2 = Gamma(self.df2 * 0.5, self.df2, validate_args=False)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        b = cupola.where(self.df2 <= 2, cupola.nan, self.df2)
        return b / (b - 2)

    @property
    def mode(self) -> Tensor:
        a = cupola.where(self.df1 <= 2, cupola.nan, self.df1)
        return (a - 2) / a * self.df2 / (self.df2 + 2)

    @property
    def variance(self) -> Tensor:
        b = cupola.where(self.df2 <= 4, cupola.nan, self.df2)
        return 2 * b.pow(2) * (self.df1 + b - 2) / (self.df1 * (b - 2).pow(2) * (b - 4))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        above = self._gamma1.rsample(sample_shape)
        below = self._gamma2.rsample(sample_shape).clamp(min=cupola.finfo(above.dtype).tiny)
        return (above / below).clamp(min=cupola.finfo(above.dtype).tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        a, b = self.df1 * 0.5, self.df2 * 0.5
        ratio = self.df1 / self.df2
        constant = (a + b).lgamma() - a.lgamma() - b.lgamma()
        body = a * ratio.log() + (a - 1) * value.log()
        return constant + body - (a + b) * cupola.log1p(ratio * value)


class Kumaraswamy(TransformedDistribution):
    """A number in (0, 1) with a simple distribution function, ``1 - (1 - x ** a) ** b``."""

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        zeros, ones = cupola.zeros_like(self.concentration0), cupola.ones_like(self.concentration0)
        steps = [
            PowerTransform(self.concentration0.reciprocal()),
            AffineTransform(1.0, -1.0),
            PowerTransform(self.concentration1.reciprocal()),
        ]
        base = Uniform(zeros, ones, validate_args=False)
        super().__init__(base, steps, validate_args=validate_args)

    def _moment(self, n: int) -> Tensor:
        order = 1 + n / self.concentration1
        total = order.lgamma() + self.concentration0.lgamma()
        return self.concentration0 * (total - (order + self.concentration0).lgamma()).exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        """Where the density is highest; NaN where it has a pole. (PyTorch's is NaN everywhere.)"""
        a, b = self.concentration1, self.concentration0
        found = ((a - 1) / (a * b - 1)).pow(a.reciprocal())
        return found.masked_fill((a < 1) | (b < 1), cupola.nan)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self.mean.pow(2)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = (b + 1).digamma() + _EULER
        return 1 - b.reciprocal() + (1 - a.reciprocal()) * harmonic - a.log() - b.log()


class LogisticNormal(TransformedDistribution):
    """A normal vector carried to the simplex by breaking a stick."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    @property
    def loc(self) -> Tensor:
        """Mean before the stick is broken."""
        inner = getattr(self.base_dist, "base_dist", self.base_dist)
        return inner.loc

    @property
    def scale(self) -> Tensor:
        """Standard deviation before the stick is broken."""
        inner = getattr(self.base_dist, "base_dist", self.base_dist)
        return inner.scale


__all__ = ["FisherSnedecor", "InverseGamma", "Kumaraswamy", "LogisticNormal"]
