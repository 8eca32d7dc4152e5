"""Distances and similarities between vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.functional._register import operator
from cupola.functional.shape import broadcast_tensors
from cupola.tensor import Tensor, tensor


@operator(method=False)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between vectors along ``dim``; each norm is at least ``eps``."""
    x1, x2 = broadcast_tensors(x1, x2)
    n1 = (x1 * x1).sum(dim, keepdim=True).sqrt().clamp(min=eps)
    n2 = (x2 * x2).sum(dim, keepdim=True).sqrt().clamp(min=eps)
    return ((x1 / n1) * (x2 / n2)).sum(dim)


@operator(method=False)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """``||x1 - x2 + eps||_p`` along the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


@operator(method=False)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Distances between all pairs of rows of (N, M), row by row: (N * (N - 1) / 2,)."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if input.shape[0] < 2:
        return input.reshape(-1)[:0]
    first, second = np.triu_indices(input.shape[0], 1)
    pick = [tensor(index.astype(np.int64), device=input.device) for index in (first, second)]
    return (input.index_select(0, pick[0]) - input.index_select(0, pick[1])).norm(p, -1)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """One-hot int64 vectors (*, num_classes) of class indices (*)."""
    return _one_hot(tensor, num_classes)


def _one_hot(index: Tensor, num_classes: int) -> Tensor:
    from cupola.functional.creation import arange

    if index.dtype.is_floating_point or index.dtype.is_complex or index.dtype.itemsize != 8:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if index.numel() == 0 and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if index.numel():
        if int(index.min()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        if num_classes == -1:
            num_classes = int(index.max()) + 1
        elif int(index.max()) >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    classes: Any = arange(num_classes, device=index.device)
    return (index.unsqueeze(-1) == classes).long()
