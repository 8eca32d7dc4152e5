"""Factorizations as LAPACK packs them: Householder reflections and L D L^H."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.functional._convert import broadcast_shapes, expand_node
from cupola.functional._register import operator
from cupola.functional._results import results
from cupola.functional.decomposition import matrix_node
from cupola.functional.linalg import matmul
from cupola.ir.mode import mode
from cupola.ops import elementwise as ew
from cupola.ops import linalg as la
from cupola.ops import packed
from cupola.tensor import Tensor, wrap
from cupola.tensor.history import lost

Geqrf = results("Geqrf", "a tau", "geqrf")
LDLFactor = results("LDLFactor", "LD pivots", "linalg_ldl_factor")
LDLFactorEx = results("LDLFactorEx", "LD pivots info", "linalg_ldl_factor_ex")


@operator(out=True)
def geqrf(input: Tensor) -> Any:
    """R and the reflections of a QR factorization, packed, and their factors (torch.geqrf)."""
    a = matrix_node(input, "geqrf")
    m, n = a.shape[-2:]
    both = wrap(packed.reflections(a))
    return Geqrf(both[..., :m, :], both[..., m, : min(m, n)])


def _vectors(A: Tensor) -> Tensor:
    """The vectors of the reflections, one a column: below the diagonal, with ones on it."""
    return wrap(la.unit_lower(A.node))


def _reflect(v: Tensor, tau: Tensor, x: Tensor, left: bool) -> Tensor:
    """(I - tau v v^H) x, or x times that, for v (..., m, 1) and tau (..., 1, 1)."""
    if left:
        return x - tau * matmul(v, matmul(v.mH, x))
    return x - tau * matmul(matmul(x, v), v.mH)


def _check_reflections(A: Tensor, tau: Tensor, name: str) -> None:
    matrix_node(A, name)
    if tau.ndim != A.ndim - 1 or tau._n.shape[:-1] != A._n.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to {list(A.shape[:-2])}, but "
            f"got {list(tau.shape[:-1])}"
        )
    if A.dtype is not tau.dtype:
        raise RuntimeError(
            f"{name}: tau dtype {tau.dtype} does not match input dtype {A.dtype}: convert one"
        )


@operator(name="orgqr", out=True)
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of reflections that A and tau pack
    (torch.linalg.householder_product).

    Raises:
        RuntimeError: A is wider than tall, or tau does not fit.
    """
    _check_reflections(A, tau, "linalg.householder_product")
    m, n = A.shape[-2:]
    if m < n:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to "
            "input.shape[-1]"
        )
    if tau.shape[-1] > n:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-1] must be greater than or equal to "
            "tau.shape[-1]"
        )
    v = _vectors(A)
    out = wrap(la.columns(la.identity(A.node, m), 0, n))
    for k in reversed(range(tau.shape[-1])):
        out = _reflect(v[..., k : k + 1], tau[..., k : k + 1, None], out, True)
    on_tape = mode.grad and (A.requires_grad or tau.requires_grad)
    return wrap(lost(out.node)) if on_tape and not tau.shape[-1] else out


@operator(out=True)
def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Q other, or other Q, for the Q that input and tau pack; Q^H with ``transpose``
    (torch.ormqr).

    Raises:
        RuntimeError: the sizes do not fit.
    """
    _check_reflections(input, tau, "torch.ormqr")
    if other.ndim != input.ndim or other._n.shape[:-2] != input._n.shape[:-2]:
        raise RuntimeError(
            f"torch.ormqr: Expected batch dimensions of other to be equal to "
            f"{list(input.shape[:-2])}, but got {list(other.shape[:-2])}"
        )
    side = -2 if left else -1
    if tau.shape[-1] > input.shape[-1] or other.shape[side] < tau.shape[-1]:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{side}] must be greater than or equal to tau.shape[-1]"
        )
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be equal to input.shape[-2]")
    if not other.numel():  # as in PyTorch, nothing reaches the reflections then
        input, tau = input.detach(), tau.detach()
    v = _vectors(input)
    order = range(tau.shape[-1])
    for k in order if left == transpose else reversed(order):
        factor = tau[..., k : k + 1, None]
        factor = factor.conj() if transpose else factor
        other = _reflect(v[..., k : k + 1], factor, other, left)
    return other


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """As ldl_factor, with a code for each matrix (torch.linalg.ldl_factor_ex)."""
    a = matrix_node(A, "ldl_factor_ex")
    la.square_matrix("ldl_factor_ex")(a)
    n = a.shape[-1]
    both = packed.ldl(a, hermitian=hermitian)
    last = la.rows(both, n, n + 1)
    pivots = ew.cast(ew.real(last) if last.dtype.is_complex else last, dtype=dtypes.int32)
    info = A.new_zeros(tuple(a.shape[:-2]), dtype=dtypes.int32)
    return LDLFactorEx(wrap(la.rows(both, 0, n)), wrap(pivots).squeeze(-2), info)


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """L and the blocks of D of a symmetric or Hermitian matrix, packed, and the pivots as LAPACK
    counts them (torch.linalg.ldl_factor).
    """
    return LDLFactor(*ldl_factor_ex(A, hermitian=hermitian)[:2])


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B from the factorization of A (torch.linalg.ldl_solve).

    Raises:
        RuntimeError: B has fewer than two dimensions, or other sizes.
    """
    a = matrix_node(LD, "ldl_solve")
    if B.ndim < 2 or B.shape[-2] != a.shape[-1]:
        raise RuntimeError(
            "torch.linalg.ldl_solve: Expected B to have at least 2 dimensions and as many rows as "
            f"LD, but it has shape {list(B.shape)}"
        )
    lead = broadcast_shapes(a.shape[:-2], B._n.shape[:-2])
    nodes = (
        expand_node(a, (*lead, *a.shape[-2:])),
        expand_node(pivots.node, (*lead, a.shape[-1])),
        expand_node(B.node, (*lead, *B._n.shape[-2:])),
    )
    return wrap(packed.ldl_solve(*nodes, hermitian=hermitian))
