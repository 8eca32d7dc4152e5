"""Batches of images as one image (torchvision.utils.make_grid, save_image)."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola.tensor import Tensor


@cupola.no_grad()
def make_grid(
    tensor: Tensor | list[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[int, int] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images (B, C, H, W) beside each other, `nrow` in a row, as one (C, H', W').

    Raises:
        TypeError: something other than tensors, or a `value_range` that is not a tuple.
    """
    if isinstance(tensor, list) and all(isinstance(t, Tensor) for t in tensor):
        tensor = cupola.stack(tensor, dim=0)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    if value_range is not None and not isinstance(value_range, tuple):
        raise TypeError("value_range has to be a tuple (min, max) if specified")
    images = tensor.reshape((1,) * (4 - tensor.dim()) + tuple(tensor.shape))
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    if normalize:
        parts = list(images) if scale_each else [images]
        images = cupola.stack([_normalized(part, value_range) for part in parts])
        images = images if scale_each else images[0]
    count, channels, height, width = images.shape
    if count == 1:
        return images[0]
    columns = min(nrow, count)
    rows = math.ceil(count / columns)
    high, wide = height + padding, width + padding
    grid = images.new_full((channels, high * rows + padding, wide * columns + padding), pad_value)
    for k in range(count):
        top, left = k // columns * high + padding, k % columns * wide + padding
        grid[:, top : top + height, left : left + width] = images[k]
    return grid


def _normalized(part: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    low, high = value_range or (float(part.min()), float(part.max()))
    return (part.clamp(low, high) - low) / max(high - low, 1e-5)


@cupola.no_grad()
def save_image(
    tensor: Tensor | list[Tensor], fp: Any, format: str | None = None, **kwargs: Any
) -> None:
    """Writes an image, or a batch as `make_grid` lays it out, with values in [0, 1], to a file."""
    from PIL import Image

    grid = make_grid(tensor, **kwargs)
    levels = (grid * 255 + 0.5).clamp(0, 255).permute(1, 2, 0).to("cpu", cupola.uint8)
    Image.fromarray(levels.numpy()).save(fp, format=format)
