"""The linear algebra extension."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupola
from cupola import dtypes
from cupola.array_api.arithmetic import pair
from cupola.array_api.array_object import standard
from cupola.array_api.linear_algebra import matmul, matrix_transpose, tensordot, vecdot
from cupola.array_api.statistical import Axis, over, shaped, summed_type
from cupola.tensor import Tensor


class EighResult(NamedTuple):
    """What ``eigh`` returns."""

    eigenvalues: Any
    eigenvectors: Any


class QRResult(NamedTuple):
    """What ``qr`` returns."""

    Q: Any
    R: Any


class SlogdetResult(NamedTuple):
    """What ``slogdet`` returns."""

    sign: Any
    logabsdet: Any


class SVDResult(NamedTuple):
    """What ``svd`` returns."""

    U: Any
    S: Any
    Vh: Any


@standard
def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """The triangular factor of positive definite matrices."""
    lower = cupola.linalg.cholesky(x)
    return lower.mH if upper else lower


@standard
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Cross products of vectors of three elements."""
    a, b = pair(x1, x2)
    if not -min(a.ndim, b.ndim) <= axis < min(a.ndim, b.ndim):
        raise ValueError(f"cross: axis {axis} is not an axis of both operands")
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ValueError(f"cross: vectors of {a.shape[axis]} and {b.shape[axis]} elements, not 3")
    a, b = cupola.broadcast_tensors(a, b)
    (a0, a1, a2), (b0, b1, b2) = a.unbind(axis), b.unbind(axis)
    parts = [a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0]
    return cupola.stack(parts, axis)


@standard
def det(x: Any, /) -> Any:
    """Determinants."""
    return cupola.linalg.det(x)


@standard
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The offset-th diagonal of each matrix."""
    limit = max(x.shape[-2:])
    offset = max(-limit, min(offset, limit))
    if offset >= x.shape[-1] or -offset >= x.shape[-2]:
        return x.new_zeros((*x.shape[:-2], 0))
    return cupola.diagonal(x, offset, -2, -1)


@standard
def eigh(x: Any, /) -> EighResult:
    """Eigenvalues and eigenvectors of Hermitian matrices."""
    return EighResult(*cupola.linalg.eigh(x))


@standard
def eigvalsh(x: Any, /) -> Any:
    """Eigenvalues of Hermitian matrices."""
    return cupola.linalg.eigvalsh(x)


@standard
def inv(x: Any, /) -> Any:
    """Inverses of matrices."""
    return cupola.linalg.inv(x)


@standard
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Norms of matrices: fro, nuc, or 1, 2, infinity and their negatives."""
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        s = cupola.linalg.svdvals(x)
        out = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
    elif ord in (1, -1, float("inf"), -float("inf")):
        sums = cupola.abs(x).sum(-2 if ord in (1, -1) else -1)
        out = sums.amax(-1) if ord > 0 else sums.amin(-1)
    else:
        raise ValueError(f"matrix_norm: no norm of order {ord!r}")
    return shaped(out, x, (-2, -1), keepdims)


@standard
def matrix_power(x: Any, n: int, /) -> Any:
    """Matrices to an integer power."""
    return cupola.linalg.matrix_power(x, n)


@standard
def matrix_rank(x: Any, /, *, rtol: Any = None) -> Any:
    """Numbers of singular values above rtol times the largest."""
    if x.ndim < 2:
        raise ValueError(f"matrix_rank: an array of {x.ndim} dimensions")
    s = cupola.linalg.svdvals(x)
    if s.shape[-1] == 0:
        return cupola.zeros(x.shape[:-2], dtype=dtypes.int64, device=x.device)
    return cupola.sum(s > s.amax(-1, keepdim=True) * _tolerance(x, rtol), -1)


def _tolerance(x: Any, rtol: Any) -> Any:
    if rtol is None:
        return max(x.shape[-2:]) * cupola.finfo(x.dtype).eps
    return rtol.unsqueeze(-1) if isinstance(rtol, Tensor) else rtol


@standard
def outer(x1: Any, x2: Any, /) -> Any:
    """Products of each element of one vector with each of another."""
    a, b = pair(x1, x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: arrays of {a.ndim} and {b.ndim} dimensions, not 1")
    return a.unsqueeze(1) * b


@standard
def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """Moore-Penrose inverses; singular values up to rtol times the largest count as 0."""
    if 0 in x.shape[-2:]:
        return x.new_zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]))
    u, s, vh = cupola.linalg.svd(x, full_matrices=False)
    large = s > s.amax(-1, keepdim=True) * _tolerance(x, rtol)
    inverse = cupola.where(large, 1 / s, cupola.zeros_like(s))
    return vh.mH @ (inverse.unsqueeze(-1).to(x.dtype) * u.mH)


@standard
def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """Orthogonal and triangular factors."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: mode is {mode!r}, not 'reduced' or 'complete'")
    return QRResult(*cupola.linalg.qr(x, mode))


@standard
def slogdet(x: Any, /) -> SlogdetResult:
    """Signs and logarithms of the magnitudes of determinants."""
    return SlogdetResult(*cupola.linalg.slogdet(x))


@standard
def solve(x1: Any, x2: Any, /) -> Any:
    """The x with x1 @ x = x2; only an x2 of one dimension is a vector."""
    a, b = pair(x1, x2)
    if b.ndim == 1:
        return cupola.linalg.solve(a, b.unsqueeze(-1).expand(*a.shape[:-2], -1, 1)).squeeze(-1)
    # Stacks are expanded here, so that none is taken for a stack of vectors.
    stack = cupola.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = a.expand(*stack, *a.shape[-2:]), b.expand(*stack, *b.shape[-2:])
    return cupola.linalg.solve(a, b)


@standard
def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """Singular value decompositions."""
    return SVDResult(*cupola.linalg.svd(x, full_matrices=full_matrices))


@standard
def svdvals(x: Any, /) -> Any:
    """Singular values, the largest first."""
    return cupola.linalg.svdvals(x)


@standard
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Sums of diagonals; integers are added in 64 bits."""
    found = summed_type(x, dtype)
    return cupola.sum(diagonal(x, offset=offset).to(found), -1, dtype=found)


@standard
def vector_norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Norms of vectors, over one axis, several, or all."""
    a, axes = over(x, axis)
    size = cupola.abs(a)
    if ord == float("inf"):
        out = cupola.amax(size, axes)
    elif ord == -float("inf"):
        out = cupola.amin(size, axes)
    elif ord == 0:
        out = cupola.sum(size != 0, axes).to(size.dtype)
    elif ord == 1:
        out = cupola.sum(size, axes)
    else:
        out = cupola.linalg.vector_norm(size, ord, axes)
    return shaped(out, x, axis, keepdims)


__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm",
    "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve",
    "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip
