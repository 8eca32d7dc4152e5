"""Embedding: rows of a table by index, one by one or reduced in bags."""

from __future__ import annotations

import math
from typing import Any

from cupola.functional._register import operator, settled
from cupola.functional.creation import arange
from cupola.ops import index as ops
from cupola.tensor import Tensor, apply, is_grad_enabled, no_grad, tensor


def _limit_norms(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows in use down to ``max_norm``, in place."""
    with no_grad():
        norms = weight.norm(norm_type, 1, keepdim=True)
        if weight.dtype.itemsize == 2:
            norms = settled(norms).float()
        ones = weight.new_ones((index.numel(), 1))
        used = weight.new_zeros((weight.shape[0], 1)).index_put((index.reshape(-1),), ones)
        scale = (max_norm / (norms + 1e-7)).masked_fill((used == 0) | (norms <= max_norm), 1.0)
        weight.copy_(weight * scale.to(weight.dtype))


def _rows(
    input: Tensor, weight: Tensor, padding_idx: int | None, scale_grad_by_freq: bool
) -> Tensor:
    """Rows of ``weight``, with the requested changes to their gradient."""
    index = input if input.dtype.itemsize == 8 else input.long()
    rows = apply(ops.index_rows, weight, index)
    if not (weight.requires_grad and is_grad_enabled()):
        return rows
    if scale_grad_by_freq:
        ones = weight.detach().new_ones((index.numel(),))
        zeros = weight.detach().new_zeros((weight.shape[0],))
        counts = zeros.index_put((index.reshape(-1),), ones, accumulate=True)
        fixed = rows.detach()
        rows = fixed + (rows - fixed) / apply(ops.index_rows, counts, index).unsqueeze(-1)
    if padding_idx is not None:
        rows = Tensor.where(rows.detach(), (index == padding_idx).unsqueeze(-1), rows)
    return rows


def _padding_row(padding_idx: int | None, rows: int) -> int | None:
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


def _check_index(input: Tensor, name: str) -> None:
    if input.dtype.is_floating_point or input.dtype.is_complex or input.dtype.itemsize < 4:
        raise RuntimeError(
            f"Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {input.dtype} instead (while checking arguments for {name})"
        )


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of ``weight`` (V, D) by index: input (*) -> (*, D). ``sparse`` gradients are dense."""
    if weight.dim() != 2:
        raise RuntimeError("'weight' must be 2-D")
    _check_index(input, "embedding")
    padding_idx = _padding_row(padding_idx, weight.shape[0])
    if max_norm is not None:
        _limit_norms(weight, input, max_norm, norm_type)
    return _rows(input, weight, padding_idx, scale_grad_by_freq)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or maximum of rows of ``weight`` (V, D) in each bag.

    input (B, N), or (T,) with ``offsets`` (B,) that give each bag's start -> (B, D).
    """
    if weight.dtype.itemsize == 8 and not weight.dtype.is_floating_point and input.dim() == 2:
        # Old argument order (weight, input).
        input, weight = weight, input
    _check_index(input, "embedding_bag")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None:
        if input.shape != per_sample_weights.shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, "
                f"then it must have the same shape as the input ({input.shape})"
            )
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                f"supported for mode='sum' (got mode='{mode}'). Please open a feature request "
                "on GitHub."
            )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        count, length = input.shape
        starts = list(range(0, count * length, length)) if length else [0] * count
        ends = [start + length for start in starts]
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = [int(v) for v in offsets.tolist()]
        ends = [*starts[1:], input.shape[0]]
        if include_last_offset:
            starts, ends = starts[:-1], ends[:-1]
        if starts and starts[0] != 0:
            raise RuntimeError(
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
                f"from position 0. However, got {starts[0]}"
            )
    else:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    padding_idx = _padding_row(padding_idx, weight.shape[0])
    if max_norm is not None:
        _limit_norms(weight, input, max_norm, norm_type)
    return _bags(
        input, weight, starts, ends, mode, per_sample_weights, padding_idx, scale_grad_by_freq
    )


def _bags(
    input: Tensor,
    weight: Tensor,
    starts: list[int],
    ends: list[int],
    mode: str,
    sample_weights: Tensor | None,
    padding_idx: int | None,
    scale_grad_by_freq: bool,
) -> Tensor:
    """Lay the bags out as one rectangle, masked where a bag is shorter, and reduce it."""
    longest = max((e - s for s, e in zip(starts, ends, strict=True)), default=0)
    if longest == 0:
        return weight.new_zeros((len(starts), weight.shape[1])) + weight.sum() * 0
    places = [
        [min(s + t, e - 1) if e > s else 0 for t in range(longest)]
        for s, e in zip(starts, ends, strict=True)
    ]
    place = tensor(places, device=input.device).reshape(-1)
    shape = (len(starts), longest)
    index = input.long().index_select(0, place).reshape(shape)
    lengths = tensor([e - s for s, e in zip(starts, ends, strict=True)], device=input.device)
    outside = arange(longest, device=input.device) >= lengths.unsqueeze(-1)
    if padding_idx is not None:
        outside = outside | (index == padding_idx)
    rows = _rows(index, weight, None, scale_grad_by_freq)
    if sample_weights is not None:
        rows = rows * sample_weights.index_select(0, place).reshape(shape).unsqueeze(-1)
    hole = outside.unsqueeze(-1)
    if mode == "max":
        best = rows.masked_fill(hole, -math.inf).max(1).values
        return best.masked_fill(outside.all(1, keepdim=True), 0)
    total = rows.masked_fill(hole, 0).sum(1)
    if mode == "sum":
        return total
    counts: Any = outside.logical_not().sum(1, keepdim=True)
    return total / counts.clamp(min=1).to(total.dtype)


@operator(name="embedding", method=False)
def _torch_embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """``torch.embedding``: the table comes first."""
    row = padding_idx if padding_idx >= 0 else None
    return _rows(indices, weight, row, scale_grad_by_freq)
