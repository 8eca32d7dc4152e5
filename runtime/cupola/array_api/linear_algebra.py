"""Linear algebra functions of the main namespace."""

from __future__ import annotations

from typing import Any

import cupola
from cupola.array_api.arithmetic import pair
from cupola.array_api.array_object import standard


@standard
def matmul(x1: Any, x2: Any, /) -> Any:
    """Matrix product.

    Raises:
        ValueError: an operand has no dimensions.
    """
    a, b = pair(x1, x2)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: an operand has no dimensions")
    return cupola.matmul(a, b)


@standard
def matrix_transpose(x: Any, /) -> Any:
    """The transpose of each matrix."""
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: an array of {x.ndim} dimensions")
    return cupola.transpose(x, -2, -1)


@standard
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Sums of products over pairs of axes, or over the last and first ``axes`` ones."""
    a, b = pair(x1, x2)
    if isinstance(axes, int):
        left = list(range(a.ndim - axes, a.ndim))
        right = list(range(axes))
    else:
        left = [d % a.ndim for d in axes[0]]
        right = [d % b.ndim for d in axes[1]]
    if [a.shape[d] for d in left] != [b.shape[d] for d in right]:
        raise ValueError(f"tensordot: sizes differ along axes {left} and {right}")
    return cupola.tensordot(a, b, (left, right))


@standard
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Dot products of vectors along an axis, the first one conjugated."""
    a, b = pair(x1, x2)
    if not -min(a.ndim, b.ndim) <= axis < 0:
        raise ValueError(f"vecdot: axis {axis} is not a last axis of both operands")
    if a.shape[axis] != b.shape[axis]:
        raise ValueError(f"vecdot: vectors of {a.shape[axis]} and {b.shape[axis]} elements")
    if a.dtype.is_complex:
        a = cupola.conj_physical(a)
    return cupola.sum(a * b, axis, dtype=a.dtype)
