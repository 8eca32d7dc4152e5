"""The continuous Bernoulli distribution (Loaiza-Ganem and Cunningham, 2019)."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.discrete import _Binary
from cupola.distributions.utils import clamp_probs, lazy_property, logits_to_probs
from cupola.tensor import Tensor


class ContinuousBernoulli(_Binary):
    """Density on [0, 1] in proportion to ``probs ** x * (1 - probs) ** (1 - x)``.

    Inside ``lims`` around 0.5, where the formulas divide zero by zero, their series are used.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._set(probs, logits)
        if probs is not None:
            inside = constraints.unit_interval.check(self.probs)
            if validate_args is not None and not bool(inside.all()):
                raise ValueError("The parameter probs has invalid values")
            self._param = self.probs = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(self._param.shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The parameter in (0, 1); it is not the mean."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _far(self) -> Tensor:
        """Whether the formulas are exact enough, away from 0.5."""
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _safe(self) -> tuple[Tensor, Tensor]:
        """``probs`` where the formulas are used, and log((1 - probs) / probs)."""
        p = cupola.where(self._far(), self.probs, cupola.full_like(self.probs, self._lims[0]))
        return p, cupola.log1p(-p) - cupola.log(p)

    def _log_norm(self) -> Tensor:
        """Logarithm of the factor that makes the density integrate to 1."""
        p, gap = self._safe()
        square = (self.probs - 0.5).pow(2)
        series = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * square) * square
        return cupola.where(self._far(), gap.abs().log() - (1 - 2 * p).abs().log(), series)

    @property
    def mean(self) -> Tensor:
        p, gap = self._safe()
        x = self.probs - 0.5
        series = 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x
        return cupola.where(self._far(), 1 / gap - p / (1 - 2 * p), series)

    @property
    def variance(self) -> Tensor:
        p, gap = self._safe()
        square = (self.probs - 0.5).pow(2)
        series = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * square) * square
        return cupola.where(self._far(), gap.pow(-2) - p * (1 - p) / (1 - 2 * p).pow(2), series)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(cupola.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        entropy = cupola.nn.functional.binary_cross_entropy_with_logits
        logits, value = cupola.broadcast_tensors(self.logits, value)
        return self._log_norm() - entropy(logits, value, reduction="none")

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        p, _ = self._safe()
        exact = (p.pow(value) * (1 - p).pow(1 - value) - (1 - p)) / (2 * p - 1)
        inside = cupola.where(self._far(), exact, value)
        inside = cupola.where(value <= 0, cupola.zeros_like(inside), inside)
        return cupola.where(value >= 1, cupola.ones_like(inside), inside)

    def icdf(self, value: Tensor) -> Tensor:
        p, gap = self._safe()
        exact = (cupola.log1p(-p) - cupola.log1p(value * (2 * p - 1) - p)) / gap
        return cupola.where(self._far(), exact, value)

    def entropy(self) -> Tensor:
        low = cupola.log1p(-self.probs)
        return self.mean * (low - cupola.log(self.probs)) - low - self._log_norm()


__all__ = ["ContinuousBernoulli"]
