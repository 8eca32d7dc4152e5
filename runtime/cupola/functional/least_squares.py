"""What depends on a numerical rank: pseudo-inverses, ranks, least squares (torch.linalg)."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.functional._convert import broadcast_shapes, expand_node
from cupola.functional._register import operator
from cupola.functional._results import results
from cupola.functional.decomposition import eigvalsh, matrix_node, svdvals
from cupola.functional.linalg import matmul
from cupola.functional.selection import where
from cupola.ir.node import Node
from cupola.ops import movement as mv
from cupola.ops.linalg import square_matrix
from cupola.ops.packed import pinv as pseudo_inverse
from cupola.tensor import Tensor, wrap

LstSq = results("LstSq", "solution residuals rank singular_values", "linalg_lstsq")


def _epsilon(dtype: Any) -> float:
    return 2.0**-52 if dtype.to_real().itemsize == 8 else 2.0**-23


def _bounds(A: Tensor, atol: Any, rtol: Any) -> tuple[Tensor, Tensor]:
    """Absolute and relative tolerances as tensors; the relative one is by default the rounding of
    the dtype times the larger size, or 0 where an absolute one is given.

    Raises:
        RuntimeError: a tolerance is complex.
    """
    for given, name in ((atol, "atol"), (rtol, "rtol")):
        if isinstance(given, Tensor) and given.dtype.is_complex:
            raise RuntimeError(
                f"linalg: {name} tensor of complex type is not supported. Got {given.dtype}"
            )
    kind = A.dtype.to_real()

    def tensor(x: Any) -> Tensor:
        return x.to(kind) if isinstance(x, Tensor) else A.new_full((), x, dtype=kind)

    low = tensor(0.0 if atol is None else atol)
    if rtol is not None:
        return low, tensor(rtol)
    default = tensor(_epsilon(A.dtype) * max(A.shape[-2:]))
    return low, default if atol is None else where(low > 0, 0.0, default)


def _column(x: Tensor, lead: tuple[int, ...]) -> Node:
    """One number a matrix, as (..., 1)."""
    return mv.reshape(expand_node(x.detach().node, lead), shape=(*lead, 1))


def _largest(values: Tensor) -> Tensor:
    """Over the last dimension, 0 where it is empty."""
    return values.amax(-1, True) if values.shape[-1] else values.sum(-1, True)


def pinv(
    A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False, rcond: Any = None
) -> Tensor:
    """Moore-Penrose inverse; singular values up to max(atol, rtol times the largest) count as 0
    (torch.linalg.pinv).
    """
    a = matrix_node(A, "pinv")
    if A.numel() == 0:
        return A.mT.clone()
    low, share = _bounds(A, atol, rtol if rcond is None else rcond)
    lead = broadcast_shapes(a.shape[:-2], low.shape, share.shape)
    if hermitian:
        square_matrix("pinv")(a)
    wide = expand_node(a, (*lead, *a.shape[-2:]))
    bounds = (_column(low, lead), _column(share, lead))
    return wrap(pseudo_inverse(wide, *bounds, hermitian=hermitian))


def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values exceed max(atol, rtol times the largest)
    (torch.linalg.matrix_rank).
    """
    matrix_node(A, "matrix_rank")
    if tol is not None:
        atol, rtol = tol, 0.0
    low, share = _bounds(A, atol, rtol)
    lead = broadcast_shapes(A._n.shape[:-2], low.shape, share.shape)
    if A.numel() == 0:
        return A.new_zeros(lead, dtype=dtypes.int64)
    s = eigvalsh(A).abs() if hermitian else svdvals(A)
    bound = low.unsqueeze(-1).maximum(share.unsqueeze(-1) * _largest(s))
    return (s > bound).sum(-1)


def _rank(A: Tensor, rcond: Any) -> Tensor:
    """The rank of each matrix of least squares, by a relative tolerance."""
    return matrix_rank(A.detach(), rtol=rcond) if rcond is not None else matrix_rank(A.detach())


def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> Any:
    """Least-squares solutions of A X = B, of minimal norm (torch.linalg.lstsq).

    Residuals are given for tall matrices of full rank, unless the driver is gelsy (the default);
    ranks by all drivers but gels; singular values by gelsd and gelss.

    Raises:
        RuntimeError: an unknown driver, or operands that do not fit.
    """
    driver = driver or "gelsy"
    if driver not in ("gels", "gelsd", "gelss", "gelsy"):
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of "
            f"(gels, gelsy, gelsd, gelss), got {driver}"
        )
    matrix_node(A, "lstsq")
    if B.ndim < 1 or A.ndim - B.ndim not in (0, 1):
        raise RuntimeError(
            "torch.linalg.lstsq: input.dim() must be greater or equal to other.dim() and "
            "(input.dim() - other.dim()) <= 1"
        )
    vector = B.ndim == A.ndim - 1
    b = B.unsqueeze(-1) if vector else B
    if A.shape[-2] != b.shape[-2]:
        raise RuntimeError(
            f"torch.linalg.lstsq: input.size(-2) should match other.size({-1 if vector else -2})"
        )
    if A.dtype is not B.dtype:
        raise RuntimeError(
            "torch.linalg.lstsq: Expected input and other to have the same dtype, but got "
            f"{A.dtype} and {B.dtype}"
        )
    x = matmul(pinv(A, rtol=rcond), b)
    m, n = A.shape[-2:]
    squares = (matmul(A, x) - b).abs().square().sum(-2)
    rank = _rank(A, rcond) if driver != "gels" else A.new_empty((0,), dtype=dtypes.int64)
    tall = m > n and driver != "gelsy" and (driver == "gels" or bool((rank == n).all()))
    residual = squares if tall else squares.flatten()[:0]
    values = svdvals(A.detach()) if driver in ("gelsd", "gelss") else squares.detach().new_empty(0)
    return LstSq(x.squeeze(-1) if vector else x, residual, rank, values)


@operator
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """Moore-Penrose inverse (torch.pinverse)."""
    return pinv(input, rcond=rcond)
