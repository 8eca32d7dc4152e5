"""Filters that resample pictures, as matrices; pictures of bytes in integer arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola.dtypes import float64, uint8
from cupola.tensor import Tensor, tensor

Weights = Callable[[Any], Any]


def _triangle(x: Any) -> Any:
    return np.maximum(1 - x, 0)


def _cubic(a: float) -> Weights:
    """The cubic filter of Keys (1981) with slope ``a`` at distance one."""

    def weights(x: Any) -> Any:
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((x - 5) * x + 8) * x * a - 4 * a
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    return weights


def _lanczos(x: Any) -> Any:
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


# Half the width of each mode's filter, and its weights where the picture shrinks, and where the
# neighbours are the same however much it shrinks.
PICTURES: dict[str, tuple[float, Weights, Weights]] = {
    "bilinear": (1.0, _triangle, _triangle),
    "bicubic": (2.0, _cubic(-0.5), _cubic(-0.75)),
    "lanczos": (3.0, _lanczos, _lanczos),
}


def filter_matrix(
    size: int, out: int, ratio: float, mode: str, antialias: bool, align: bool = False
) -> Any:
    """The weights (size, out), float64, of a line's pixels in each pixel of the resampled line.

    ``ratio`` is the distance between two results. With ``antialias`` the filter widens when the
    line shrinks, and is cut off at the ends; else the pixels at the ends stand for those beyond.
    """
    reach, wide, narrow = PICTURES[mode]
    weigh, stretch = (wide, max(ratio, 1.0)) if antialias else (narrow, 1.0)
    shift = 0.5 if align and not antialias else 0.0
    matrix = np.zeros((size, out))
    for i in range(out):
        center = ratio * (i + 0.5 - shift) + shift
        first = int(np.floor(center - reach * stretch + 0.5))
        last = int(np.floor(center + reach * stretch + 0.5))
        if antialias:
            first, last = max(first, 0), min(last, size)
        places = np.arange(first, last)
        weights = weigh(np.abs((places - center + 0.5) / stretch))
        np.add.at(matrix[:, i], np.clip(places, 0, size - 1), weights / weights.sum())
    return matrix


def resampled_bytes(
    input: Tensor,
    size: Sequence[int],
    scales: Sequence[float | None],
    mode: str,
    align: bool,
    antialias: bool,
) -> Tensor:
    """Resamples uint8 (N, C, H, W): weights are integers, and each pass gives bytes again.

    Torch's arithmetic on the CPU, which is Pillow's with weights of 16 bits: the largest weight
    says how many bits stand behind the point.
    """
    for dim in (3, 2):
        length, out, scale = input.shape[dim], size[dim - 2], scales[dim - 2]
        if align:
            ratio = (length - 1) / (out - 1) if out > 1 else 0.0
        else:
            ratio = 1.0 / scale if scale is not None and scale > 0 else length / out
        if length == out and (align or scale in (None, 1.0)):
            continue
        weights = filter_matrix(length, out, ratio, mode, antialias, align)
        bits = 0
        while bits < 22 and int(0.5 + weights.max() * 2 ** (bits + 1)) < 2**15:
            bits += 1
        whole = np.trunc(weights * 2.0**bits + np.copysign(0.5, weights))
        table = tensor(whole, dtype=float64, device=input.device)
        sums = input.transpose(dim, -1).to(float64).matmul(table) + 2.0 ** (bits - 1)
        input = (sums / 2.0**bits).floor().clamp(0, 255).to(uint8).transpose(dim, -1)
    return input.contiguous()
