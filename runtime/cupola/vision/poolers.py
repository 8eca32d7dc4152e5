"""Regions taken from the level of a pyramid that suits their size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cupola import nn
from cupola.functional.creation import zeros
from cupola.functional.joining import cat
from cupola.tensor import Tensor, from_numpy
from cupola.vision.boxes import box_area
from cupola.vision.misc import tuple_of
from cupola.vision.roi import roi_align, rows_of


class LevelMapper:
    """Chooses the level of each box: one up for each doubling of its side.

    Lin et al., "Feature Pyramid Networks", 2017, equation 1.
    """

    def __init__(
        self,
        k_min: int,
        k_max: int,
        canonical_scale: int = 224,
        canonical_level: int = 4,
        eps: float = 1e-6,
    ) -> None:
        self.k_min = k_min
        self.k_max = k_max
        self.s0 = canonical_scale
        self.lvl0 = canonical_level
        self.eps = eps

    def __call__(self, boxlists: Sequence[Tensor]) -> Tensor:
        """Returns the number of each box's level, int64, counted from `k_min`."""
        side = cat([box_area(boxes) for boxes in boxlists]).sqrt()
        level = (self.lvl0 + (side / self.s0).log2() + self.eps).floor()
        return level.clamp(min=self.k_min, max=self.k_max).long() - self.k_min


class MultiScaleRoIAlign(nn.Module):
    """`roi_align` on the levels of a pyramid.

    Args:
        featmap_names: the levels to use.
        output_size: bins, one number or two.
        canonical_scale: side in pixels of the boxes that belong to `canonical_level`.

    torchvision.ops.MultiScaleRoIAlign.
    """

    def __init__(
        self,
        featmap_names: Sequence[str],
        output_size: int | Sequence[int],
        sampling_ratio: int,
        *,
        canonical_scale: int = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        self.featmap_names = featmap_names
        self.sampling_ratio = sampling_ratio
        self.output_size = tuple_of(output_size, 2)
        self.scales: list[float] | None = None
        self.map_levels: LevelMapper | None = None
        self.canonical_scale = canonical_scale
        self.canonical_level = canonical_level

    def _set_up(self, levels: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> None:
        if not shapes:
            raise ValueError("images list should not be empty")
        height = max(shape[0] for shape in shapes)
        # Levels are powers of two smaller than the largest image.
        powers = [round(math.log2(level.shape[-2] / height)) for level in levels]
        self.scales = [2.0**power for power in powers]
        self.map_levels = LevelMapper(
            -powers[0], -powers[-1], self.canonical_scale, self.canonical_level
        )

    def forward(
        self,
        x: Mapping[str, Tensor],
        boxes: Sequence[Tensor],
        image_shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Returns each box's region, (K, C, *output_size).

        Args:
            x: the levels, (N, C, H, W).
            boxes: the boxes of each image, (L, 4), in pixels of the image.
            image_shapes: height and width of each image.
        """
        levels = [level for name, level in x.items() if name in self.featmap_names]
        if self.scales is None or self.map_levels is None:
            self._set_up(levels, image_shapes)
        assert self.scales is not None and self.map_levels is not None
        rois = rows_of(list(boxes))
        if len(levels) == 1:
            return self._align(levels[0], rois, self.scales[0])
        chosen = self.map_levels(boxes).cpu().numpy()
        parts, order = [], []
        for number, (level, scale) in enumerate(zip(levels, self.scales)):
            members = np.flatnonzero(chosen == number)
            if members.size:
                rows = rois[from_numpy(members).to(rois.device)]
                parts.append(self._align(level, rows, scale))
                order.append(members)
        if not parts:
            first = levels[0]
            shape = (0, first.shape[1], *self.output_size)
            return zeros(shape, dtype=first.dtype, device=first.device)
        back = np.argsort(np.concatenate(order), kind="stable")
        return cat(parts)[from_numpy(back).to(rois.device)]

    def _align(self, level: Tensor, rois: Tensor, scale: float) -> Tensor:
        return roi_align(
            level,
            rois,
            output_size=self.output_size,
            spatial_scale=scale,
            sampling_ratio=self.sampling_ratio,
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(featmap_names={self.featmap_names}, "
            f"output_size={self.output_size}, sampling_ratio={self.sampling_ratio})"
        )
