"""Matrix products of groups of rows, each group with a matrix of its own (mixtures of experts)."""

from __future__ import annotations

from typing import Any

from cupola.functional._register import PUBLIC
from cupola.tensor import Tensor


def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: Any = None,
) -> Tensor:
    """One product a group (torch.nn.functional.grouped_mm).

    Args:
        mat_a: (M, K), its rows in groups that end at ``offs``, or (G, M, K).
        mat_b: (G, K, N); (K, N), its columns in groups; with a two-dimensional ``mat_a`` whose
            columns and whose own rows are in groups, (K, N).
        offs: ends of the groups (G,), int32; needed if an operand has two dimensions.
        bias: added to the result.
        out_dtype: dtype of the result; that of ``mat_a`` by default.

    Returns:
        (M, N), (G, M, N), (M, N) or (G, M, N), by the operands.

    Raises:
        RuntimeError: an operand has neither two nor three dimensions, or ``offs`` is missing or not
            wanted.
    """
    if mat_a.ndim not in (2, 3) or mat_b.ndim not in (2, 3):
        raise RuntimeError("mat_a and mat_b have to be 2 or 3 dimensional tensors")
    jagged = mat_a.ndim == 2 or mat_b.ndim == 2
    if jagged != (offs is not None):
        raise RuntimeError(
            "Have to provide offsets if there is a 2d matrix, and no offsets if all are 3d"
        )
    if offs is None:
        out = mat_a @ mat_b
    else:
        out = _jagged(mat_a, mat_b, [int(end) for end in offs.tolist()])
    if bias is not None:
        out = out + bias
    return out if out_dtype is None else out.to(out_dtype)


def _jagged(a: Tensor, b: Tensor, ends: list[int]) -> Tensor:
    spans = list(zip([0, *ends], ends))
    cat, stack = PUBLIC["cat"], PUBLIC["stack"]
    if a.ndim == 2 and b.ndim == 3:
        rows = [a[i:j] @ b[g] for g, (i, j) in enumerate(spans)]
        # Rows behind the last group belong to none.
        rest = a.new_zeros(a.shape[0] - ends[-1], b.shape[2])
        return cat([*rows, rest])
    if a.ndim == 3:
        return cat([a[g] @ b[:, i:j] for g, (i, j) in enumerate(spans)], 1)
    return stack([a[:, i:j] @ b[i:j] for i, j in spans])
