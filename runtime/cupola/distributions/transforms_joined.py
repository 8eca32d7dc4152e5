"""Transforms of matrices, of parts of an array and through a distribution."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.distributions import constraints
from cupola.distributions.transforms import LowerCholeskyTransform, Transform, _enough, _Plain
from cupola.distributions.utils import _sum_rightmost
from cupola.nn.functional import pad, softplus
from cupola.tensor import Tensor


def _lower(n: int, diagonal: int) -> tuple[Tensor, Tensor]:
    rows, columns = cupola.tril_indices(n, n, diagonal)
    return rows, columns


def vector_to_lower(x: Tensor, diagonal: int = 0) -> Tensor:
    """Square matrices with the entries of a vector at and below a diagonal, row by row.

    Raises:
        ValueError: no triangle has that many entries.
    """
    # A triangle of side m has m (m + 1) / 2 entries.
    side = (math.isqrt(8 * x.shape[-1] + 1) - 1) // 2
    if side * (side + 1) // 2 != x.shape[-1]:
        raise ValueError(f"{x.shape[-1]} entries do not fill a triangle")
    n = side - diagonal
    out = x.new_zeros((*x.shape[:-1], n, n))
    out[(..., *_lower(n, diagonal))] = x
    return out


def lower_to_vector(x: Tensor, diagonal: int = 0) -> Tensor:
    """The entries of square matrices at and below a diagonal, row by row."""
    return x[(..., *_lower(x.shape[-1], diagonal))]


class CorrCholeskyTransform(Transform):
    """Real vectors of d (d - 1) / 2 entries to Cholesky factors of correlation matrices.

    Canonical partial correlations tanh(x) break a stick of length one, row by row (Lewandowski,
    Kurowicka and Joe, 2009).
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        eps = cupola.finfo(x.dtype).eps
        partial = vector_to_lower(x.tanh().clamp(-1 + eps, 1 - eps), -1)
        left = (1 - partial**2).sqrt().cumprod(-1)
        ones = cupola.eye(partial.shape[-1], dtype=x.dtype, device=x.device)
        return (partial + ones) * pad(left[..., :-1], [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        left = pad(1 - (y * y).cumsum(-1)[..., :-1], [1, 0], value=1)
        partial = lower_to_vector(y, -1) / lower_to_vector(left, -1).sqrt()
        return (partial.log1p() - partial.neg().log1p()) / 2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        left = lower_to_vector(1 - (y * y).cumsum(-1), -2)
        of_tanh = -2 * (x + softplus(-2 * x) - math.log(2.0)).sum(-1)
        return left.log().sum(-1) / 2 + of_tanh

    def forward_shape(self, shape: Any) -> Any:
        _enough(shape, 1)
        n = (math.isqrt(8 * shape[-1] + 1) + 1) // 2
        if n * (n - 1) // 2 != shape[-1]:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Any) -> Any:
        _enough(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return (*shape[:-2], shape[-1] * (shape[-1] - 1) // 2)


class PositiveDefiniteTransform(_Plain):
    """Square matrices to positive-definite ones, through a Cholesky factor."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(cupola.linalg.cholesky(y))


class CumulativeDistributionTransform(Transform):
    """y = cdf(x) of a distribution, so that samples of it become uniform."""

    bijective = True
    codomain = constraints.unit_interval
    sign = 1

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return self.distribution.support

    def _call(self, x: Tensor) -> Tensor:
        return self.distribution.cdf(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.distribution.log_prob(x)


class _Parts(Transform):
    """Transforms of the parts of an array along a dimension."""

    def __init__(self, tseq: Any, dim: int, cache_size: int) -> None:
        super().__init__(cache_size)
        self.transforms, self.dim = list(tseq), dim
        if not all(isinstance(t, Transform) for t in self.transforms):
            raise TypeError("every part needs a Transform")
        self.bijective = all(t.bijective for t in self.transforms)

    def _take(self, x: Tensor) -> Any:
        raise NotImplementedError

    def _put(self, parts: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def _call(self, x: Tensor) -> Tensor:
        return self._put([t(v) for t, v in zip(self.transforms, self._take(x), strict=True)])

    def _inverse(self, y: Tensor) -> Tensor:
        return self._put([t.inv(v) for t, v in zip(self.transforms, self._take(y), strict=True)])


class CatTransform(_Parts):
    """Transforms of arrays that lie behind one another: the i-th of ``lengths[i]`` entries."""

    def __init__(self, tseq: Any, dim: int = 0, lengths: Any = None, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(f"{len(self.transforms)} transforms need as many lengths")

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """Entries of all parts together."""
        return sum(self.lengths)

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def _take(self, x: Tensor) -> Any:
        return x.split(self.lengths, self.dim)

    def _put(self, parts: list[Tensor]) -> Tensor:
        return cupola.cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found = []
        for t, a, b in zip(self.transforms, self._take(x), self._take(y), strict=True):
            own = t.log_abs_det_jacobian(a, b)
            found.append(_sum_rightmost(own, self.event_dim - t.event_dim))
        dim = self.dim - x.ndim if self.dim >= 0 else self.dim
        dim += self.event_dim
        return cupola.cat(found, dim) if dim < 0 else sum(found[1:], found[0])


class StackTransform(_Parts):
    """Transforms of the entries along a dimension, one for each."""

    def __init__(self, tseq: Any, dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(tseq, dim, cache_size)

    @property
    def domain(self) -> Any:  # type: ignore[override]
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:  # type: ignore[override]
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def _take(self, x: Tensor) -> Any:
        return x.unbind(self.dim)

    def _put(self, parts: list[Tensor]) -> Tensor:
        return cupola.stack(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(self.transforms, self._take(x), self._take(y), strict=True)
        return cupola.stack([t.log_abs_det_jacobian(a, b) for t, a, b in pairs], self.dim)
