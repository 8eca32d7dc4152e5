"""Names that torch itself offers for what other names compute: older norms, convolutions and
pooling with all arguments, questions about tensors.
"""

from __future__ import annotations

import math
from typing import Any

from cupola import dtypes
from cupola.functional._register import PUBLIC, operator
from cupola.functional.adaptive_pooling import adaptive_max_pool1d as _adaptive_max_pool1d
from cupola.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from cupola.functional.decomposition import cholesky, eigh
from cupola.functional.dropout import dropout
from cupola.functional.linalg import matmul
from cupola.functional.native_norm import native_batch_norm
from cupola.functional.pooling import max_pool1d
from cupola.functional.reduction import vector_norm
from cupola.functional.selection import where
from cupola.tensor import Tensor


@operator(method=False)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of a vector as columns, falling unless ``increasing`` (torch.vander).

    Raises:
        RuntimeError: x is not a vector.
    """
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    x = x if x.dtype.category >= 2 else x.long()
    powers = PUBLIC["arange"](count, device=x.device)
    out = x.unsqueeze(-1) ** (powers if increasing else count - 1 - powers)
    return out


@operator(method=False, out=True)
def frobenius_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Square root of the sum of squares (torch.frobenius_norm)."""
    return vector_norm(input, 2, dim, keepdim)


@operator(method=False)
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """Norms over all dimensions but one, which keeps its place; -1: over all
    (torch.norm_except_dim).
    """
    if dim == -1:
        return vector_norm(v, pow)
    others = tuple(d for d in range(v.ndim) if d != dim % v.ndim)
    return vector_norm(v, pow, others, True) if others else v.abs()


@operator(method=False)
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """dropout, and which elements it kept (torch.native_dropout)."""
    if not train or input.numel() == 0:
        return input.clone(), input.new_ones(input.shape, dtype=dtypes.bool)
    kept = dropout(input.detach().new_ones(input.shape), p) != 0
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return input * kept * scale, kept


_CONVOLUTIONS = {1: conv1d, 2: conv2d, 3: conv3d}
_TRANSPOSED = {1: conv_transpose1d, 2: conv_transpose2d, 3: conv_transpose3d}


@operator(method=False)
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """Any convolution of (N, C, *), all arguments given (torch.convolution)."""
    n = weight.ndim - 2
    if transposed:
        return _TRANSPOSED[n](
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return _CONVOLUTIONS[n](input, weight, bias, stride, padding, dilation, groups)


@operator(method=False)
def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """Maxima over windows that cover (N, C, L), and their indices (torch.adaptive_max_pool1d)."""
    pair: tuple[Tensor, Tensor] = _adaptive_max_pool1d(input, output_size, True)
    return pair


@operator(method=False)
def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Maxima of windows of (N, C, L), and their indices (torch.max_pool1d_with_indices)."""
    pair: tuple[Tensor, Tensor] = max_pool1d(
        input, kernel_size, stride or None, padding, dilation, ceil_mode, return_indices=True
    )
    return pair


@operator(method=False)
def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """The k largest, or smallest, eigenvalues of A x = λ B x, and their vectors as columns
    (torch.lobpcg); exact here, where PyTorch iterates.
    """
    count = k if k is not None else n if n is not None else X.shape[-1] if X is not None else 1
    if B is None:
        values, vectors = eigh(A)
    else:
        inverse = PUBLIC["inverse"](cholesky(B))
        values, inner = eigh(matmul(matmul(inverse, A), inverse.mH))
        vectors = matmul(inverse.mH, inner)
    if largest is None or largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    return values[..., :count], vectors[..., :count]


@operator(method=False)
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape (torch.is_same_size)."""
    return input._n.shape == other._n.shape


@operator(method=False)
def can_cast(from_: Any, to: Any) -> bool:
    """Whether PyTorch casts results of one dtype to the other (torch.can_cast)."""
    from_, to = dtypes.asked(from_), dtypes.asked(to)
    if from_.is_complex and not to.is_complex:
        return False
    if from_.category == 2 and to.category < 2:
        return False
    return not (from_.category == 1 and to is dtypes.bool)


@operator(name="_chunk_cat", method=False, out=True, refusal=TypeError)
def chunk_cat(tensors: Any, dim: int, num_chunks: int) -> Tensor:
    """Each tensor, padded with zeros, as ``num_chunks`` rows along ``dim``, side by side.

    Raises:
        RuntimeError: no tensors, an empty one, another number of chunks than a positive one, or
            sizes or dtypes that do not fit each other.
    """
    from cupola.functional.joining import cat

    if num_chunks < 1:
        raise RuntimeError("_chunk_cat expects positive num_chunks")
    if not tensors:
        raise RuntimeError("_chunk_cat expects a non-empty input tensor list")
    if any(not x.numel() for x in tensors):
        raise RuntimeError("_chunk_cat expects non-empty tensor")
    rows = []
    for x in tensors:
        d = dim % x.ndim
        size = x.shape[d]
        missing = math.ceil(size / num_chunks) * num_chunks - size
        zeros = x.new_zeros((*x.shape[:d], missing, *x.shape[d + 1 :]))
        rows.append(cat([x, zeros], d).reshape(*x.shape[:d], num_chunks, -1))
    return cat(rows, rows[0].ndim - 1)


@operator(name="_unsafe_masked_index", method=False)
def masked_index(input: Tensor, mask: Tensor, indices: Any, fill: Any) -> Tensor:
    """Elements at index tensors where the mask is True, ``fill`` elsewhere."""
    safe = [None if i is None else i.masked_fill(~mask, 0) for i in indices]
    found = input[tuple(slice(None) if i is None else i for i in safe)]
    shape = (*mask.shape, *(1,) * (found.ndim - mask.ndim))
    return where(mask.reshape(shape), found, fill)


@operator(name="_unsafe_masked_index_put_accumulate", method=False)
def masked_index_put(input: Tensor, mask: Tensor, indices: Any, values: Tensor) -> Tensor:
    """The input with values added at index tensors, where the mask is True."""
    safe = [None if i is None else i.masked_fill(~mask, 0) for i in indices]
    return PUBLIC["index_put"](input, safe, values.masked_fill(~mask, 0), True)


@operator(name="_native_batch_norm_legit", method=False, out=True, exact=True)
def batch_norm_legit(input: Tensor, weight: Any, bias: Any, *rest: Any) -> Any:
    """native_batch_norm, with or without running statistics."""
    if len(rest) == 3:
        return native_batch_norm(input, weight, bias, None, None, *rest)
    return native_batch_norm(input, weight, bias, *rest)
