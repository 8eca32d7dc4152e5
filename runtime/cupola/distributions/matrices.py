"""Random matrices: Wishart's covariances, Cholesky factors of correlations (LKJ)."""

from __future__ import annotations

import math
import warnings
from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.distribution import Distribution, ExponentialFamily
from cupola.distributions.gamma import Beta, Chi2
from cupola.distributions.utils import broadcast_all, lazy_property
from cupola.tensor import Tensor


class Wishart(ExponentialFamily):
    """Covariances of ``df`` normal vectors, by covariance, precision, or the covariance's Cholesky
    factor.
    """

    support = constraints.positive_definite
    has_rsample = True
    arg_constraints = {
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
        "df": constraints.greater_than(0),
    }

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = [m for m in (covariance_matrix, precision_matrix, scale_tril) if m is not None]
        if len(given) != 1:
            raise AssertionError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be "
                "specified."
            )
        matrix = given[0]
        if matrix.ndim < 2:
            raise ValueError(
                "scale_tril must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        p = matrix.shape[-1]
        if not isinstance(df, Tensor):
            df = cupola.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch = cupola.broadcast_shapes(tuple(matrix.shape[:-2]), tuple(df.shape))
        self.df = df.expand(batch)
        if bool((self.df <= p - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {p - 1}.")
        if bool((self.df < p).any()):
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for "
                "ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        matrix = matrix.expand(*batch, p, p)
        names = ("covariance_matrix", "precision_matrix", "scale_tril")
        kinds = (covariance_matrix, precision_matrix, scale_tril)
        setattr(self, next(n for n, m in zip(names, kinds, strict=True) if m is not None), matrix)
        self.arg_constraints = {
            **type(self).arg_constraints,
            "df": constraints.greater_than(p - 1),
        }
        super().__init__(batch, (p, p), validate_args=validate_args)
        if scale_tril is not None:
            factor = matrix
        elif covariance_matrix is not None:
            factor = cupola.linalg.cholesky(matrix)
        else:
            flipped = cupola.linalg.cholesky(matrix.flip(-2, -1)).flip(-2, -1).mT
            eye = cupola.eye(p, dtype=matrix.dtype, device=matrix.device)
            factor = cupola.linalg.solve_triangular(flipped, eye, upper=False)
        self._unbroadcasted_scale_tril = factor

    @lazy_property
    def scale_tril(self) -> Tensor:
        """Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return self._unbroadcasted_scale_tril @ self._unbroadcasted_scale_tril.mT

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Inverse of the covariance."""
        return cupola.cholesky_inverse(self._unbroadcasted_scale_tril)

    @property
    def mean(self) -> Tensor:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self._event_shape[-1] - 1
        factor = cupola.where(factor <= 0, cupola.full_like(factor, math.nan), factor)
        return factor[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(0, -2, -1)
        return self.df[..., None, None] * (
            v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        )

    def rsample(self, sample_shape: Any = (), max_try_correction: int = 10) -> Tensor:
        """By Bartlett's decomposition: chi on the diagonal, normal numbers below.

        As in PyTorch, whose numbers these are, matrices that come out positive definite at first
        are drawn again, until none is singular or ``max_try_correction`` is reached.
        """
        sample = self._bartlett(sample_shape)
        again = self._any_of_batch(self.support.check(sample))
        for _ in range(max_try_correction):
            count = int(again.sum())
            if not count:
                break
            fresh = self._bartlett((count,))
            sample = sample.clone()
            sample[again] = fresh
            missing = again.clone()
            missing[again] = self._any_of_batch(~self.support.check(fresh))
            again = missing
        return sample

    def _any_of_batch(self, which: Tensor) -> Tensor:
        dims = tuple(-1 - k for k in range(len(self._batch_shape)))
        return which.amax(dims) if dims else which

    def _bartlett(self, sample_shape: Any) -> Tensor:
        p = self._event_shape[-1]
        falling = cupola.arange(p, dtype=self.df.dtype, device=self.df.device)
        chi2 = Chi2(self.df.unsqueeze(-1) - falling, validate_args=False)
        diagonal = chi2.rsample(sample_shape).sqrt()
        diagonal = diagonal.clamp(min=cupola.finfo(diagonal.dtype).eps)
        shape = (*sample_shape, *self._batch_shape, p * (p - 1) // 2)
        below = cupola.randn(shape, dtype=diagonal.dtype, device=diagonal.device)
        noise = cupola.diag_embed(diagonal)
        if p > 1:
            i, j = cupola.tril_indices(p, p, -1)
            noise = noise.clone()
            noise[..., i, j] = below
        factor = self._unbroadcasted_scale_tril @ noise
        return factor @ factor.mT

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        p, df = self._event_shape[-1], self.df
        ratio = (
            cupola.cholesky_solve(value, self._unbroadcasted_scale_tril).diagonal(0, -2, -1).sum(-1)
        )
        return (
            -df * (p * math.log(2) / 2 + self._half_log_det())
            - cupola.mvlgamma(df / 2, p)
            + (df - p - 1) / 2 * cupola.linalg.slogdet(value)[1]
            - ratio / 2
        )

    def _half_log_det(self) -> Tensor:
        return self._unbroadcasted_scale_tril.diagonal(0, -2, -1).log().sum(-1)

    def entropy(self) -> Tensor:
        p, df = self._event_shape[-1], self.df
        steps = cupola.arange(p, dtype=df.dtype, device=df.device) / 2
        slope = cupola.digamma((df / 2).unsqueeze(-1) - steps).sum(-1)
        return (
            (p + 1) * (p * math.log(2) / 2 + self._half_log_det())
            + cupola.mvlgamma(df / 2, p)
            - (df - p - 1) / 2 * slope
            + df * p / 2
        )


class LKJCholesky(Distribution):
    """Cholesky factors of ``dim`` x ``dim`` correlation matrices, with density proportional to
    ``det ** (concentration - 1)`` (Lewandowski, Kurowicka and Joe, 2009).
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.size(), (dim, dim), validate_args)

    def _onion(self) -> Beta:
        """Squared lengths of the rows below the diagonal."""
        c = self.concentration
        step = cupola.arange(self.dim - 1, dtype=c.dtype, device=c.device)
        step = cupola.cat([step.new_zeros((1,)), step])
        first = (c + 0.5 * (self.dim - 2)).unsqueeze(-1) - 0.5 * step
        return Beta((step + 0.5).expand(first.shape), first, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """By the onion method: row after row a direction and a length."""
        with cupola.no_grad():
            length = self._onion().sample(sample_shape).unsqueeze(-1)
            shape = self._extended_shape(sample_shape)
            c = self.concentration
            direction = cupola.randn(shape, dtype=c.dtype, device=c.device).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            direction[..., 0, :] = 0.0
            rows = length.sqrt() * direction
            tiny = cupola.finfo(c.dtype).tiny
            diagonal = (1 - rows.pow(2).sum(-1)).clamp(min=tiny).sqrt()
            return rows + cupola.diag_embed(diagonal)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        c, rest = self.concentration, self.dim - 1
        diagonal = value.diagonal(0, -2, -1)[..., 1:]
        order = cupola.arange(2, self.dim + 1, device=c.device)
        order = 2 * (c - 1).unsqueeze(-1) + self.dim - order
        alpha = c + 0.5 * rest
        constant = 0.5 * rest * math.log(math.pi) + cupola.mvlgamma(alpha - 0.5, rest)
        return (order * diagonal.log()).sum(-1) - (constant - cupola.lgamma(alpha) * rest)


__all__ = ["LKJCholesky", "Wishart"]
