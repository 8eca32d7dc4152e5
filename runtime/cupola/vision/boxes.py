"""Boxes as rows of four numbers, (x1, y1, x2, y2) unless a format says otherwise.

torchvision.ops, the functions of the same names.
"""

from __future__ import annotations

import math

from cupola.errors import UnsupportedError
from cupola.functional.joining import cat, stack
from cupola.tensor import Tensor
from cupola.vision.rotated import ROTATED, convert

FORMATS = ("xyxy", "xywh", "cxcywh")


def _float(x: Tensor) -> Tensor:
    """Widens what a product of two coordinates could overflow."""
    if x.dtype.is_floating_point:
        return x if x.dtype.itemsize >= 4 else x.float()
    return x if x.dtype.itemsize >= 4 else x.int()


def box_area(boxes: Tensor, fmt: str = "xyxy") -> Tensor:
    """Returns each box's area: (…, 4) to (…).

    Raises:
        ValueError: a format other than xyxy, xywh and cxcywh.
    """
    if fmt not in FORMATS:
        raise ValueError(f"Unsupported Bounding Box area for given format {fmt}")
    boxes = _float(boxes)
    size = sides(boxes) if fmt == "xyxy" else boxes[..., 2:]
    return size[..., 0] * size[..., 1]


def _intersection_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    low = a[..., :, None, :2].maximum(b[..., None, :, :2])
    high = a[..., :, None, 2:].minimum(b[..., None, :, 2:])
    size = _float(high - low).clamp(min=0)
    intersection = size[..., 0] * size[..., 1]
    return intersection, box_area(a)[..., :, None] + box_area(b)[..., None, :] - intersection


def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> Tensor:
    """Returns intersection over union of every pair: (…, N, 4) and (…, M, 4) to (…, N, M).

    Raises:
        ValueError: a format that torchvision has not either.
        UnsupportedError: a format of rotated boxes.
    """
    if fmt in ROTATED:
        raise UnsupportedError("box_iou of rotated boxes", f"convert {fmt!r} to 'xyxy' boxes")
    if fmt not in FORMATS:
        raise ValueError(f"box format {fmt!r} is none of {', '.join(FORMATS)}")
    if fmt != "xyxy":
        boxes1, boxes2 = (box_convert(boxes, fmt, "xyxy") for boxes in (boxes1, boxes2))
    intersection, union = _intersection_union(boxes1, boxes2)
    return intersection / union


def _enclosing(a: Tensor, b: Tensor) -> Tensor:
    """Returns width and height of the smallest box around every pair, (N, M, 2)."""
    low = a[..., :, None, :2].minimum(b[..., None, :, :2])
    high = a[..., :, None, 2:].maximum(b[..., None, :, 2:])
    return _float(high - low).clamp(min=0)


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Returns generalized IoU of every pair, in (-1, 1]: (N, 4) and (M, 4) to (N, M).

    Rezatofighi et al., 2019.
    """
    intersection, union = _intersection_union(boxes1, boxes2)
    size = _enclosing(boxes1, boxes2)
    hull = size[..., 0] * size[..., 1]
    return intersection / union - (hull - union) / hull


def centre(boxes: Tensor) -> Tensor:
    """Returns the boxes' centres: (…, 4) to (…, 2)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def sides(boxes: Tensor) -> Tensor:
    """Returns the boxes' widths and heights: (…, 4) to (…, 2)."""
    return boxes[..., 2:] - boxes[..., :2]


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """Returns distance IoU of every pair: (N, 4) and (M, 4) to (N, M). Zheng et al., 2020."""
    a, b = _float(boxes1), _float(boxes2)
    intersection, union = _intersection_union(a, b)
    diagonal = (_enclosing(a, b) ** 2).sum(-1) + eps
    apart = ((centre(a)[..., :, None, :] - centre(b)[..., None, :, :]) ** 2).sum(-1)
    return intersection / union - apart / diagonal


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """Returns complete IoU of every pair: (N, 4) and (M, 4) to (N, M). Zheng et al., 2020."""
    a, b = _float(boxes1), _float(boxes2)
    iou = box_iou(a, b)
    (wa, ha), (wb, hb) = sides(a).unbind(-1), sides(b).unbind(-1)
    difference = (wa / ha).atan()[..., :, None] - (wb / hb).atan()[..., None, :]
    v = (4 / math.pi**2) * difference**2
    alpha = (v / (1 - iou + v + eps)).detach()
    return distance_box_iou(a, b, eps) - alpha * v


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the boxes (…, 4) with their corners moved into an image of `size` (height, width)."""
    height, width = size
    x = boxes[..., 0::2].clamp(min=0, max=width)
    y = boxes[..., 1::2].clamp(min=0, max=height)
    return stack((x, y), dim=boxes.dim()).reshape(boxes.shape)


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Returns the indices, int64, of the boxes (N, 4) with both sides at least `min_size`."""
    big = (boxes[:, 2] - boxes[:, 0] >= min_size) & (boxes[:, 3] - boxes[:, 1] >= min_size)
    return big.nonzero()[:, 0]


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Returns the boxes (…, 4) in another format: xyxy, xywh (corner, size), cxcywh (centre, size);
    or rotated ones: xywhr and cxcywhr with an angle in degrees, (…, 5), xyxyxyxy, (…, 8).

    Raises:
        ValueError: a format that is none of these.
        NotImplementedError: from rotated boxes to others, or the reverse.
    """
    for given in (in_fmt, out_fmt):
        if given not in FORMATS + ROTATED:
            raise ValueError(f"box format {given!r} is none of {', '.join(FORMATS + ROTATED)}")
    if in_fmt == out_fmt:
        return boxes.clone()
    if (in_fmt in ROTATED) != (out_fmt in ROTATED):
        raise NotImplementedError(f"boxes are not converted from {in_fmt} to {out_fmt}")
    if in_fmt in ROTATED:
        return convert(boxes, in_fmt, out_fmt)
    first, second = boxes[..., :2], boxes[..., 2:]
    if in_fmt == "xywh":
        first, second = first, first + second
    elif in_fmt == "cxcywh":
        first, second = first - second / 2, first + second / 2
    if out_fmt == "xywh":
        first, second = first, second - first
    elif out_fmt == "cxcywh":
        first, second = (first + second) / 2, second - first
    return cat((first, second), dim=-1)


def masks_to_boxes(masks: Tensor) -> Tensor:
    """Returns the smallest box around each mask, zeros if empty: (N, H, W) to (N, 4), float32."""
    rows = []
    for mask in masks.unbind(0):
        found = mask.nonzero()
        if not len(found):
            rows.append(masks.new_zeros(4).float())
            continue
        low, high = found.amin(0), found.amax(0)
        rows.append(stack((low[1], low[0], high[1], high[0])).float())
    if not rows:
        return masks.new_zeros((0, 4)).float()
    return stack(rows)
