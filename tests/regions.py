"""roi_align in PyTorch: what torchvision's compiled operator computes, for where that is missing.

torchvision's own second implementation, in Python, goes on beyond the last pixel of an image where
the compiled one repeats it. tests/vision holds this one against recorded results of the latter.
"""

from __future__ import annotations

import math

import torch


def axis_weights(start: float, length: float, bins: int, ratio: int, size: int) -> torch.Tensor:
    """Returns the weight of each pixel of one axis in each bin, (bins, size), summed over samples,
    with their number.
    """
    count = ratio if ratio > 0 else math.ceil(length / bins)
    weights = torch.zeros(bins, size, dtype=torch.float64)
    for b in range(bins):
        for s in range(count):
            place = start + length / bins * (b + (s + 0.5) / count)
            if -1.0 <= place <= size:
                place = min(max(place, 0.0), size - 1.0)
                low = int(place)
                weights[b, low] += 1 - (place - low)
                weights[b, min(low + 1, size - 1)] += place - low
    return weights / max(count, 1)


def roi_align(input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned):
    """torchvision::roi_align; arguments of the operator."""
    bins, sizes = (pooled_height, pooled_width), input.shape[2:]
    found = []
    for image, x1, y1, x2, y2 in rois.detach().cpu().tolist():
        sides = []
        for low, high, b, size in zip((y1, x1), (y2, x2), bins, sizes):
            start = low * spatial_scale - (0.5 if aligned else 0.0)
            length = (high - low) * spatial_scale
            length = length if aligned else max(length, 1.0)
            sides.append(axis_weights(start, length, b, sampling_ratio, size).to(input))
        found.append(sides[0] @ input[int(image)] @ sides[1].T)
    if not found:
        return input.new_zeros(0, input.shape[1], *bins) + 0 * input.sum()
    return torch.stack(found)
