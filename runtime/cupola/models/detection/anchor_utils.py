"""Anchors: the boxes from which detectors measure, several at each cell of each level."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cupola import nn
from cupola.models.detection.image_list import ImageList
from cupola.tensor import Tensor, from_numpy


def _like(array: np.ndarray, level: Tensor) -> Tensor:
    return from_numpy(array).to(device=level.device, dtype=level.dtype)


class AnchorGenerator(nn.Module):
    """Boxes of given sizes and shapes around the corner of each cell.

    Args:
        sizes: square roots of the areas in pixels, for each level.
        aspect_ratios: height over width, for each level; one tuple counts for all.

    torchvision.models.detection.anchor_utils.AnchorGenerator.
    """

    def __init__(
        self,
        sizes: Sequence[Any] = ((128, 256, 512),),
        aspect_ratios: Sequence[Any] = ((0.5, 1.0, 2.0),),
    ) -> None:
        super().__init__()
        if not isinstance(sizes[0], (list, tuple)):
            sizes = tuple((size,) for size in sizes)
        if not isinstance(aspect_ratios[0], (list, tuple)):
            aspect_ratios = (aspect_ratios,) * len(sizes)
        self.sizes = sizes
        self.aspect_ratios = aspect_ratios
        self.cell_anchors = [from_numpy(self._cell(*row)) for row in zip(sizes, aspect_ratios)]

    @staticmethod
    def _cell(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
        """The boxes around (0, 0), rounded to pixels, float32."""
        height = np.sqrt(np.array(ratios, np.float32))
        scales = np.array(sizes, np.float32)
        ws = (np.float32(1) / height)[:, None] * scales
        hs = height[:, None] * scales
        corners = np.stack([-ws, -hs, ws, hs], axis=-1).reshape(-1, 4) / np.float32(2)
        return np.round(corners)

    def num_anchors_per_location(self) -> list[int]:
        """Returns the number of boxes of a cell, for each level."""
        return [len(sizes) * len(ratios) for sizes, ratios in zip(self.sizes, self.aspect_ratios)]

    def forward(self, image_list: ImageList, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """Returns the boxes of each image, (A, 4), level by level, row by row, cell by cell.

        Raises:
            AssertionError: not one tuple of sizes and shapes for each level.
        """
        if not len(feature_maps) == len(self.sizes) == len(self.aspect_ratios):
            raise AssertionError(
                f"{len(feature_maps)} feature maps, but sizes for {len(self.sizes)} and aspect "
                f"ratios for {len(self.aspect_ratios)}: give each level its own"
            )
        image = image_list.tensors.shape[-2:]
        levels = []
        for level, sizes, ratios in zip(feature_maps, self.sizes, self.aspect_ratios):
            rows, columns = level.shape[-2:]
            y = np.arange(rows, dtype=np.float32) * (image[0] // rows)
            x = np.arange(columns, dtype=np.float32) * (image[1] // columns)
            y, x = (grid.reshape(-1) for grid in np.meshgrid(y, x, indexing="ij"))
            corners = np.stack([x, y, x, y], axis=1)[:, None] + self._cell(sizes, ratios)
            levels.append(corners.reshape(-1, 4))
        anchors = _like(np.concatenate(levels), feature_maps[0])
        return [anchors for _ in image_list.image_sizes]


class DefaultBoxGenerator(nn.Module):
    """SSD's boxes: at each cell's centre two squares, and two boxes for each aspect ratio.

    Args:
        aspect_ratios: for each level.
        min_ratio, max_ratio: smallest and largest side as parts of the image's, between which the
            levels' scales are spread evenly.
        scales: the scales themselves, one more than levels.
        steps: pixels between the cells of each level; None for as many as fill the image.
        clip: limit sides to the image's.

    Raises:
        ValueError: not one step for each level.

    Liu et al., "SSD: Single Shot MultiBox Detector", 2016.
    torchvision.models.detection.anchor_utils.DefaultBoxGenerator.
    """

    def __init__(
        self,
        aspect_ratios: Sequence[Sequence[float]],
        min_ratio: float = 0.15,
        max_ratio: float = 0.9,
        scales: Sequence[float] | None = None,
        steps: Sequence[int] | None = None,
        clip: bool = True,
    ) -> None:
        super().__init__()
        if steps is not None and len(aspect_ratios) != len(steps):
            raise ValueError("aspect_ratios and steps should have the same length")
        self.aspect_ratios = aspect_ratios
        self.steps = steps
        self.clip = clip
        levels = len(aspect_ratios)
        if scales is not None:
            self.scales = scales
        elif levels > 1:
            spread = max_ratio - min_ratio
            self.scales = [min_ratio + spread * k / (levels - 1.0) for k in range(levels)] + [1.0]
        else:
            self.scales = [min_ratio, max_ratio]
        self._sides = [self._level(k) for k in range(levels)]

    def _level(self, k: int) -> np.ndarray:
        """Width and height of each box of a cell, as parts of the image's, float32."""
        scale = self.scales[k]
        between = math.sqrt(scale * self.scales[k + 1])
        pairs = [[scale, scale], [between, between]]
        for ratio in self.aspect_ratios[k]:
            wide, high = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            pairs += [[wide, high], [high, wide]]
        found = np.array(pairs, np.float32)
        return found.clip(0, 1) if self.clip else found

    def num_anchors_per_location(self) -> list[int]:
        """Returns the number of boxes of a cell, for each level."""
        return [2 + 2 * len(ratios) for ratios in self.aspect_ratios]

    def forward(self, image_list: ImageList, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """Returns the boxes of each image, (A, 4), in pixels."""
        height, width = image_list.tensors.shape[-2:]
        dtype = feature_maps[0].dtype.np
        levels = []
        for k, (level, sides) in enumerate(zip(feature_maps, self._sides)):
            rows, columns = level.shape[-2:]
            down, across = rows, columns
            if self.steps is not None:
                down, across = height / self.steps[k], width / self.steps[k]
            y = (np.arange(rows, dtype=np.float32) + np.float32(0.5)) / np.float32(down)
            x = (np.arange(columns, dtype=np.float32) + np.float32(0.5)) / np.float32(across)
            y, x = (grid.reshape(-1) for grid in np.meshgrid(y, x, indexing="ij"))
            centres = np.repeat(np.stack([x, y], axis=1), len(sides), axis=0).astype(dtype)
            half = np.tile(sides, (rows * columns, 1)).astype(dtype) / 2
            levels.append(np.concatenate([centres - half, centres + half], axis=1))
        pixels = np.array([width, height, width, height], dtype)
        boxes = _like(np.concatenate(levels) * pixels, feature_maps[0])
        return [boxes for _ in image_list.image_sizes]

    def __repr__(self) -> str:
        names = ("aspect_ratios", "clip", "scales", "steps")
        given = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{type(self).__name__}({given})"


def pyramid_anchors(per_level: Sequence[Sequence[int]]) -> AnchorGenerator:
    """Returns anchors of the usual three shapes, of the given sizes at each level."""
    sizes = tuple(tuple(level) for level in per_level)
    return AnchorGenerator(sizes, tuple(itertools.repeat((0.5, 1.0, 2.0), len(sizes))))
