"""Geometric operations (torchvision.transforms.functional), on PIL images and on tensors.

A tensor (…, C, H, W) is sampled at a grid of positions, with "nearest" or "bilinear"
interpolation; coordinates of matrices are in pixels from the image's centre, y downwards.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

import cupola
from cupola.nn import functional as nnf
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms.basic import (
    get_dimensions,
    is_tensor,
    pil_fill,
    pil_to_tensor,
    to_pil_image,
)
from cupola_compat.torchvision.transforms.interpolation import (
    PIL_FILTERS,
    InterpolationMode,
    interpolation_mode,
)

NEAREST, BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR


def _sample(img: Tensor, grid: Tensor, mode: InterpolationMode, fill: Any) -> Tensor:
    """Samples a tensor at a grid (1, H', W', 2); what lies outside becomes `fill`."""
    if mode not in (NEAREST, BILINEAR):
        raise ValueError(f"Interpolation mode {mode.value!r} is unsupported with Tensor input")
    work = img.reshape(-1, *img.shape[-3:])
    work = work if img.is_floating_point() else work.float()
    grid = grid.to(work.dtype).expand(work.shape[0], *grid.shape[1:])
    found = nnf.grid_sample(work, grid, mode=mode.value, align_corners=False)
    if fill is not None:
        values = list(fill) if isinstance(fill, (list, tuple)) else [float(fill)]
        if len(values) not in (1, img.shape[-3]):
            raise ValueError(
                "The number of elements in 'fill' cannot broadcast to match the number of channels "
                f"of the image ({len(values)} != {img.shape[-3]})"
            )
        color = cupola.tensor(values, dtype=work.dtype, device=img.device).view(1, -1, 1, 1)
        inside = nnf.grid_sample(
            cupola.ones_like(work[:, :1]), grid, mode=mode.value, align_corners=False
        )
        if mode is NEAREST:
            found = cupola.where(inside < 0.5, color, found)
        else:
            found = found * inside + (1.0 - inside) * color
    found = found.reshape(*img.shape[:-2], *found.shape[-2:])
    return found if img.is_floating_point() else found.round().to(img.dtype)


def _affine_grid(
    matrix: Sequence[float], size: tuple[int, int], out: tuple[int, int], like: Tensor
) -> Tensor:
    """Positions in an image of `size` (height, width) for each pixel of one of size `out`."""
    dtype = like.dtype if like.is_floating_point() else cupola.float32
    theta = cupola.tensor(list(matrix), dtype=dtype, device=like.device).view(2, 3)
    (height, width), (rows, columns) = size, out
    x = cupola.linspace(-columns * 0.5 + 0.5, columns * 0.5 - 0.5, columns, device=like.device)
    y = cupola.linspace(-rows * 0.5 + 0.5, rows * 0.5 - 0.5, rows, device=like.device)
    points = cupola.stack(
        [x.expand(rows, columns), y[:, None].expand(rows, columns), cupola.ones(rows, columns)], -1
    ).to(dtype)
    half = cupola.tensor([0.5 * width, 0.5 * height], dtype=dtype, device=like.device)
    return (points.view(-1, 3) @ (theta.T / half)).view(1, rows, columns, 2)


def _turned(angle: float, shear: Sequence[float]) -> tuple[float, float, float, float]:
    """The matrix (a, b; c, d), of determinant 1, that shears and then turns."""
    turn, shear_x, shear_y = (math.radians(v) for v in (angle, *shear))
    a = math.cos(turn - shear_y) / math.cos(shear_y)
    c = math.sin(turn - shear_y) / math.cos(shear_y)
    return a, -a * math.tan(shear_x) - math.sin(turn), c, -c * math.tan(shear_x) + math.cos(turn)


def forward_matrix(
    center: Sequence[float],
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
) -> list[float]:
    """The map from an input position to an output position, row by row (2 x 3)."""
    m00, m01, m10, m11 = (v * scale for v in _turned(angle, shear))
    (x, y), (move_x, move_y) = center, translate
    return [
        m00, m01, x + move_x - m00 * x - m01 * y, m10, m11, y + move_y - m10 * x - m11 * y,
    ]  # fmt: skip


def inverse_matrix(
    center: Sequence[float],
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
) -> list[float]:
    """The map from an output position to an input position, row by row (2 x 3).

    Forward, a point is sheared, scaled and turned about `center`, then moved by `translate`.
    """
    a, b, c, d = _turned(angle, shear)
    m00, m01, m10, m11 = d / scale, -b / scale, -c / scale, a / scale  # the determinant is 1
    x, y = center[0] + translate[0], center[1] + translate[1]
    return [m00, m01, center[0] - m00 * x - m01 * y, m10, m11, center[1] - m10 * x - m11 * y]


def parsed_affine(
    translate: Sequence[float], scale: float, shear: Any
) -> tuple[list[float], list[float]]:
    """The translation, and the shear of both axes.

    Raises:
        ValueError: a scale that is not positive, or lists of another length than two.
    """
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    shear = [shear, 0.0] if isinstance(shear, numbers.Number) else list(shear)
    shear = shear * 2 if len(shear) == 1 else shear
    if len(shear) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    return list(translate), shear


def affine(
    img: Any,
    angle: float,
    translate: Sequence[int],
    scale: float,
    shear: Any,
    interpolation: InterpolationMode | int = NEAREST,
    fill: Any = None,
    center: Sequence[int] | None = None,
) -> Any:
    """Turns (degrees, clockwise), moves (pixels), scales and shears (degrees) about the centre.

    Raises:
        ValueError: a scale that is not positive, or lists of another length than two.
    """
    mode = interpolation_mode(interpolation)
    translate, shear = parsed_affine(translate, scale, shear)
    _, height, width = get_dimensions(img)
    if is_tensor(img):
        middle = [0.0, 0.0]
        if center is not None:
            middle = [center[0] - width * 0.5, center[1] - height * 0.5]
        matrix = inverse_matrix(middle, angle, [float(t) for t in translate], scale, shear)
        size = (height, width)
        return _sample(img, _affine_grid(matrix, size, size, img), mode, fill)
    middle = [width * 0.5, height * 0.5] if center is None else center
    matrix = inverse_matrix(middle, angle, translate, scale, shear)
    from PIL import Image

    return img.transform(
        img.size, Image.Transform.AFFINE, matrix, PIL_FILTERS[mode], fillcolor=pil_fill(fill, img)
    )


def whole_size(matrix: Sequence[float], height: int, width: int) -> tuple[int, int]:
    """Height and width that hold the whole of a turned image."""
    corners = np.array([[x * width, y * height, 1.0] for x in (-0.5, 0.5) for y in (-0.5, 0.5)])
    found = corners @ np.array(matrix).reshape(2, 3).T + np.array([width, height]) / 2
    low, high = np.trunc(found.min(0) / 1e-4) * 1e-4, np.trunc(found.max(0) / 1e-4) * 1e-4
    columns, rows = np.ceil(high.round(9)) - np.floor(low.round(9))
    return int(rows), int(columns)


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode | int = NEAREST,
    expand: bool = False,
    center: Sequence[int] | None = None,
    fill: Any = None,
) -> Any:
    """Turns an image (degrees, counter-clockwise); `expand` makes room for all of it."""
    mode = interpolation_mode(interpolation)
    if not is_tensor(img):
        color = pil_fill(fill, img)
        return img.rotate(angle, PIL_FILTERS[mode], expand, center, fillcolor=color)
    _, height, width = get_dimensions(img)
    middle = [0.0, 0.0]
    if center is not None:
        middle = [center[0] - width * 0.5, center[1] - height * 0.5]
    matrix = inverse_matrix(middle, -angle, [0.0, 0.0], 1.0, [0.0, 0.0])
    out = whole_size(matrix, height, width) if expand else (height, width)
    return _sample(img, _affine_grid(matrix, (height, width), out, img), mode, fill)


def perspective_coefficients(start: Any, end: Any, coefficients: Any = None) -> list[float]:
    """(a … h) with which (ax + by + c, dx + ey + f) / (gx + hy + 1) takes `end` to `start`.

    Raises:
        ValueError: neither four corners before and after nor eight coefficients, or both.
    """
    if coefficients is not None:
        if start is not None or end is not None:
            raise ValueError(
                "The startpoints/endpoints and the coefficients shouldn't be defined concurrently."
            )
        if len(coefficients) != 8:
            raise ValueError("Argument coefficients should have 8 float values")
        return [float(v) for v in coefficients]
    if start is None or end is None:
        raise ValueError(
            "Either the startpoints/endpoints or the coefficients must have non `None` values."
        )
    if len(start) != 4 or len(end) != 4:
        raise ValueError(
            f"Please provide exactly four corners, got {len(start)} startpoints and "
            f"{len(end)} endpoints."
        )
    rows = []
    for (x, y), (u, v) in zip(end, start, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    right = np.asarray(start, dtype=np.float64).reshape(8)
    solved = np.linalg.lstsq(np.array(rows, dtype=np.float64), right, rcond=None)[0]
    return [float(v) for v in solved.astype(np.float32)]


def perspective(
    img: Any,
    startpoints: Any,
    endpoints: Any,
    interpolation: InterpolationMode | int = BILINEAR,
    fill: Any = None,
    coefficients: Any = None,
) -> Any:
    """Moves the corners `startpoints` to `endpoints`: four points [x, y] each, clockwise.

    Raises:
        ValueError: neither four corners before and after nor eight coefficients, or both.
    """
    mode = interpolation_mode(interpolation)
    found = perspective_coefficients(startpoints, endpoints, coefficients)
    a, b, c, d, e, f, g, h = found
    if not is_tensor(img):
        from PIL import Image

        kind, color = Image.Transform.PERSPECTIVE, pil_fill(fill, img)
        return img.transform(img.size, kind, found, PIL_FILTERS[mode], fillcolor=color)
    height, width = img.shape[-2:]
    x = cupola.linspace(0.5, width - 0.5, width, device=img.device).expand(height, width)
    y = cupola.linspace(0.5, height - 0.5, height, device=img.device)[:, None]
    down = g * x + h * y + 1.0
    across = (a * x + b * y + c) / (0.5 * width) / down - 1.0
    along = (d * x + e * y + f) / (0.5 * height) / down - 1.0
    return _sample(img, cupola.stack([across, along], -1)[None], mode, fill)


def elastic_transform(
    img: Any,
    displacement: Tensor,
    interpolation: InterpolationMode | int = BILINEAR,
    fill: Any = None,
) -> Any:
    """Moves each pixel by `displacement` (1, H, W, 2), in halves of the image's sides.

    Raises:
        TypeError: the displacement is not a tensor.
        ValueError: it has another shape.
    """
    if not isinstance(displacement, Tensor):
        raise TypeError("Argument displacement should be a Tensor")
    source = img if is_tensor(img) else pil_to_tensor(img)
    height, width = source.shape[-2:]
    if tuple(displacement.shape) != (1, height, width, 2):
        raise ValueError(
            f"Argument displacement shape should be {(1, height, width, 2)}, but given "
            f"{tuple(displacement.shape)}"
        )
    x = cupola.linspace((1 - width) / width, (width - 1) / width, width).expand(height, width)
    y = cupola.linspace((1 - height) / height, (height - 1) / height, height)[:, None]
    grid = cupola.stack([x, y.expand(height, width)], -1)[None].to(source.device)
    moved = grid + displacement.to(source.device)
    found = _sample(source, moved, interpolation_mode(interpolation), fill)
    return found if is_tensor(img) else to_pil_image(found, img.mode)


def gaussian_blur(img: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """Blurs with a Gaussian of `kernel_size` [x, y] pixels and deviation `sigma` [x, y].

    Raises:
        ValueError: sizes that are not odd and positive, or deviations that are not positive.
    """
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    if len(sizes) != 2:
        raise ValueError(f"If kernel_size is a sequence its length should be 2. Got {len(sizes)}")
    if any(size % 2 == 0 or size < 0 for size in sizes):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {sizes}")
    if sigma is None:
        sigma = [size * 0.15 + 0.35 for size in sizes]
    sigma = [float(sigma)] if isinstance(sigma, (int, float)) else list(sigma)
    sigma = sigma * 2 if len(sigma) == 1 else sigma
    if len(sigma) != 2:
        raise ValueError(f"If sigma is a sequence, its length should be 2. Got {len(sigma)}")
    if min(sigma) <= 0.0:
        raise ValueError(f"sigma should have positive values. Got {sigma}")
    source = img if is_tensor(img) else pil_to_tensor(img)
    work = source if source.is_floating_point() else source.float()
    bells = []
    for size, deviation in zip(sizes, sigma, strict=True):
        x = cupola.linspace(-(size - 1) * 0.5, (size - 1) * 0.5, size, device=work.device)
        bell = cupola.exp(-0.5 * (x.to(work.dtype) / deviation) ** 2)
        bells.append(bell / bell.sum())
    kernel = bells[1][:, None] * bells[0][None, :]
    half_x, half_y = sizes[0] // 2, sizes[1] // 2
    planes = nnf.pad(
        work.reshape(-1, 1, *work.shape[-2:]), [half_x, half_x, half_y, half_y], mode="reflect"
    )
    found = nnf.conv2d(planes, kernel[None, None]).reshape(source.shape)
    found = found if source.is_floating_point() else found.round().to(source.dtype)
    return found if is_tensor(img) else to_pil_image(found, img.mode)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Tensor, inplace: bool = False) -> Tensor:
    """Writes `v` into the rectangle of h x w pixels at row i and column j.

    Raises:
        TypeError: the image is not a tensor.
    """
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    img = img if inplace else img.clone()
    img[..., i : i + h, j : j + w] = v
    return img
