"""The generalized Pareto distribution: tails of other distributions."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.distribution import Distribution
from cupola.distributions.utils import broadcast_all
from cupola.tensor import Tensor


class GeneralizedPareto(Distribution):
    """Density ``(1 + c z) ** -(1 + 1 / c) / scale`` of ``z = (x - loc) / scale``, exponential where
    the concentration ``c`` is zero, bounded above where it is negative.
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> Any:
        end = self.loc - self.scale / self.concentration
        none = cupola.full_like(end, math.inf)
        return constraints.interval(self.loc, cupola.where(self.concentration < 0, end, none))

    def _shape(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is zero, and a concentration that may be divided by."""
        c = self.concentration
        zero = cupola.isclose(c, cupola.zeros_like(c))
        return zero, cupola.where(zero, cupola.ones_like(c), c)

    @property
    def mean(self) -> Tensor:
        return self._while_below(1.0, lambda c: self.loc + self.scale / (1 - c))

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._while_below(0.5, lambda c: self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)))

    def _while_below(self, bound: float, formula: Any) -> Tensor:
        """A moment that exists for concentrations below a bound, else NaN."""
        c = self.concentration
        there = c < bound
        found = formula(cupola.where(there, c, cupola.full_like(c, bound / 2)))
        return cupola.where(there, found, cupola.full_like(found, math.nan))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(cupola.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_survival_function(self, value: Tensor) -> Tensor:
        """Logarithm of the probability of more than ``value``."""
        self._check(value)
        z = (value - self.loc) / self.scale
        zero, c = self._shape()
        return -cupola.where(zero, z, cupola.log1p(c * z) / c)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        z = (value - self.loc) / self.scale
        zero, c = self._shape()
        power = 1 + 1 / c
        # A power of 0 is the uniform distribution, whose end would give 0 times infinity.
        tail = cupola.where(power == 0, cupola.zeros_like(z), power * cupola.log1p(c * z))
        return -self.scale.log() - cupola.where(zero, z, tail)

    def log_cdf(self, value: Tensor) -> Tensor:
        """Logarithm of ``cdf``."""
        return cupola.log1p(-cupola.exp(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return self.log_cdf(value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        rest = cupola.log1p(-value)
        zero, c = self._shape()
        return self.loc + self.scale * cupola.where(zero, -rest, cupola.expm1(-c * rest) / c)

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1


__all__ = ["GeneralizedPareto"]
