"""Low-rank decompositions of matrices by random projection.

Halko, Martinsson and Tropp (2009), "Finding structure with randomness: probabilistic algorithms for
constructing approximate matrix decompositions", algorithms 4.4 and 5.1, as PyTorch draws them.
"""

from __future__ import annotations

from typing import Any

from cupola.functional._register import operator
from cupola.functional.decomposition import qr, svd
from cupola.functional.linalg import matmul
from cupola.functional.sampling import randn
from cupola.tensor import Tensor


def _basis(A: Tensor, q: int, niter: int) -> Tensor:
    """Orthonormal columns whose span nearly holds A's columns."""
    found = qr(matmul(A, randn(A.shape[-1], q, dtype=A.dtype, device=A.device)))[0]
    for _ in range(niter):
        found = qr(matmul(A.mH, found))[0]
        found = qr(matmul(A, found))[0]
    return found


@operator(method=False)
def svd_lowrank(A: Tensor, q: int = 6, niter: int = 2, M: Tensor | None = None) -> Any:
    """The q largest singular triplets of A - M, approximately (torch.svd_lowrank)."""
    A = A if M is None else A - M.broadcast_to(A.shape)
    wide = A.shape[-2] < A.shape[-1]
    A = A.mH if wide else A
    basis = _basis(A, q, niter)
    u, s, vh = svd(matmul(basis.mH, A), False)
    u, v = matmul(basis, u), vh.mH
    return (v, s, u) if wide else (u, s, v)


@operator(method=False)
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """The q main directions of rows, approximately (torch.pca_lowrank).

    Raises:
        ValueError: q or niter is out of range.
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
