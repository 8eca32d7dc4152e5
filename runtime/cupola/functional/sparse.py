"""Sparse tensors are kept dense: what programs ask of them is answered from the dense values."""

from __future__ import annotations

from typing import Any

from cupola.functional._register import operator
from cupola.tensor import Tensor


@operator(public=False)
def to_sparse(self: Tensor, sparse_dim: Any = None, **options: Any) -> Tensor:
    """A copy of the values; it stays dense (Tensor.to_sparse)."""
    return self.clone()


@operator(public=False)
def coalesce(self: Tensor) -> Tensor:
    """The tensor itself: a dense tensor has no duplicate positions (Tensor.coalesce)."""
    return self


@operator(public=False)
def indices(self: Tensor) -> Tensor:
    """Positions of the nonzero values, (dimensions, count) (Tensor.indices)."""
    return self.nonzero().t()


@operator(public=False)
def values(self: Tensor) -> Tensor:
    """The nonzero values in row-major order (Tensor.values)."""
    return self[self != 0]
