"""What the second interface's functions do to boxes and to key points.

Kernels take plain tensors; what a box's numbers are, and the size [height, width] of the picture,
are arguments. Turned boxes are not supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupola
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms.geometry import (
    forward_matrix,
    inverse_matrix,
    parsed_affine,
    perspective_coefficients,
    whole_size,
)
from cupola_compat.torchvision.transforms.v2.formats import (
    XYWH,
    XYXY,
    Size,
    clamped,
    corners_of,
    from_corners,
    plain_format,
)
from cupola_compat.torchvision.transforms.v2.sizes import (
    center_anchor,
    pair,
    parsed_padding,
    resized,
)
from cupola_compat.torchvision.tv_tensors import BoundingBoxFormat


def horizontal_flip_bounding_boxes(
    bounding_boxes: Tensor, format: Any, canvas_size: Size
) -> Tensor:
    """Boxes mirrored left and right."""
    return _mirrored(bounding_boxes, plain_format(format), canvas_size[1], 0)


def vertical_flip_bounding_boxes(bounding_boxes: Tensor, format: Any, canvas_size: Size) -> Tensor:
    """Boxes mirrored top and bottom."""
    return _mirrored(bounding_boxes, plain_format(format), canvas_size[0], 1)


def _mirrored(boxes: Tensor, format: BoundingBoxFormat, side: int, axis: int) -> Tensor:
    parts = list(boxes.unbind(-1))
    first, second = parts[axis], parts[axis + 2]
    if format is XYXY:
        parts[axis], parts[axis + 2] = side - second, side - first
    else:
        parts[axis] = side - (first + second if format is XYWH else first)
    return cupola.stack(parts, -1)


def horizontal_flip_keypoints(keypoints: Tensor, canvas_size: Size) -> Tensor:
    """Points mirrored left and right."""
    return cupola.stack([canvas_size[1] - 1 - keypoints[..., 0], keypoints[..., 1]], -1)


def vertical_flip_keypoints(keypoints: Tensor, canvas_size: Size) -> Tensor:
    """Points mirrored top and bottom."""
    return cupola.stack([keypoints[..., 0], canvas_size[0] - 1 - keypoints[..., 1]], -1)


def resize_bounding_boxes(
    bounding_boxes: Tensor,
    canvas_size: Size,
    size: Any,
    max_size: int | None = None,
    format: Any = XYXY,
    clamping_mode: str | None = "soft",
) -> tuple[Tensor, Size]:
    """Boxes of the resized picture, and its size."""
    plain_format(format)
    return resize_keypoints(bounding_boxes, size, canvas_size, max_size)


def resize_keypoints(
    keypoints: Tensor, size: Any, canvas_size: Size, max_size: int | None = None
) -> tuple[Tensor, Size]:
    """Points of the resized picture, and its size."""
    height, width = resized(canvas_size, size, max_size)
    if (height, width) == tuple(canvas_size):
        return keypoints, canvas_size
    ratios = [width / canvas_size[1], height / canvas_size[0]] * (keypoints.shape[-1] // 2)
    scaled = keypoints * cupola.tensor(ratios, device=keypoints.device)
    return scaled.to(keypoints.dtype), (height, width)


def _shift(boxes: Tensor, format: BoundingBoxFormat, x: int, y: int) -> Tensor:
    step = [x, y] + ([x, y] if format is XYXY else [0, 0])
    return boxes + cupola.tensor(step, dtype=boxes.dtype, device=boxes.device)


def pad_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    canvas_size: Size,
    padding: Any,
    padding_mode: str = "constant",
    clamping_mode: str | None = "soft",
) -> tuple[Tensor, Size]:
    """Boxes of the padded picture, and its size.

    Raises:
        ValueError: any padding mode but "constant".
    """
    if padding_mode != "constant":
        raise ValueError(f"Padding mode '{padding_mode}' is not supported with bounding boxes")
    left, top, right, bottom = parsed_padding(padding)
    size = (canvas_size[0] + top + bottom, canvas_size[1] + left + right)
    moved = _shift(bounding_boxes, plain_format(format), left, top)
    return clamped(moved, format, size, clamping_mode), size


def pad_keypoints(
    keypoints: Tensor, canvas_size: Size, padding: Any, padding_mode: str = "constant"
) -> tuple[Tensor, Size]:
    """Points of the padded picture, and its size.

    Raises:
        ValueError: any padding mode but "constant".
    """
    if padding_mode != "constant":
        raise ValueError(
            f"Padding mode '{padding_mode}' is not supported with KeyPoints "
            "(supported modes are constant)"
        )
    left, top, right, bottom = parsed_padding(padding)
    size = (canvas_size[0] + top + bottom, canvas_size[1] + left + right)
    return keypoints + cupola.tensor([left, top], dtype=keypoints.dtype), size


def crop_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    clamping_mode: str | None = "soft",
) -> tuple[Tensor, Size]:
    """Boxes of the part that is cut out, and its size."""
    moved = _shift(bounding_boxes, plain_format(format), -left, -top)
    return clamped(moved, format, (height, width), clamping_mode), (height, width)


def crop_keypoints(
    keypoints: Tensor, top: int, left: int, height: int, width: int
) -> tuple[Tensor, Size]:
    """Points of the part that is cut out, and its size."""
    moved = keypoints - cupola.tensor([left, top], dtype=keypoints.dtype, device=keypoints.device)
    return moved, (height, width)


def center_crop_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    canvas_size: Size,
    output_size: Any,
    clamping_mode: str | None = "soft",
) -> tuple[Tensor, Size]:
    """Boxes of the middle that is cut out, and its size."""
    part = (*center_anchor(pair(output_size), canvas_size), *pair(output_size))
    return crop_bounding_boxes(bounding_boxes, format, *part, clamping_mode=clamping_mode)


def center_crop_keypoints(inpt: Tensor, canvas_size: Size, output_size: Any) -> tuple[Tensor, Size]:
    """Points of the middle that is cut out, and its size."""
    return crop_keypoints(inpt, *center_anchor(pair(output_size), canvas_size), *pair(output_size))


def resized_crop_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    clamping_mode: str | None = "soft",
) -> tuple[Tensor, Size]:
    """Boxes of the part that is cut out and resized, and its size."""
    cut, canvas = crop_bounding_boxes(
        bounding_boxes, format, top, left, height, width, clamping_mode
    )
    return resize_bounding_boxes(cut, canvas, size, None, format, clamping_mode)


def resized_crop_keypoints(
    keypoints: Tensor, top: int, left: int, height: int, width: int, size: Any
) -> tuple[Tensor, Size]:
    """Points of the part that is cut out and resized, and its size."""
    cut, canvas = crop_keypoints(keypoints, top, left, height, width)
    return resize_keypoints(cut, size, canvas)


def _around(boxes: Tensor, format: BoundingBoxFormat) -> Tensor:
    """The four corners (N * 4, 2) of each box."""
    x1, y1, x2, y2 = corners_of(boxes, format).reshape(-1, 4).unbind(-1)
    return cupola.stack([x1, y1, x2, y1, x2, y2, x1, y2], -1).view(-1, 2)


def _boxed(points: Tensor, format: BoundingBoxFormat, size: Size, mode: str | None) -> Tensor:
    """The smallest boxes around four points each, cut off at the picture's borders."""
    groups = points.view(-1, 4, 2)
    corners = cupola.cat([groups.amin(1), groups.amax(1)], -1)
    return from_corners(clamped(corners, XYXY, size, mode), format)


def _moved(
    points: Tensor,
    size: Size,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Any,
    center: Any,
    expand: bool = False,
) -> tuple[Tensor, Size]:
    """Points (N, 2) of the picture that `affine` gives, and its size with room for all of it."""
    height, width = size
    translate, shear = parsed_affine(translate, scale, shear)
    middle = [width * 0.5, height * 0.5] if center is None else center
    values = forward_matrix(middle, angle, translate, scale, shear)
    matrix = cupola.tensor(values, dtype=points.dtype, device=points.device).view(2, 3).T

    def through(where: Tensor) -> Tensor:
        return cupola.cat([where, cupola.ones_like(where[:, :1])], -1) @ matrix

    found = through(points)
    if not expand:
        return found, size
    frame = [[0.0, 0.0], [0.0, height], [width, height], [width, 0.0]]
    edges = through(cupola.tensor(frame, dtype=points.dtype, device=points.device))
    back = inverse_matrix(middle, angle, translate, scale, shear)
    return found - edges.amin(0, keepdim=True), whole_size(back, height, width)


def _affine_boxes(
    boxes: Tensor, format: Any, size: Size, mode: str | None, *how: Any
) -> tuple[Tensor, Size]:
    if boxes.numel() == 0:
        return boxes, size
    work = boxes if boxes.is_floating_point() else boxes.float()
    points, size = _moved(_around(work, plain_format(format)), size, *how)
    found = _boxed(points, plain_format(format), size, mode)
    return found.view(boxes.shape).to(boxes.dtype), size


def affine_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    canvas_size: Size,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Any,
    center: Any = None,
    clamping_mode: str | None = "soft",
) -> Tensor:
    """The smallest boxes around the boxes that are turned, moved, scaled and sheared."""
    how = (angle, translate, scale, shear, center)
    return _affine_boxes(bounding_boxes, format, canvas_size, clamping_mode, *how)[0]


def affine_keypoints(
    keypoints: Tensor,
    canvas_size: Size,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Any,
    center: Any = None,
) -> tuple[Tensor, Size]:
    """Points that are turned, moved, scaled and sheared, and the size of the picture."""
    return _affine_points(keypoints, canvas_size, angle, translate, scale, shear, center)


def _affine_points(points: Tensor, size: Size, *how: Any) -> tuple[Tensor, Size]:
    if points.numel() == 0:
        return points, size
    work = points if points.is_floating_point() else points.float()
    found, size = _moved(work.reshape(-1, 2), size, *how)
    return found.view(points.shape).to(points.dtype), size


def rotate_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    canvas_size: Size,
    angle: float,
    expand: bool = False,
    center: Any = None,
    clamping_mode: str | None = "soft",
) -> tuple[Tensor, Size]:
    """The smallest boxes around the turned boxes, and the size of the turned picture."""
    how = (-angle, [0.0, 0.0], 1.0, [0.0, 0.0], center, expand)
    return _affine_boxes(bounding_boxes, format, canvas_size, clamping_mode, *how)


def rotate_keypoints(
    keypoints: Tensor, canvas_size: Size, angle: float, expand: bool = False, center: Any = None
) -> tuple[Tensor, Size]:
    """Turned points, and the size of the turned picture."""
    how = (-angle, [0.0, 0.0], 1.0, [0.0, 0.0], center, expand)
    return _affine_points(keypoints, canvas_size, *how)


def _through_perspective(points: Tensor, start: Any, end: Any, coefficients: Any) -> Tensor:
    """Where points (N, 2) of the picture before lie in the one after."""
    a, b, c, d, e, f, g, h = perspective_coefficients(start, end, coefficients)
    scale = a * e - b * d
    if scale == 0:
        raise RuntimeError(
            f"Provided perspective_coeffs {[a, b, c, d, e, f, g, h]} can not be inverted. "
            "Denominator is zero"
        )
    rows = [
        [e - f * h, -b + c * h, b * f - c * e],
        [-d + f * g, a - c * g, -a * f + c * d],
        [-e * g + d * h, -a * h + b * g, scale],
    ]
    dtype = points.dtype if points.is_floating_point() else cupola.float32
    inverse = cupola.tensor([[v / scale for v in row] for row in rows], dtype=dtype)
    ones = cupola.ones(points.shape[0], 1, dtype=dtype, device=points.device)
    found = cupola.cat([points.to(dtype), ones], -1) @ inverse.to(points.device).T
    return found[:, :2] / found[:, 2:]


def perspective_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    canvas_size: Size,
    startpoints: Any,
    endpoints: Any,
    coefficients: Any = None,
    clamping_mode: str | None = "soft",
) -> Tensor:
    """The smallest boxes around the boxes after the corners have been moved.

    Raises:
        RuntimeError: a perspective that cannot be inverted.
    """
    if bounding_boxes.numel() == 0:
        return bounding_boxes
    points = _around(bounding_boxes, plain_format(format))
    points = _through_perspective(points, startpoints, endpoints, coefficients)
    found = _boxed(points, plain_format(format), canvas_size, clamping_mode)
    return found.view(bounding_boxes.shape).to(bounding_boxes.dtype)


def perspective_keypoints(
    keypoints: Tensor,
    canvas_size: Size,
    startpoints: Any,
    endpoints: Any,
    coefficients: Any = None,
) -> Tensor:
    """Points after the corners have been moved.

    Raises:
        RuntimeError: a perspective that cannot be inverted.
    """
    if keypoints.numel() == 0:
        return keypoints
    points = keypoints.reshape(-1, 2)
    found = _through_perspective(points, startpoints, endpoints, coefficients)
    return found.view(keypoints.shape).to(keypoints.dtype)


def _displaced(points: Tensor, size: Size, displacement: Tensor) -> Tensor:
    """Points (N, 2) of whole pixels, moved against the displacement where they are."""
    if not isinstance(displacement, Tensor):
        raise TypeError("Argument displacement should be a Tensor")
    height, width = size
    if tuple(displacement.shape) != (1, height, width, 2):
        raise ValueError(
            f"Argument displacement shape should be {(1, height, width, 2)}, "
            f"but given {displacement.shape}"
        )
    dtype = points.dtype if points.is_floating_point() else cupola.float32
    x = points[:, 0].long().clamp(0, width - 1)
    y = points[:, 1].long().clamp(0, height - 1)
    sides = cupola.tensor([width, height], dtype=dtype, device=points.device)
    here = (2 * cupola.stack([x, y], -1) + 1).to(dtype) / sides - 1
    there = here - displacement.to(device=points.device, dtype=dtype)[0, y, x]
    return (there + 1) * (0.5 * sides) - 0.5


def elastic_bounding_boxes(
    bounding_boxes: Tensor,
    format: Any,
    canvas_size: Size,
    displacement: Tensor,
    clamping_mode: str | None = "soft",
) -> Tensor:
    """The smallest boxes around the boxes' displaced corners.

    Raises:
        TypeError: the displacement is not a tensor.
        ValueError: it has another shape.
    """
    if bounding_boxes.numel() == 0:
        return bounding_boxes
    points = _around(bounding_boxes, plain_format(format))
    points = points.ceil() if points.is_floating_point() else points
    moved = _displaced(points, canvas_size, displacement)
    groups = moved.view(-1, 4, 2)
    corners = cupola.cat([groups.amin(1), groups.amax(1)], -1).to(bounding_boxes.dtype)
    inside = clamped(corners, XYXY, canvas_size, clamping_mode)
    return from_corners(inside, plain_format(format)).view(bounding_boxes.shape)


def elastic_keypoints(keypoints: Tensor, canvas_size: Size, displacement: Tensor) -> Tensor:
    """Displaced points.

    Raises:
        TypeError: the displacement is not a tensor.
        ValueError: it has another shape.
    """
    if keypoints.numel() == 0:
        return keypoints
    moved = _displaced(keypoints.reshape(-1, 2), canvas_size, displacement)
    return moved.view(keypoints.shape).to(keypoints.dtype)


def get_size_bounding_boxes(bounding_box: Any, canvas_size: Size | None = None) -> list[int]:
    """Height and width of the picture."""
    return list(bounding_box.canvas_size if canvas_size is None else canvas_size)


get_size_keypoints = get_size_bounding_boxes
