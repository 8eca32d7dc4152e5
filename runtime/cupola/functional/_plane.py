"""Indices into the flattened spatial dimensions, as pooling returns them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cupola.ops import index as ops
from cupola.tensor import Tensor, apply


def extreme_of(dtype: Any, lowest: bool) -> float | int | bool:
    """The smallest (or largest) value of a dtype, infinite where it has infinities."""
    if dtype.is_floating_point:
        return -math.inf if lowest else math.inf
    if dtype.np.kind == "b":
        return not lowest
    info = np.iinfo(dtype.np)
    return int(info.min if lowest else info.max)


def plane_index(
    place: Tensor,
    kernel: Sequence[int],
    dilation: Sequence[int],
    starts: Sequence[Tensor],
    sizes: Sequence[int],
) -> Tensor:
    """Flat index into the spatial dimensions of an element of a window.

    ``place`` (*, out) is the row-major index within the window, ``starts`` the first index of each
    window along each dimension, ``sizes`` the spatial sizes.
    """
    n = len(kernel)
    if n == 1:
        return starts[0] + (place * dilation[0] if dilation[0] != 1 else place)
    base: Any = None
    offset: Any = None
    rest = place
    for i in reversed(range(n)):
        step = math.prod(sizes[i + 1 :])
        start = starts[i].reshape((-1,) + (1,) * (n - 1 - i)) * step
        within = rest if i == 0 else rest % kernel[i]
        scaled = within * (dilation[i] * step)
        base = start if base is None else base + start
        offset = scaled if offset is None else offset + scaled
        rest = rest // kernel[i]
    return base + offset


def take_from_plane(input: Tensor, index: Tensor, n: int) -> Tensor:
    """Elements of the last ``n`` dimensions by flat index; (*, spatial), (*, out) -> (*, out)."""
    lead = input.shape[: input.dim() - n]
    flat = input.reshape((*lead, math.prod(input.shape[input.dim() - n :])))
    wanted = index.reshape((*lead, math.prod(index.shape[len(lead) :])))
    return apply(ops.gather, flat, wanted, dim=len(lead)).reshape(index.shape)
