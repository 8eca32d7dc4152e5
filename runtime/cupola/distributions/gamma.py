"""Gamma, chi-squared, beta, Dirichlet and Student's distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import cupola
from cupola import random
from cupola.distributions import constraints
from cupola.distributions.distribution import Distribution, ExponentialFamily
from cupola.distributions.utils import _standard_normal, broadcast_all
from cupola.tensor import Function, Tensor
from cupola.tensor.create import of_array

__all__ = ["Beta", "Chi2", "Dirichlet", "Gamma", "StudentT"]


class _StandardGamma(Function):
    """Draws with implicit gradients (Figurnov et al. 2018): dx/da = -(dP(a, x)/da) / p(x; a)."""

    @staticmethod
    def forward(ctx: Any, alpha: Tensor) -> Tensor:
        a = alpha.detach().cpu().numpy()
        out: Tensor = of_array(np.asarray(random.standard_gamma(a), a.dtype), alpha.device)
        ctx.save_for_backward(alpha, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        from scipy import special

        alpha, out = (t.detach().cpu().numpy().astype(np.float64) for t in ctx.saved_tensors)
        x = np.maximum(out, 1e-300)
        step = 1e-4 * alpha
        slope = special.gammainc(alpha + step, x) - special.gammainc(alpha - step, x)
        density = np.exp((alpha - 1) * np.log(x) - x - special.gammaln(alpha))
        rate = -slope / (2 * step) / np.maximum(density, 1e-300)
        return g * of_array(rate.astype(np.dtype(ctx.saved_tensors[0].dtype.np)), g.device)


def _standard_gamma(alpha: Tensor) -> Tensor:
    tiny = cupola.finfo(alpha.dtype).tiny
    return _StandardGamma.apply(alpha).clamp(min=tiny)


class _StandardDirichlet(Function):
    """Draws of which each share moves as the beta distribution that it is drawn from, the others
    in proportion (Figurnov et al. 2018).
    """

    @staticmethod
    def forward(ctx: Any, alpha: Tensor) -> Tensor:
        a = alpha.detach().cpu().numpy()
        out: Tensor = of_array(np.asarray(random.dirichlet(a), a.dtype), alpha.device)
        ctx.save_for_backward(alpha, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        from scipy import special

        alpha, out = (t.detach().cpu().numpy().astype(np.float64) for t in ctx.saved_tensors)
        rest = alpha.sum(-1, keepdims=True) - alpha
        x = np.clip(out, 1e-300, 1 - 1e-16)
        step = 1e-4 * alpha
        below = special.betainc(alpha + step, rest, x) - special.betainc(alpha - step, rest, x)
        over = special.betaincc(alpha - step, rest, x) - special.betaincc(alpha + step, rest, x)
        slope = np.where(x < alpha / (alpha + rest), below, over)  # of the smaller tail
        log_density = special.xlogy(alpha - 1, x) + special.xlog1py(rest - 1, -x)
        density = np.exp(log_density - special.betaln(alpha, rest))
        rate = -slope / (2 * step) / np.maximum(density * (1 - x), 1e-300)
        moved = of_array(rate.astype(np.dtype(ctx.saved_tensors[0].dtype.np)), g.device)
        return moved * (g - (ctx.saved_tensors[1].detach() * g).sum(-1, True))


class Gamma(ExponentialFamily):
    """Gamma with shape ``concentration`` and rate ``rate``."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return _standard_gamma(self.concentration.expand(shape).clone()) / self.rate.expand(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        return (
            cupola.xlogy(self.concentration, self.rate)
            + cupola.xlogy(self.concentration - 1, value)
            - self.rate * value
            - cupola.lgamma(self.concentration)
        )

    def cdf(self, value: Tensor) -> Tensor:
        self._check(value)
        return cupola.special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + cupola.lgamma(a) + (1.0 - a) * cupola.digamma(a)


class Chi2(Gamma):
    """Chi-squared with ``df`` degrees of freedom."""

    arg_constraints = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (df,) = broadcast_all(df)
        self._df = df
        super().__init__(0.5 * df, 0.5, validate_args=validate_args)

    @property
    def df(self) -> Tensor:
        """Degrees of freedom."""
        return self.concentration * 2


class Dirichlet(ExponentialFamily):
    """Dirichlet over the simplex."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0)
        inside = above / above.sum(-1, True)
        corner = cupola.nn.functional.one_hot(inside.argmax(-1), self._event_shape[0])
        return cupola.where((self.concentration < 1).all(-1, True), corner.to(above.dtype), inside)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return _StandardDirichlet.apply(self.concentration.expand(shape).clone())

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        a = self.concentration
        return (
            cupola.xlogy(a - 1, value).sum(-1) + cupola.lgamma(a.sum(-1)) - cupola.lgamma(a).sum(-1)
        )

    def entropy(self) -> Tensor:
        a = self.concentration
        k, total = a.shape[-1], a.sum(-1)
        return (
            cupola.lgamma(a).sum(-1)
            - cupola.lgamma(total)
            - (k - total) * cupola.digamma(total)
            - ((a - 1) * cupola.digamma(a)).sum(-1)
        )


class Beta(ExponentialFamily):
    """Beta over [0, 1]."""

    arg_constraints = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        both = cupola.stack(broadcast_all(concentration1, concentration0), -1)
        self._dirichlet = Dirichlet(both, validate_args=validate_args)
        super().__init__(self._dirichlet.batch_shape, validate_args=validate_args)

    @property
    def concentration1(self) -> Tensor:
        """First parameter, alpha."""
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Tensor:
        """Second parameter, beta."""
        return self._dirichlet.concentration[..., 1]

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape).select(-1, 0)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        return self._dirichlet.log_prob(cupola.stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()


class StudentT(Distribution):
    """Student's t with ``df`` degrees of freedom, shifted and scaled."""

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        out = self.scale.pow(2) * self.df / (self.df - 2)
        return out.masked_fill(self.df <= 2, math.inf).masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        x = _standard_normal(shape, self.df.dtype, self.df.device)
        return self.loc + self.scale * x * cupola.rsqrt(self._chi2.rsample(sample_shape) / self.df)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        y = (value - self.loc) / self.scale
        z = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + cupola.lgamma(0.5 * self.df)
            - cupola.lgamma(0.5 * (self.df + 1.0))
        )
        return -0.5 * (self.df + 1.0) * cupola.log1p(y**2.0 / self.df) - z

    def entropy(self) -> Tensor:
        half, more = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = half.lgamma() + 0.5 * math.log(math.pi) - more.lgamma()
        slope = more * (more.digamma() - half.digamma())
        return self.scale.log() + slope + 0.5 * self.df.log() + log_beta
