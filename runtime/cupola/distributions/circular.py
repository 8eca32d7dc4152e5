"""Angles: the von Mises distribution."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.distribution import Distribution
from cupola.distributions.utils import broadcast_all
from cupola.tensor import Tensor


class VonMises(Distribution):
    """An angle near ``loc``, the closer the larger ``concentration``."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        k = self.concentration
        log_bessel = cupola.special.i0e(k).log() + k
        return k * cupola.cos(value - self.loc) - math.log(2 * math.pi) - log_bessel

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Angles in [-pi, pi), by rejection from a wrapped Cauchy distribution in float64 (Best
        and Fisher, 1979).
        """
        shape = self._extended_shape(sample_shape)
        with cupola.no_grad():
            loc, k = self.loc.double(), self.concentration.double()
            tau = 1 + (1 + 4 * k * k).sqrt()
            rho = (tau - (2 * tau).sqrt()) / (2 * k)
            r = cupola.where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))
            angle = cupola.zeros(shape, dtype=loc.dtype, device=loc.device)
            missing = cupola.ones(shape, dtype=cupola.bool, device=loc.device)
            while bool(missing.any()):
                u = cupola.rand((3, *shape), dtype=loc.dtype, device=loc.device)
                z = cupola.cos(math.pi * u[0])
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                taken = (c * (2 - c) - u[1] > 0) | ((c / u[1]).log() + 1 - c >= 0)
                angle = cupola.where(taken, (u[2] - 0.5).sign() * f.acos(), angle)
                missing = missing & ~taken
            turned = (angle + math.pi + loc) % (2 * math.pi) - math.pi
            return turned.to(self.loc.dtype)

    @property
    def mean(self) -> Tensor:
        """The mean angle."""
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        """The circular variance, 1 - I1(k) / I0(k)."""
        k = self.concentration
        return 1 - cupola.special.i1e(k) / cupola.special.i0e(k)


__all__ = ["VonMises"]
