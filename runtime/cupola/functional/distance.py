"""Distances and similarities between vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola.functional._register import operator, settled
from cupola.functional.linalg import largest_gap
from cupola.functional.reduction import root
from cupola.functional.shape import broadcast_tensors
from cupola.tensor import Tensor, tensor
from cupola.tensor.batching import on_lanes


@operator(method=False)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between vectors along ``dim``; each norm is at least ``eps``."""
    x1, x2 = broadcast_tensors(x1, x2)
    first, second = (settled(x / _length(x, dim).clamp(min=eps)) for x in (x1, x2))
    return settled(first * second).sum(dim)


def _length(x: Tensor, dim: int) -> Tensor:
    """Euclidean norms, kept as a dimension; half types are squared and summed in float32."""
    wide = x.float() if x.dtype.is_floating_point and x.dtype.itemsize < 4 else x
    length = root((wide * wide).sum(dim, keepdim=True))
    return length if wide is x else length.to(x.dtype)


@operator(method=False)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """``||x1 - x2 + eps||_p`` along the last dimension."""
    return settled(settled(settled(x1 - x2) + eps).norm(p, -1, keepdim=keepdim))


@operator(method=False)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Distances between all pairs of rows of (N, M), row by row: (N * (N - 1) / 2,)."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if input.shape[0] < 2:
        return input.reshape(-1)[:0]
    first, second = np.triu_indices(input.shape[0], 1)
    pick = [tensor(index.astype(np.int64), device=input.device) for index in (first, second)]
    gap = input.index_select(0, pick[0]) - input.index_select(0, pick[1])
    return largest_gap(gap) if p == math.inf else gap.norm(p, -1)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """One-hot int64 vectors (*, num_classes) of class indices (*)."""
    return _one_hot(tensor, num_classes)


def _one_hot(index: Tensor, num_classes: int) -> Tensor:
    from cupola.functional.creation import arange

    if index.dtype.is_floating_point or index.dtype.is_complex or index.dtype.itemsize != 8:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if index.numel() == 0 and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if index.numel() and not (on_lanes() and num_classes > 0):  # one example has no value
        if int(index.min()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        if num_classes == -1:
            num_classes = int(index.max()) + 1
        elif int(index.max()) >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    classes: Any = arange(num_classes, device=index.device)
    return (index.unsqueeze(-1) == classes).long()
