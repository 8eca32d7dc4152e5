"""Linear algebra (torch.linalg)."""

from __future__ import annotations

from typing import Any

from cupola.errors import LinAlgError
from cupola.functional._register import settled, with_out
from cupola.functional.autocast import listed
from cupola.functional.decomposition import (
    cholesky,
    cholesky_ex,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    inv,
    inv_ex,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    matrix_exp,
    matrix_power,
    qr,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    svd,
    svdvals,
)
from cupola.functional.least_squares import lstsq, matrix_rank, pinv
from cupola.functional.linalg import cross as _cross
from cupola.functional.linalg import matmul
from cupola.functional.packed import householder_product, ldl_factor, ldl_factor_ex, ldl_solve
from cupola.functional.rearrange import diagonal as _diagonal
from cupola.functional.reduction import vector_norm as _vector_norm
from cupola.tensor import Tensor, protocol


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Cross product of 3-vectors (torch.linalg.cross).

    Raises:
        RuntimeError: the numbers of dimensions differ, or a vector has another length than 3.
    """
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and "
            f"{other.shape[dim]}"
        )
    return _cross(input, other, dim)


@listed
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Dot products along a dimension, the first operand conjugated (torch.linalg.vecdot)."""
    return settled(x.conj().mul(y)).sum(dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Diagonals of matrices (torch.linalg.diagonal)."""
    return _diagonal(A, offset, dim1, dim2)


@listed
def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """p-norms over dimensions (torch.linalg.vector_norm)."""
    return _vector_norm(x if dtype is None else x.to(dtype), ord, dim, keepdim)


@listed
def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Norms of matrices: fro, nuc, inf, -inf, 1, -1, 2, -2 (torch.linalg.matrix_norm)."""
    x = A if dtype is None else A.to(dtype)
    rows, columns = (d % x.ndim for d in dim)
    if ord == "fro":
        return _vector_norm(x, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        s = svdvals(x.movedim((rows, columns), (-2, -1)))
        out = s.sum(-1) if ord == "nuc" else _largest(s, -1) if ord == 2 else s.amin(-1)
        return _reinsert(out, rows, columns) if keepdim else out
    if ord not in (1, -1, float("inf"), float("-inf")):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    over, then = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = x.abs().sum(over, keepdim=True)
    out = _largest(sums, then, True) if ord > 0 else sums.amin(then, keepdim=True)
    return out if keepdim else out.squeeze((rows, columns))


def _largest(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """The largest along a dimension; 0 where it is empty."""
    return x.amax(dim, keepdim) if x.shape[dim] else x.sum(dim, keepdim)


def _reinsert(x: Tensor, a: int, b: int) -> Tensor:
    for d in sorted((a, b)):
        x = x.unsqueeze(d)
    return x


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Vector or matrix norms, by ``ord`` and ``dim`` (torch.linalg.norm)."""
    two = isinstance(dim, (tuple, list)) and len(dim) == 2
    if ord is not None and (two or (dim is None and A.ndim == 2)):
        return matrix_norm(
            A, ord, tuple(dim) if dim is not None else (-2, -1), keepdim, dtype=dtype
        )
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


@listed
def cond(A: Tensor, p: Any = None) -> Tensor:
    """Condition numbers (torch.linalg.cond)."""
    if p in (None, 2):
        s = svdvals(A)
        return s[..., 0] / s[..., -1]
    if p == -2:
        s = svdvals(A)
        return s[..., -1] / s[..., 0]
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


@listed
def multi_dot(tensors: Any) -> Tensor:
    """Product of several matrices in the cheapest order (torch.linalg.multi_dot)."""
    xs = list(tensors)
    if len(xs) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(xs)}")
    first, last = xs[0].ndim == 1, xs[-1].ndim == 1
    if first:
        xs[0] = xs[0].unsqueeze(0)
    if last:
        xs[-1] = xs[-1].unsqueeze(1)
    sizes = [x.shape[0] for x in xs] + [xs[-1].shape[1]]
    out = _product(xs, 0, len(xs) - 1, _cheapest(sizes))
    if first:
        out = out.squeeze(0)
    return out.squeeze(-1) if last else out


def _cheapest(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split each run of matrices (the textbook dynamic program)."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    split = {}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return split


def _product(xs: list[Tensor], i: int, j: int, split: dict[tuple[int, int], int]) -> Tensor:
    if i == j:
        return xs[i]
    k = split[i, j]
    return matmul(_product(xs, i, k, split), _product(xs, k + 1, j, split))


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Vandermonde matrices, rising powers (torch.linalg.vander)."""
    from cupola.functional.creation import arange

    x = x if x.ndim else x.unsqueeze(0)
    return x.unsqueeze(-1) ** arange(x.shape[-1] if N is None else N, device=x.device)


@listed
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """Inverse with respect to tensordot (torch.linalg.tensorinv)."""
    lead, rest = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    n = 1
    for s in lead:
        n *= s
    return inv(A.reshape(n, -1)).reshape(*rest, *lead)


@listed
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B (torch.linalg.tensorsolve)."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    rest = tuple(A.shape[B.ndim :])
    return solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(rest)


_OUT = (
    "cholesky",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "ldl_factor",
    "ldl_solve",
    "lu_factor",
    "lu_solve",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vector_norm",
    "cross",
    "vecdot",
    "matmul",
    "cholesky_ex",
    "cond",
    "inv_ex",
    "lstsq",
    "lu",
    "lu_factor_ex",
    "matrix_rank",
    "solve_ex",
    "tensorinv",
    "tensorsolve",
)
for _name in _OUT:
    globals()[_name] = with_out(globals()[_name])
ldl_factor_ex = with_out(ldl_factor_ex, exact=True)

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "ldl_factor",
    "ldl_factor_ex",
    "ldl_solve",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]

protocol.publish("linalg", {name: globals()[name] for name in __all__})
