"""Normal vectors whose covariance is a product of narrow matrices plus a diagonal."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.distribution import Distribution
from cupola.distributions.normal import _batch_vector
from cupola.distributions.utils import _standard_normal, lazy_property
from cupola.tensor import Tensor


class LowRankMultivariateNormal(Distribution):
    """Normal vectors with covariance ``cov_factor @ cov_factor.mT + diag(cov_diag)``.

    Shapes: ``loc`` and ``cov_diag`` (..., n), ``cov_factor`` (..., n, rank). Determinant and
    inverse come from a rank x rank matrix (Woodbury's identity).
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = tuple(loc.shape[-1:])
        if cov_factor.ndim < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if tuple(cov_factor.shape[-2:-1]) != event:
            raise ValueError(
                f"cov_factor must be a batch of matrices with shape {event[0]} x m, but has shape "
                f"{tuple(cov_factor.shape)}"
            )
        if tuple(cov_diag.shape[-1:]) != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event}")
        parts = (loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        try:
            batch = cupola.broadcast_shapes(*map(tuple, parts))
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                f"cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand(*batch, *event)
        self.cov_factor = cov_factor.expand(*batch, *cov_factor.shape[-2:])
        self.cov_diag = cov_diag.expand(*batch, *event)
        scaled = cov_factor.mT / cov_diag.unsqueeze(-2)
        eye = cupola.eye(cov_factor.shape[-1], dtype=loc.dtype, device=loc.device)
        self._capacitance_tril = cupola.linalg.cholesky(eye + scaled @ cov_factor)
        super().__init__(batch, event, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution with a larger batch shape."""
        shape, event = cupola.Size(batch_shape), self._event_shape
        new = object.__new__(type(self)) if _instance is None else _instance
        new.loc = self.loc.expand(*shape, *event)
        new.cov_diag = self.cov_diag.expand(*shape, *event)
        new.cov_factor = self.cov_factor.expand(*shape, *self.cov_factor.shape[-2:])
        new._capacitance_tril = self._capacitance_tril
        Distribution.__init__(new, shape, event, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.pow(2).sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return self.cov_factor @ self.cov_factor.mT + cupola.diag_embed(self.cov_diag)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """Cholesky factor of the covariance: that of a matrix with eigenvalues of at least 1,
        scaled.
        """
        deviation = self.cov_diag.sqrt().unsqueeze(-1)
        narrow = self.cov_factor / deviation
        eye = cupola.eye(self._event_shape[0], dtype=self.loc.dtype, device=self.loc.device)
        return deviation * cupola.linalg.cholesky(narrow @ narrow.mT + eye)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Inverse of the covariance."""
        weighted = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        solved = cupola.linalg.solve_triangular(self._capacitance_tril, weighted, upper=False)
        return cupola.diag_embed(self.cov_diag.reciprocal()) - solved.mT @ solved

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        dtype, device = self.loc.dtype, self.loc.device
        along = _standard_normal((*shape[:-1], self.cov_factor.shape[-1]), dtype, device)
        own = _standard_normal(shape, dtype, device)
        return self.loc + _batch_vector(self.cov_factor, along) + self.cov_diag.sqrt() * own

    def _log_det(self) -> Tensor:
        """Logarithm of the covariance's determinant."""
        inner = self._capacitance_tril.diagonal(0, -2, -1).log().sum(-1)
        return 2 * inner + self.cov_diag.log().sum(-1)

    def _distance(self, difference: Tensor) -> Tensor:
        """Squared Mahalanobis length of vectors."""
        weighted = difference / self.cov_diag
        inner = _batch_vector(self.cov_factor.mT, weighted).unsqueeze(-1)
        tril = self._capacitance_tril
        tril = tril.expand(*inner.shape[:-2], *tril.shape[-2:])
        solved = cupola.linalg.solve_triangular(tril, inner, upper=False).squeeze(-1)
        return (difference * weighted).sum(-1) - solved.pow(2).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._check(value)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + self._log_det() + self._distance(value - self.loc))

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        return 0.5 * (n * (1 + math.log(2 * math.pi)) + self._log_det())


__all__ = ["LowRankMultivariateNormal"]
