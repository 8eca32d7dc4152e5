"""Attention within windows of a grid: what both Swin Transformers and MaxViT share.

Grids have any number of dimensions; images have two, videos three.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from cupola.functional.creation import zeros_like
from cupola.functional.joining import cat
from cupola.nn import functional as F
from cupola.tensor import Tensor, from_numpy


def relative_position_index(sizes: Sequence[int]) -> Tensor:
    """Returns the number of the offset between each pair of cells: int64, (V, V), V = ∏ sizes.

    Offsets are numbered row by row, from 0 to ∏ (2 · size − 1) − 1.
    """
    cells = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij")).reshape(len(sizes), -1)
    offsets = cells[:, :, None] - cells[:, None, :]
    index = np.zeros(offsets.shape[1:], np.int64)
    for offset, size in zip(offsets, sizes):
        index = index * (2 * size - 1) + offset + size - 1
    return from_numpy(index)


def position_bias(table: Tensor, index: Tensor, volume: int) -> Tensor:
    """Returns what is added to the attention of each pair of cells, (1, heads, V, V).

    Args:
        table: (offsets, heads).
        index: V² numbers of offsets.
    """
    return table[index.reshape(-1)].reshape(volume, volume, -1).permute(2, 0, 1).unsqueeze(0)


def to_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """Returns a grid (B, *sizes, C) as windows, (B, windows, V, C); `window` divides the sizes."""
    dims = len(window)
    pairs = itertools.chain(*((s // w, w) for s, w in zip(x.shape[1:], window)))
    x = x.reshape(x.shape[0], *pairs, x.shape[-1])
    order = [*range(1, 2 * dims, 2), *range(2, 2 * dims + 1, 2)]
    x = x.permute(0, *order, 2 * dims + 1)
    return x.reshape(x.shape[0], -1, math.prod(window), x.shape[-1])


def from_windows(x: Tensor, window: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Undoes `to_windows`: (B, windows, V, C) to (B, *sizes, C)."""
    dims, channels = len(window), x.shape[-1]
    x = x.reshape(-1, *(s // w for s, w in zip(sizes, window)), *window, channels)
    order = itertools.chain(*((1 + d, 1 + dims + d) for d in range(dims)))
    return x.permute(0, *order, 2 * dims + 1).reshape(-1, *sizes, channels)


@functools.lru_cache(maxsize=64)
def _separation(
    sizes: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]
) -> np.ndarray:
    """-100 for cells that a shift around the edge brought into one window, (windows, V, V)."""
    region = np.zeros(sizes, np.int64)
    for dim, (size, w, s) in enumerate(zip(sizes, window, shift)):
        place = np.arange(size)
        part = (place >= size - w).astype(np.int64) + (place >= size - s) if s else 0 * place
        region = 3 * region + part.reshape([-1 if d == dim else 1 for d in range(len(sizes))])
    counts = list(itertools.chain(*((s // w, w) for s, w in zip(sizes, window))))
    order = [*range(0, len(counts), 2), *range(1, len(counts), 2)]
    region = region.reshape(counts).transpose(order).reshape(-1, math.prod(window))
    return np.where(region[:, None, :] != region[:, :, None], np.float32(-100), np.float32(0))


def shifted_window_attention(
    input: Tensor,
    qkv_weight: Tensor,
    proj_weight: Tensor,
    relative_position_bias: Tensor,
    window_size: Sequence[int],
    num_heads: int,
    shift_size: Sequence[int],
    attention_dropout: float = 0.0,
    dropout: float = 0.0,
    qkv_bias: Tensor | None = None,
    proj_bias: Tensor | None = None,
    logit_scale: Tensor | None = None,
    training: bool = True,
) -> Tensor:
    """Returns attention of each cell to the cells of its window, the grid first shifted.

    Args:
        input: (B, *sizes, C); padded with zeros to multiples of the window.
        relative_position_bias: (1, heads, V, V).
        logit_scale: (heads, 1, 1): cosine attention with this logarithm of the scale; keys then
            have no bias.

    Liu et al., "Swin Transformer", 2021, and "Swin Transformer V2", 2022.
    """
    sizes, channels = input.shape[1:-1], input.shape[-1]
    surplus = [-size % w for size, w in zip(sizes, window_size)]
    x = F.pad(input, (0, 0, *itertools.chain(*((0, p) for p in reversed(surplus)))))
    padded = tuple(x.shape[1:-1])
    shift = tuple(0 if w >= p else s for s, w, p in zip(shift_size, window_size, padded))
    dims = tuple(range(1, len(padded) + 1))
    if any(shift):
        x = x.roll(tuple(-s for s in shift), dims)
    x = to_windows(x, window_size)
    batch, windows, volume, _ = x.shape
    x = x.reshape(batch * windows, volume, channels)
    if logit_scale is not None and qkv_bias is not None:
        query, key, value = qkv_bias.chunk(3)
        qkv_bias = cat([query, zeros_like(key), value])
    qkv = F.linear(x, qkv_weight, qkv_bias)
    qkv = qkv.reshape(-1, volume, 3, num_heads, channels // num_heads).permute(2, 0, 3, 1, 4)
    query, key, value = qkv[0], qkv[1], qkv[2]
    if logit_scale is None:
        attention = (query * (channels // num_heads) ** -0.5) @ key.transpose(-2, -1)
    else:
        attention = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        attention = attention * logit_scale.clamp(max=math.log(100.0)).exp()
    attention = attention + relative_position_bias
    if any(shift):
        mask = from_numpy(_separation(padded, tuple(window_size), shift))
        mask = mask.to(device=x.device, dtype=x.dtype)
        attention = attention.reshape(batch, windows, num_heads, volume, volume)
        attention = attention + mask[None, :, None]
        attention = attention.reshape(-1, num_heads, volume, volume)
    attention = F.dropout(F.softmax(attention, dim=-1), p=attention_dropout, training=training)
    x = (attention @ value).transpose(1, 2).reshape(-1, volume, channels)
    x = F.dropout(F.linear(x, proj_weight, proj_bias), p=dropout, training=training)
    x = from_windows(x, window_size, padded)
    if any(shift):
        x = x.roll(shift, dims)
    return x[(slice(None), *(slice(size) for size in sizes))].contiguous()
