"""Counts of trials: the negative binomial distribution."""

from __future__ import annotations

from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.discrete import _Binary, _one_of
from cupola.distributions.gamma import Gamma
from cupola.distributions.utils import broadcast_all
from cupola.nn.functional import logsigmoid
from cupola.tensor import Tensor


class NegativeBinomial(_Binary):
    """Successes of probability ``probs`` before ``total_count`` failures."""

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        _one_of(probs, logits)
        count, param = broadcast_all(total_count, probs if logits is None else logits)
        self.total_count = count.type_as(param)
        self._set(param if logits is None else None, None if logits is None else param)
        super().__init__(self._param.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * cupola.exp(self.logits)

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / cupola.sigmoid(-self.logits)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with cupola.no_grad():
            rates = Gamma(self.total_count, cupola.exp(-self.logits), validate_args=False)
            return cupola.poisson(rates.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        trials = self.total_count + value
        chances = self.total_count * logsigmoid(-self.logits) + value * logsigmoid(self.logits)
        ways = cupola.lgamma(trials) - cupola.lgamma(1.0 + value) - cupola.lgamma(self.total_count)
        return chances + cupola.where(trials == 0.0, cupola.zeros_like(ways), ways)


__all__ = ["NegativeBinomial"]
