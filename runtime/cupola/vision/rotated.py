"""Boxes that are turned: by their top left corner or centre, size and angle, or by four corners.

Angles are degrees, counter-clockwise on the image, whose y axis points down.
"""

from __future__ import annotations

import math

from cupola.functional.joining import stack
from cupola.tensor import Tensor

ROTATED = ("xywhr", "cxcywhr", "xyxyxyxy")


def _sides(w: Tensor, h: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x and y of the vector along the upper edge, and of the one down the left edge."""
    angle = r * math.pi / 180.0
    cos, sin = angle.cos(), angle.sin()
    return w * cos, -w * sin, h * sin, h * cos


def _to_corner(boxes: Tensor, sign: float) -> Tensor:
    """Centres to top left corners with sign -1, corners to centres with sign 1."""
    x, y, w, h, r = boxes.unbind(-1)
    along_x, along_y, down_x, down_y = _sides(w / 2, h / 2, r)
    return stack((x + sign * (along_x + down_x), y + sign * (along_y + down_y), w, h, r), -1)


def _corners(boxes: Tensor) -> Tensor:
    """From (x, y, w, h, r) to the corners: top left, top right, bottom right, bottom left."""
    x, y, w, h, r = boxes.unbind(-1)
    along_x, along_y, down_x, down_y = _sides(w, h, r)
    right_x, right_y = x + along_x, y + along_y
    third = (right_x + down_x, right_y + down_y)
    return stack((x, y, right_x, right_y, *third, x + down_x, y + down_y), -1)


def _from_corners(boxes: Tensor) -> Tensor:
    """From four corners to (x, y, w, h, r)."""
    x1, y1, x2, y2, x3, y3, _, _ = boxes.unbind(-1)
    width = ((x2 - x1) ** 2 + (y1 - y2) ** 2).sqrt()
    height = ((x3 - x2) ** 2 + (y3 - y2) ** 2).sqrt()
    angle = (y1 - y2).atan2(x2 - x1) * 180 / math.pi
    return stack((x1, y1, width, height, angle), -1)


def convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Returns rotated boxes in another format; integers are rounded, by way of xywhr."""

    def fitting(result: Tensor) -> Tensor:
        return result if boxes.is_floating_point() else result.round().to(boxes.dtype)

    if in_fmt == "cxcywhr":
        boxes = fitting(_to_corner(boxes, -1.0))
    elif in_fmt == "xyxyxyxy":
        boxes = fitting(_from_corners(boxes))
    if out_fmt == "cxcywhr":
        return fitting(_to_corner(boxes, 1.0))
    return fitting(_corners(boxes)) if out_fmt == "xyxyxyxy" else boxes
