"""Factorizations, solvers and what follows from them (torch.linalg and its older names in
torch).
"""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes
from cupola.functional._convert import broadcast_shapes, expand_node, one_dtype
from cupola.functional._register import operator
from cupola.functional._results import results
from cupola.functional.linalg import matmul
from cupola.ir import source
from cupola.ir.node import Node
from cupola.ops import elementwise as ew
from cupola.ops import linalg as la
from cupola.ops import movement as mv
from cupola.ops.determinant import determinant, determinant_log, determinant_sign
from cupola.ops.matrix_exp import matrix_exp as matrix_exponential
from cupola.tensor import Tensor, wrap

SVD = results("SVD", "U S Vh", "linalg_svd")
QR = results("QR", "Q R", "linalg_qr")
Eig = results("Eig", "eigenvalues eigenvectors", "linalg_eig")
Eigh = results("Eigh", "eigenvalues eigenvectors", "linalg_eigh")
SlogDet = results("SlogDet", "sign logabsdet", "linalg_slogdet")
LU = results("LU", "P L U", "linalg_lu")
LUFactor = results("LUFactor", "LU pivots", "linalg_lu_factor")
LUFactorEx = results("LUFactorEx", "LU pivots info", "linalg_lu_factor_ex")
CholeskyEx = results("CholeskyEx", "L info", "linalg_cholesky_ex")
InverseEx = results("InverseEx", "inverse info", "linalg_inv_ex")
SolveEx = results("SolveEx", "result info", "linalg_solve_ex")


def matrix_node(x: Tensor, name: str) -> Node:
    """The node of a floating-point matrix or stack of them.

    Raises:
        RuntimeError: fewer than two dimensions, or a dtype that factorizations do not take.
    """
    if x.ndim < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    if x.dtype.category < 2 or x.dtype.itemsize < 4:
        raise RuntimeError(
            f"linalg.{name}: Expected a floating point or complex tensor as input. Got {x.dtype}"
        )
    return x.node


def real_part(x: Node) -> Node:
    """The real part of a node that may be complex."""
    return ew.real(x) if x.dtype.is_complex else x


def flat_row(x: Node) -> Tensor:
    """A (..., 1, n) result without the dimension of size 1."""
    return wrap(mv.reshape(x, shape=(*x.shape[:-2], x.shape[-1])))


def _no_info(x: Tensor) -> Tensor:
    from cupola.functional.creation import constant

    return constant(0, tuple(x.shape[:-2]), dtypes.int32, x.device)


def _singular(A: Tensor) -> tuple[Tensor, Tensor]:
    """(the number of the first pivot that is zero, counted from 1, or 0; the matrices, with the
    identity in the place of singular ones, whose inverses nobody promises).
    """
    from cupola.functional.creation import eye

    if not A.numel():
        return _no_info(A), A
    pivots = wrap(la.lu(matrix_node(A.detach(), "inv_ex"))).diagonal(dim1=-2, dim2=-1)
    zero = pivots == 0
    bad = zero.any(-1)
    info = (zero.to(dtypes.int32).argmax(-1) + 1).masked_fill(bad.logical_not(), 0)
    one = eye(A.shape[-1], dtype=A.dtype, device=A.device)
    return info.to(dtypes.int32), one.where(bad[..., None, None], A)


def _stacks(a: Node, b: Node) -> tuple[Node, Node]:
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return expand_node(a, lead + a.shape[-2:]), expand_node(b, lead + b.shape[-2:])


def inv(A: Tensor) -> Tensor:
    """Inverse of square matrices (torch.linalg.inv).

    Raises:
        RuntimeError: a matrix is singular or not square.
    """
    return wrap(la.inverse(matrix_node(A, "inv")))


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B with ``left=False``; B may be a stack of vectors
    (torch.linalg.solve).
    """
    a = matrix_node(A, "solve")
    one_dtype("linalg.solve", A, B)
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    b = mv.reshape(B.node, shape=(*B._n.shape, 1)) if vector else B.node
    if not left:
        x = solve(A.mT, wrap(b).mT)
        return x.mT
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            "linalg.solve: Incompatible shapes of A and B for the equation AX = B "
            f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
        )
    a, b = _stacks(a, b)
    x = wrap(la.solve(a, b))
    return x.squeeze(-1) if vector else x


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B for a triangular A; the other triangle is not read
    (torch.linalg.solve_triangular).
    """
    if A._n.shape[-1:] != A._n.shape[-2:-1]:
        raise RuntimeError(
            "linalg.solve_triangular: A must be batches of square matrices, but they are "
            f"{A.shape[-2] if A.ndim > 1 else 1} by {A.shape[-1] if A.ndim else 1} matrices"
        )
    if not left:
        return solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    a, b = _stacks(matrix_node(A, "solve_triangular"), B.node)
    return wrap(la.solve_triangular(a, b, upper=upper, unit=unitriangular))


def det(A: Tensor) -> Tensor:
    """Determinants (torch.linalg.det)."""
    out = determinant(matrix_node(A, "det"))
    return wrap(mv.reshape(out, shape=out.shape[:-2]))


def slogdet(A: Tensor) -> Any:
    """Signs and logarithms of absolute determinants (torch.linalg.slogdet)."""
    a = matrix_node(A, "slogdet")
    sign, log = determinant_sign(a), determinant_log(a)
    return SlogDet(*(wrap(mv.reshape(x, shape=x.shape[:-2])) for x in (sign, log)))


@operator
def logdet(input: Tensor) -> Tensor:
    """Logarithms of determinants; NaN where one is negative (torch.logdet)."""
    sign, log = slogdet(input)
    return log + sign.log() if input.dtype.is_complex else log.masked_fill(sign < 0, math.nan)


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L L^H for a positive-definite A, or its adjoint (torch.linalg.cholesky).

    Raises:
        LinAlgError: A is not positive-definite.
    """
    out = wrap(la.cholesky(matrix_node(A, "cholesky"), check=True))
    return out.mH if upper else out


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """As cholesky, with a code for each matrix: 0 where it worked (torch.linalg.cholesky_ex)."""
    out = wrap(la.cholesky(matrix_node(A, "cholesky_ex"), check=check_errors))
    failed = out.detach().isnan().flatten(-2).any(-1)
    return CholeskyEx(out.mH if upper else out, failed.to(dtypes.int32))


def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """As inv, with a code for each matrix (torch.linalg.inv_ex)."""
    if check_errors:
        return InverseEx(inv(A), _no_info(A))
    info, safe = _singular(A)
    return InverseEx(inv(safe), info)


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """As solve, with a code for each matrix (torch.linalg.solve_ex)."""
    if check_errors:
        return SolveEx(solve(A, B, left=left), _no_info(A))
    info, safe = _singular(A)
    return SolveEx(solve(safe, B, left=left), info)


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """Packed L and U, and the pivots, counted from 1 (torch.linalg.lu_factor)."""
    a = matrix_node(A, "lu_factor")
    return LUFactor(wrap(la.lu(a)), wrap(la.lu_pivots(a)))


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """As lu_factor, with a code for each matrix (torch.linalg.lu_factor_ex)."""
    return LUFactorEx(*lu_factor(A, pivot=pivot), _no_info(A))


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """P, L and U of a packed factorization (torch.lu_unpack)."""
    node = LU_data.node
    size = node.shape[-2]
    empty = wrap(mv.like_shape(node, (0,)))
    p = lower = upper = empty
    if unpack_pivots:
        order = la.lu_permutation(LU_pivots.node, size=size)
        p = wrap(la.permutation_matrix(order, node))
    if unpack_data:
        lower, upper = wrap(la.unit_lower(node)), wrap(la.upper_part(node))
    return LU(p, lower, upper)


operator(lu_unpack, method=False, out=True, exact=True)


def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """P, L and U with A = P L U (torch.linalg.lu)."""
    return lu_unpack(*lu_factor(A))


def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A X = B from the factorization of A (torch.linalg.lu_solve)."""
    p, lower, upper = lu_unpack(LU, pivots)
    if not left:
        return lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    if adjoint:
        y = solve_triangular(upper.mH, B, upper=False)
        return matmul(p, solve_triangular(lower.mH, y, upper=True, unitriangular=True))
    y = solve_triangular(lower, matmul(p.mT, B), upper=False, unitriangular=True)
    return solve_triangular(upper, y, upper=True)


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Orthonormal Q and triangular R with A = Q R (torch.linalg.qr); mode: reduced, complete or
    r.
    """
    a = matrix_node(A, "qr")
    m, n = a.shape[-2:]
    if mode == "complete" and m > n:
        # Columns that complete the basis: Q of [A, I] spans everything, and starts with Q of A.
        eye = la.identity(a, m)
        whole = la.qr(mv.cat(a, eye, dim=a.ndim - 1))
        q = la.rows(whole, 0, m)
        r = la.columns(la.adjoint(la.rows(whole, m, m + m + n)), 0, n)
        return QR(wrap(q), wrap(r))
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), "
            f"'r', or 'complete'"
        )
    both = la.qr(a)
    r = wrap(la.adjoint(la.rows(both, m, m + n)))
    return QR(wrap(mv.like_shape(a, (0,))) if mode == "r" else wrap(la.rows(both, 0, m)), r)


def _upper(uplo: str) -> bool:
    """Which triangle is read.

    Raises:
        RuntimeError: neither L nor U was asked for.
    """
    if uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return uplo.upper() == "U"


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues, ascending, and eigenvectors of Hermitian matrices (torch.linalg.eigh)."""
    a = matrix_node(A, "eigh")
    n = a.shape[-1]
    both = la.eigh(a, upper=_upper(UPLO))
    return Eigh(flat_row(real_part(la.rows(both, n, n + 1))), wrap(la.rows(both, 0, n)))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of Hermitian matrices, ascending (torch.linalg.eigvalsh)."""
    return flat_row(la.eigvalsh(matrix_node(A, "eigvalsh"), upper=_upper(UPLO)))


def eig(A: Tensor) -> Any:
    """Complex eigenvalues and eigenvectors of square matrices (torch.linalg.eig)."""
    a = matrix_node(A, "eig")
    n = a.shape[-1]
    both = la.eig(a)
    return Eig(flat_row(la.rows(both, n, n + 1)), wrap(la.rows(both, 0, n)))


def eigvals(A: Tensor) -> Tensor:
    """Complex eigenvalues of square matrices (torch.linalg.eigvals)."""
    return eig(A)[0]


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """Singular value decomposition A = U S Vh (torch.linalg.svd)."""
    a = matrix_node(A, "svd")
    if driver is not None and A.device.type != "cuda":
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with "
            "cuSOLVER backend."
        )
    m, n = a.shape[-2:]
    both = la.svd(a)
    u, v = wrap(la.rows(both, 0, m)), wrap(la.rows(both, m, m + n))
    s = flat_row(real_part(la.rows(both, m + n, m + n + 1)))
    if full_matrices and m != n:
        if m > n:
            u = _completed(u)
        else:
            v = _completed(v)
    return SVD(u, s, v.mH)


def _completed(q: Tensor) -> Tensor:
    """Orthonormal columns, and after them columns that complete the basis; gradients flow to the
    given ones.
    """
    from cupola.functional.joining import cat

    k = q.shape[-1]
    rest = qr(q.detach(), "complete")[0][..., k:]
    return cat([q, rest], -1)


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, descending (torch.linalg.svdvals)."""
    return flat_row(la.svdvals(matrix_node(A, "svdvals")))


def nuclear_norm(A: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Sums of singular values (torch.nuclear_norm).

    Raises:
        RuntimeError: no two dimensions to reduce over.
    """
    if dim is None and A.ndim != 2:
        raise RuntimeError(f"nuclear_norm: Expected a tensor with 2 dimensions, got {A.ndim}")
    dims = (0, 1) if dim is None else tuple(dim)
    if len(dims) != 2:
        raise RuntimeError("nuclear norm requires a 'dim' argument of size 2")
    first, second = (d % A.ndim for d in dims)
    out = svdvals(A.movedim((first, second), (-2, -1))).sum(-1)
    if keepdim:
        for d in sorted((first, second)):
            out = out.unsqueeze(d)
    return out


operator(nuclear_norm, method=False, out=True)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """Integer powers of square matrices (torch.linalg.matrix_power)."""
    if n < 0:
        return matrix_power(inv(A), -n)
    out = None
    square = A
    while n:
        if n & 1:
            out = square if out is None else matmul(out, square)
        n >>= 1
        if n:
            square = matmul(square, square)
    if out is not None:
        return out
    # The power 0 is on the tape, with a gradient of zero.
    always = source.const(True, A._n.shape, dtypes.bool, A.device)
    return wrap(ew.where(always, la.identity(A.node, A._n.shape[-1]), A.node))


def matrix_exp(A: Tensor) -> Tensor:
    """Matrix exponentials (torch.linalg.matrix_exp); of half types by way of float32."""
    if A.dtype in (dtypes.float16, dtypes.bfloat16):
        return matrix_exp(A.float()).to(A.dtype)
    return wrap(matrix_exponential(matrix_node(A, "matrix_exp")))


@operator(out=True)
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = input, from A's Cholesky factor (torch.cholesky_solve)."""
    factor, b = _stacks(matrix_node(L, "cholesky_solve"), input.node)
    return wrap(la.cholesky_solve(factor, b, upper=upper))


@operator(out=True)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, from A's Cholesky factor (torch.cholesky_inverse)."""
    return cholesky_solve(wrap(la.identity(L.node, L._n.shape[-1])), L, upper)


Triangular = results("Triangular", "solution cloned_coefficient", "triangular_solve")


@operator(name="triangular_solve", out=True)
def old_triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """X with A X = b (torch.triangular_solve)."""
    a = A.mT if transpose else A
    x = solve_triangular(a, b, upper=upper != transpose, unitriangular=unitriangular)
    return Triangular(x, A.clone())


OldSVD = results("OldSVD", "U S V", "svd")


@operator(name="svd", out=True)
def old_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """Singular value decomposition with V, not its adjoint (torch.svd)."""
    u, s, vh = svd(input, not some)
    return OldSVD(u, s, vh.mH)


OldQR = results("OldQR", "Q R", "qr")


@operator(name="qr", out=True)
def old_qr(input: Tensor, some: bool = True) -> Any:
    """Q and R (torch.qr)."""
    return OldQR(*qr(input, "reduced" if some else "complete"))


@operator(name="cholesky", out=True)
def old_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Cholesky factor (torch.cholesky)."""
    return cholesky(input, upper=upper)


@operator(name="lu_solve", out=True)
def old_lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A X = b from A's factorization (torch.lu_solve)."""
    return lu_solve(LU_data, LU_pivots, b)


@operator(name="lu")
def old_lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """Packed factors and pivots; ``out`` may have any dtype (torch.lu)."""
    made = (*lu_factor(A), _no_info(A)) if get_infos else tuple(lu_factor(A))
    for result, target in zip(made, out or (), strict=bool(out)):
        target.resize_(result.shape).copy_(result)
    return out or made


for _f, _aliases in ((det, ()), (slogdet, ()), (matrix_power, ()), (matrix_exp, ())):
    operator(_f, aliases=_aliases)
operator(inv, name="inverse", out=True)
