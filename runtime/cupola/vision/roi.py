"""Regions of interest: parts of feature maps, brought to one size by averages or maxima.

Every operator gathers the pixels that a region needs and reduces them, so that gradients reach the
feature maps; regions themselves have none, as in torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cupola import nn
from cupola.functional.creation import arange, full_like
from cupola.functional.joining import cat
from cupola.tensor import Tensor, from_numpy
from cupola.vision.misc import tuple_of

# Gathered elements at a time: 64 MiB of float32, whatever the number of regions.
ELEMENTS = 1 << 24
Boxes = Tensor | Sequence[Tensor]
Size = int | Sequence[int]


def rows_of(boxes: Boxes) -> Tensor:
    """Returns regions as rows (image, x1, y1, x2, y2), detached.

    Args:
        boxes: such rows, (K, 5), or the boxes (L, 4) of each image.

    Raises:
        AssertionError: another shape.
    """
    if isinstance(boxes, Tensor):
        if boxes.dim() != 2 or boxes.shape[1] != 5:
            raise AssertionError("The boxes tensor shape is not correct as Tensor[K, 5]")
        return boxes.detach()
    if not isinstance(boxes, (list, tuple)):
        raise AssertionError("boxes is expected to be a Tensor[L, 5] or a List[Tensor[K, 4]]")
    if any(b.shape[1] != 4 for b in boxes):
        raise AssertionError(
            "The shape of the tensor in the boxes list is not correct as List[Tensor[L, 4]]"
        )
    numbers = [full_like(b[:, :1], i) for i, b in enumerate(boxes)]
    return cat([cat(numbers), cat(list(boxes))], 1).detach()


def _in_pieces(rois: Tensor, elements: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """`compute` on as many regions at a time as memory allows; a region takes `elements`."""
    step = max(1, ELEMENTS // max(elements, 1))
    if rois.shape[0] <= step:
        return compute(rois)
    return cat([compute(rois[i : i + step]) for i in range(0, rois.shape[0], step)])


def _corners(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Pixels beside places on one axis, and their weights: (…) to (…, 2) each.

    A place further than one pixel outside counts nothing; nearer ones count as the border.
    """
    inside = ((place >= -1.0) & (place <= size)).to(place.dtype)
    place = place.clamp(0, size - 1)
    low = place.floor()
    part = (place - low).unsqueeze(-1)
    weights = cat([1 - part, part], -1) * inside.unsqueeze(-1)
    low = low.long().unsqueeze(-1)
    return cat([low, (low + 1).clamp(max=size - 1)], -1), weights


def _samples(
    start: Tensor, length: Tensor, bins: int, ratio: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels of each bin on one axis, their weights, and samples a bin: (K, bins, P), …, (K,).

    The weights of places that a region does not have are zero.
    """
    width = length / bins
    if ratio > 0:
        count = full_like(length, ratio)
        most = ratio
    else:
        count = width.ceil()
        most = max(1, int(count.max().item())) if count.numel() else 1
    steps = arange(most, dtype=start.dtype, device=start.device)
    offsets = arange(bins, dtype=start.dtype, device=start.device)
    place = start[:, None, None] + offsets[None, :, None] * width[:, None, None]
    used = (steps[None] < count[:, None])[:, None, :, None].to(start.dtype)
    within = (steps + 0.5)[None, None] * (width / count.clamp(min=1))[:, None, None]
    pixels, weights = _corners(place + within, size)
    return pixels.flatten(2), (weights * used).flatten(2), count


def _align(
    rows: Tensor,
    image: Tensor,
    starts: tuple[Tensor, Tensor],
    lengths: tuple[Tensor, Tensor],
    output_size: tuple[int, int],
    ratio: int,
    size: tuple[int, int],
    own_rows: bool,
) -> Tensor:
    """Mean of bilinear samples in each bin, (K, bins, bins, C).

    `rows` are pixels, (images · [bins · bins ·] H · W, C): with `own_rows` each bin has its own.
    """
    (y, wy, ny), (x, wx, nx) = (
        _samples(start, length, bins, ratio, side)
        for start, length, bins, side in zip(starts, lengths, output_size, size)
    )
    first = image[:, None, None]
    if own_rows:
        bins_h, bins_w = output_size
        number = arange(bins_h * bins_w, device=rows.device).reshape(1, bins_h, bins_w)
        first = first * (bins_h * bins_w) + number
    base = (first * size[0])[:, :, :, None, None]
    index = (base + y[:, :, None, :, None]) * size[1] + x[:, None, :, None, :]
    weight = wy[:, :, None, :, None] * wx[:, None, :, None, :]
    total = (rows[index] * weight.unsqueeze(-1)).sum((3, 4))
    count = ny * nx
    mean = total / count.clamp(min=1)[:, None, None, None]
    if not own_rows:
        return mean
    # torchvision divides by the number of samples even where it is zero.
    return mean.masked_fill((count == 0)[:, None, None, None], math.nan)


def roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: Size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Returns each region as `output_size` bins, each the mean of bilinear samples.

    Args:
        input: (N, C, H, W), floating point.
        boxes: (K, 5) as (image, x1, y1, x2, y2), or a list of (L, 4), one for each image.
        spatial_scale: pixels of `input` for one of the boxes' units.
        sampling_ratio: samples a bin in each direction; ≤ 0 for one each begun pixel.
        aligned: pixel centres are at half coordinates, and regions may be narrower than a pixel.

    Returns:
        (K, C, output height, output width).

    He et al., "Mask R-CNN", 2017. torchvision.ops.roi_align.
    """
    rois = rows_of(boxes).to(input.dtype)
    size, out = tuple(input.shape[2:]), tuple_of(output_size, 2)
    channels = input.shape[1]
    rows = input.permute(0, 2, 3, 1).reshape(-1, channels)

    def compute(part: Tensor) -> Tensor:
        x1, y1, x2, y2 = (part[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = height.clamp(min=1.0), width.clamp(min=1.0)
        image = part[:, 0].long()
        return _align(rows, image, (y1, x1), (height, width), out, sampling_ratio, size, False)

    pixels = 4 * max(sampling_ratio, 2) ** 2
    done = _in_pieces(rois, math.prod(out) * pixels * channels, compute)
    return done.permute(0, 3, 1, 2)


def ps_roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: Size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> Tensor:
    """`roi_align` in which each bin has its own channels.

    Args:
        input: (N, C · bins, H, W), bins the product of `output_size`.

    Returns:
        (K, C, output height, output width).

    Raises:
        RuntimeError: the bins do not divide the channels.

    Li et al., "Light-Head R-CNN", 2017. torchvision.ops.ps_roi_align.
    """
    rois = rows_of(boxes).to(input.dtype)
    size, out = tuple(input.shape[2:]), tuple_of(output_size, 2)
    rows, channels = _rows_by_bin(input, out)

    def compute(part: Tensor) -> Tensor:
        x1, y1, x2, y2 = (part[:, 1:] * spatial_scale - 0.5).unbind(1)
        image = part[:, 0].long()
        return _align(rows, image, (y1, x1), (y2 - y1, x2 - x1), out, sampling_ratio, size, True)

    pixels = 4 * max(sampling_ratio, 2) ** 2
    done = _in_pieces(rois, math.prod(out) * pixels * channels, compute)
    return done.permute(0, 3, 1, 2)


def _rows_by_bin(input: Tensor, out: tuple[int, int]) -> tuple[Tensor, int]:
    """Pixels of each bin's own channels, (N · bins · H · W, C), and C."""
    images, channels, height, width = input.shape
    if channels % math.prod(out):
        raise RuntimeError("input channels must be a multiple of pooling height * pooling width")
    x = input.reshape(images, -1, *out, height, width).permute(0, 2, 3, 4, 5, 1)
    return x.reshape(-1, x.shape[-1]), x.shape[-1]


def _half_up(x: np.ndarray) -> np.ndarray:
    """Rounds as C does: halves away from zero."""
    return np.trunc(x + np.copysign(x.dtype.type(0.5), x))


def _bins(
    start: np.ndarray, length: np.ndarray, bins: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """The whole pixels of each bin on one axis, and which of them count: (K, bins, P) each."""
    width = length / start.dtype.type(bins)
    number = np.arange(bins, dtype=start.dtype)
    low = np.floor(number * width[:, None]) + start[:, None]
    high = np.ceil((number + 1) * width[:, None]) + start[:, None]
    low, high = np.clip(low, 0, last), np.clip(high, 0, last)
    most = max(1, int((high - low).max(initial=0)))
    pixels = low[..., None] + np.arange(most, dtype=start.dtype)
    return pixels.astype(np.int64), pixels < high[..., None]


def _pooled(
    input: Tensor,
    rows: Tensor,
    boxes: Boxes,
    output_size: Size,
    spatial_scale: float,
    own_rows: bool,
) -> Tensor:
    """Maxima, or with `own_rows` means, of the whole pixels in each bin, (K, C, bins, bins)."""
    size, out = tuple(input.shape[2:]), tuple_of(output_size, 2)
    rois = rows_of(boxes).to(input.dtype).cpu().numpy()
    places = _half_up(rois[:, 1:] * rois.dtype.type(spatial_scale))
    # The maximum's regions include their last pixel; the mean's end before it, and its bins end
    # before the last row and column of the map.
    surplus = 0 if own_rows else 1
    ends = [side - 1 if own_rows else side for side in size]
    (y, in_y), (x, in_x) = (
        _bins(a, np.maximum(b - a + surplus, 1), bins, end)
        for a, b, bins, end in (
            (places[:, 1], places[:, 3], out[0], ends[0]),
            (places[:, 0], places[:, 2], out[1], ends[1]),
        )
    )
    first = rois[:, 0].astype(np.int64)[:, None, None]
    if own_rows:
        first = first * math.prod(out) + np.arange(math.prod(out)).reshape(1, *out)
    index = (first[..., None, None] * size[0] + y[:, :, None, :, None]) * size[1]
    index = np.minimum(index + x[:, None, :, None, :], rows.shape[0] - 1)
    valid = in_y[:, :, None, :, None] & in_x[:, None, :, None, :]
    shape = (*index.shape[:3], -1)
    pixels = rows[from_numpy(index.reshape(shape)).to(rows.device)]
    mask = from_numpy(valid.reshape(shape)).to(rows.device).unsqueeze(-1)
    if own_rows:
        count = mask.to(input.dtype).sum(3).clamp(min=1)
        done = (pixels * mask.to(input.dtype)).sum(3) / count
    else:
        # Gradients go to the first of several maxima.
        best = pixels.detach().masked_fill(~mask, -math.inf).argmax(3, keepdim=True)
        done = pixels.gather(3, best).squeeze(3)
        done = done.masked_fill(~mask.any(3), 0)
    return done.permute(0, 3, 1, 2)


def roi_pool(input: Tensor, boxes: Boxes, output_size: Size, spatial_scale: float = 1.0) -> Tensor:
    """Returns each region as `output_size` bins, each the maximum of its whole pixels.

    Args:
        input: (N, C, H, W), floating point.
        boxes: (K, 5) as (image, x1, y1, x2, y2), or a list of (L, 4), one for each image.

    Returns:
        (K, C, output height, output width); 0 for empty bins.

    Girshick, "Fast R-CNN", 2015. torchvision.ops.roi_pool.
    """
    rows = input.permute(0, 2, 3, 1).reshape(-1, input.shape[1])
    return _pooled(input, rows, boxes, output_size, spatial_scale, own_rows=False)


def ps_roi_pool(
    input: Tensor, boxes: Boxes, output_size: Size, spatial_scale: float = 1.0
) -> Tensor:
    """Returns each region as `output_size` bins, each the mean of its pixels in its own channels.

    Args:
        input: (N, C · bins, H, W), bins the product of `output_size`.

    Returns:
        (K, C, output height, output width); 0 for empty bins.

    Raises:
        RuntimeError: the bins do not divide the channels.

    Dai et al., "R-FCN", 2016. torchvision.ops.ps_roi_pool.
    """
    rows, _ = _rows_by_bin(input, tuple_of(output_size, 2))
    return _pooled(input, rows, boxes, output_size, spatial_scale, own_rows=True)


class _RoI(nn.Module):
    """An operator on regions as a layer."""

    _names: tuple[str, ...] = ("output_size", "spatial_scale")
    _operator: Callable[..., Tensor]

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """Returns (K, C, output height, output width)."""
        return type(self)._operator(input, rois, *(getattr(self, n) for n in self._names))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={getattr(self, name)}" for name in self._names)
        return f"{type(self).__name__}({given})"


class RoIAlign(_RoI):
    """`roi_align` as a layer. torchvision.ops.RoIAlign."""

    _names = ("output_size", "spatial_scale", "sampling_ratio", "aligned")
    _operator = staticmethod(roi_align)

    def __init__(
        self, output_size: Size, spatial_scale: float, sampling_ratio: int, aligned: bool = False
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned


class PSRoIAlign(_RoI):
    """`ps_roi_align` as a layer. torchvision.ops.PSRoIAlign."""

    _names = ("output_size", "spatial_scale", "sampling_ratio")
    _operator = staticmethod(ps_roi_align)

    def __init__(self, output_size: Size, spatial_scale: float, sampling_ratio: int) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio


class RoIPool(_RoI):
    """`roi_pool` as a layer. torchvision.ops.RoIPool."""

    _operator = staticmethod(roi_pool)

    def __init__(self, output_size: Size, spatial_scale: float) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale


class PSRoIPool(RoIPool):
    """`ps_roi_pool` as a layer. torchvision.ops.PSRoIPool."""

    _operator = staticmethod(ps_roi_pool)
