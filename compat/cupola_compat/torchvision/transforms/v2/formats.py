"""Formats of boxes; cutting off and leaving out what is not inside the picture.

Turned boxes are not supported.
"""

from __future__ import annotations

from typing import Any

import cupola
from cupola.tensor import Tensor
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.tv_tensors import BoundingBoxFormat, is_rotated_bounding_format

XYXY, XYWH, CXCYWH = (BoundingBoxFormat[name] for name in ("XYXY", "XYWH", "CXCYWH"))
Size = tuple[int, int]


def plain_format(value: Any) -> BoundingBoxFormat:
    """The format, of its name or of itself.

    Raises:
        cupola.UnsupportedError: a format of turned boxes.
    """
    found = BoundingBoxFormat[value.upper()] if isinstance(value, str) else value
    if is_rotated_bounding_format(found):
        raise cupola.UnsupportedError(
            f"torchvision.tv_tensors.BoundingBoxFormat.{found.name}",
            "transforms of turned boxes are not implemented",
        )
    return found


def corners_of(boxes: Tensor, format: BoundingBoxFormat) -> Tensor:
    """Boxes as [left, top, right, bottom]; integers stay integers."""
    if format is XYXY:
        return boxes
    first, size = boxes[..., :2], boxes[..., 2:]
    if format is XYWH:
        return cupola.cat([first, first + size], -1)
    if not boxes.is_floating_point():
        first, size = first.float(), size.float()
    low = first - size / 2
    return cupola.cat([low, low + size], -1).to(boxes.dtype)


def from_corners(boxes: Tensor, format: BoundingBoxFormat) -> Tensor:
    if format is XYXY:
        return boxes
    low, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    if format is XYWH:
        return cupola.cat([low, size], -1)
    mode = None if boxes.is_floating_point() else "floor"
    return cupola.cat([(low * 2 + size).div(2, rounding_mode=mode), size], -1)


def _converted(boxes: Tensor, old: BoundingBoxFormat, new: BoundingBoxFormat) -> Tensor:
    if old is new:
        return boxes
    if old is XYWH and new is CXCYWH:  # of integers, half a size is rounded down
        first, size = boxes[..., :2], boxes[..., 2:]
        mode = None if boxes.is_floating_point() else "floor"
        return cupola.cat([first + size.div(2, rounding_mode=mode), size], -1)
    return from_corners(corners_of(boxes, old), new)


def _is_plain(inpt: Any) -> bool:
    return isinstance(inpt, Tensor) and not isinstance(inpt, tv_tensors.TVTensor)


def convert_bounding_box_format(
    inpt: Any, old_format: Any = None, new_format: Any = None, inplace: bool = False
) -> Any:
    """Boxes in another format; the old one is given for plain tensors only.

    Raises:
        TypeError: no new format, or neither boxes nor a plain tensor.
        ValueError: an old format is missing for a plain tensor, or given for boxes.
    """
    if new_format is None:
        raise TypeError("convert_bounding_box_format() missing 1 required argument: 'new_format'")
    if _is_plain(inpt):
        if old_format is None:
            raise ValueError("For pure tensor inputs, `old_format` has to be passed.")
        found = _converted(inpt, plain_format(old_format), plain_format(new_format))
        return inpt.copy_(found) if inplace and found is not inpt else found
    if not isinstance(inpt, tv_tensors.BoundingBoxes):
        raise TypeError(
            "Input can either be a plain tensor or a bounding box tv_tensor, "
            f"but got {type(inpt)} instead."
        )
    if old_format is not None:
        raise ValueError("For bounding box tv_tensor inputs, `old_format` must not be passed.")
    new = plain_format(new_format)
    found = _converted(inpt.as_subclass(Tensor), plain_format(inpt.format), new)
    return tv_tensors.wrap(found, like=inpt, format=new)


def clamped(boxes: Tensor, format: Any, size: Size, mode: str | None) -> Tensor:
    if mode is None:
        return boxes.clone()
    work = boxes if boxes.is_floating_point() else boxes.float()
    x1, y1, x2, y2 = corners_of(work, plain_format(format)).unbind(-1)
    inside = [v.clamp(0, size[i]) for v, i in ((x1, 1), (y1, 0), (x2, 1), (y2, 0))]
    return from_corners(cupola.stack(inside, -1), plain_format(format)).to(boxes.dtype)


def clamp_bounding_boxes(
    inpt: Any, format: Any = None, canvas_size: Any = None, clamping_mode: str | None = "auto"
) -> Any:
    """Boxes cut off at the borders of their picture.

    Raises:
        TypeError: neither boxes nor a plain tensor.
        ValueError: any other clamping mode; metadata missing for a plain tensor or given for boxes.
    """
    if clamping_mode not in (None, "soft", "hard", "auto"):
        raise ValueError(f"clamping_mode must be soft, hard, auto or None, got {clamping_mode}")
    if _is_plain(inpt):
        if format is None or canvas_size is None or clamping_mode == "auto":
            raise ValueError(
                "For pure tensor inputs, `format`, `canvas_size` and `clamping_mode` have to be "
                "passed."
            )
        return clamped(inpt, format, canvas_size, clamping_mode)
    if not isinstance(inpt, tv_tensors.BoundingBoxes):
        raise TypeError(
            "Input can either be a plain tensor or a bounding box tv_tensor, "
            f"but got {type(inpt)} instead."
        )
    if format is not None or canvas_size is not None:
        raise ValueError(
            "For bounding box tv_tensor inputs, `format` and `canvas_size` must not be passed."
        )
    mode = inpt.clamping_mode if clamping_mode == "auto" else clamping_mode
    found = clamped(inpt.as_subclass(Tensor), inpt.format, inpt.canvas_size, mode)
    return tv_tensors.wrap(found, like=inpt)


def clamp_keypoints(inpt: Any, canvas_size: Any = None) -> Any:
    """Points moved to the nearest pixel of their picture.

    Raises:
        TypeError: neither points nor a plain tensor.
        ValueError: the size is missing for a plain tensor, or given for points.
    """
    if not _is_plain(inpt) and not isinstance(inpt, tv_tensors.KeyPoints):
        raise TypeError(
            "Input can either be a plain tensor or a keypoints tv_tensor, "
            f"but got {type(inpt)} instead."
        )
    if _is_plain(inpt):
        if canvas_size is None:
            raise ValueError("For pure tensor inputs, `canvas_size` has to be passed.")
    elif canvas_size is not None:
        raise ValueError("For keypoints tv_tensor inputs, `canvas_size` must not be passed.")
    height, width = inpt.canvas_size if canvas_size is None else canvas_size
    points = inpt.as_subclass(Tensor)
    x, y = points[..., 0].clamp(0, width - 1), points[..., 1].clamp(0, height - 1)
    found = cupola.stack([x, y], -1)
    return found if _is_plain(inpt) else tv_tensors.wrap(found, like=inpt)


def valid_boxes(boxes: Tensor, format: Any, size: Size, min_size: float, min_area: float) -> Tensor:
    """Which boxes (N, 4) are large enough and inside their picture."""
    x1, y1, x2, y2 = corners = corners_of(boxes.as_subclass(Tensor), plain_format(format)).unbind(
        -1
    )
    width, height = x2 - x1, y2 - y1
    valid = (width >= min_size) & (height >= min_size) & (width * height >= min_area)
    for value, limit in zip(corners, (size[1], size[0]) * 2, strict=True):
        valid = valid & (value >= 0) & (value <= limit)
    return valid


def valid_points(points: Tensor, size: Size) -> Tensor:
    """Which points, or groups of them (N, …, 2), are inside their picture."""
    plain = points.as_subclass(Tensor)
    x, y = plain[..., 0], plain[..., 1]
    valid = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    return valid.flatten(1).all(1) if valid.ndim > 1 else valid


def sanitize_bounding_boxes(
    bounding_boxes: Any,
    format: Any = None,
    canvas_size: Any = None,
    min_size: float = 1.0,
    min_area: float = 1.0,
) -> tuple[Any, Tensor]:
    """The boxes that are large enough and inside their picture, and which they are (N,).

    Raises:
        ValueError: metadata missing for a plain tensor or given for boxes, or neither of the two.
    """
    given = format is not None and canvas_size is not None
    if _is_plain(bounding_boxes):
        if not given:
            raise ValueError(
                "format and canvas_size cannot be None if bounding_boxes is a pure tensor. "
                f"Got format={format} and canvas_size={canvas_size}."
            )
        valid = valid_boxes(bounding_boxes, format, canvas_size, min_size, min_area)
        return bounding_boxes[valid], valid
    if not isinstance(bounding_boxes, tv_tensors.BoundingBoxes):
        raise ValueError(
            "bounding_boxes must be a tv_tensors.BoundingBoxes instance or a pure tensor."
        )
    if format is not None or canvas_size is not None:
        raise ValueError(
            "format and canvas_size must be None when bounding_boxes is a "
            f"tv_tensors.BoundingBoxes instance. Got format={format} and canvas_size={canvas_size}."
        )
    boxes = bounding_boxes
    valid = valid_boxes(boxes, boxes.format, boxes.canvas_size, min_size, min_area)
    return tv_tensors.wrap(boxes.as_subclass(Tensor)[valid], like=boxes), valid


def sanitize_keypoints(key_points: Any, canvas_size: Any = None) -> tuple[Any, Tensor]:
    """The points that are inside their picture, and which they are (N,).

    Raises:
        ValueError: the size is missing for a plain tensor or given for points, or neither.
    """
    if _is_plain(key_points):
        if canvas_size is None:
            raise ValueError("canvas_size cannot be None if key_points is a pure tensor.")
        valid = valid_points(key_points, canvas_size)
        return key_points[valid], valid
    if not isinstance(key_points, tv_tensors.KeyPoints):
        raise ValueError("key_points must be a tv_tensors.KeyPoints instance or a pure tensor.")
    if canvas_size is not None:
        raise ValueError(
            "canvas_size must be None when key_points is a tv_tensors.KeyPoints instance. "
            f"Got canvas_size={canvas_size}."
        )
    valid = valid_points(key_points, key_points.canvas_size)
    return tv_tensors.wrap(key_points.as_subclass(Tensor)[valid], like=key_points), valid
