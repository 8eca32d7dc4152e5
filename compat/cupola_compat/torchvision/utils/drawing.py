"""Boxes, masks and points drawn on images by Pillow (torchvision.utils)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import cupola
from cupola.tensor import Tensor
from cupola_compat.torchvision.transforms.functional import (
    convert_image_dtype,
    pil_to_tensor,
    to_pil_image,
)


def _check_image(image: Any, channels: tuple[int, ...] = (3,)) -> None:
    if not isinstance(image, Tensor):
        raise TypeError(f"The image must be a tensor, got {type(image)}")
    if not (image.dtype == cupola.uint8 or image.is_floating_point()):
        raise ValueError(f"The image dtype must be uint8 or float, got {image.dtype}")
    if image.dim() != 3:
        raise ValueError("Pass individual images, not batches")
    if image.shape[0] not in channels:
        raise ValueError("Pass an RGB image. Other Image formats are not supported")


def _colors(colors: Any, count: int) -> list[tuple[int, ...]]:
    """A colour for each object; without any, spread over the cube."""
    from PIL import ImageColor

    if colors is None:
        steps = (2**25 - 1, 2**15 - 1, 2**21 - 1)
        return [tuple(i * step % 255 for step in steps) for i in range(count)]
    if isinstance(colors, list):
        if len(colors) < count:
            raise ValueError(
                "Number of colors must be equal or larger than the number of objects, but got "
                f"{len(colors)} < {count}."
            )
    elif not isinstance(colors, (tuple, str)):
        raise ValueError(
            f"colors must be a tuple or a string, or a list thereof, but got {colors}."
        )
    elif isinstance(colors, tuple) and len(colors) != 3:
        raise ValueError(f"If passed as tuple, colors should be an RGB triplet, but got {colors}.")
    else:
        colors = [colors] * count
    return [ImageColor.getrgb(color) if isinstance(color, str) else color for color in colors]


@cupola.no_grad()
def draw_bounding_boxes(
    image: Tensor,
    boxes: Tensor,
    labels: Sequence[str | None] | None = None,
    colors: Any = None,
    fill: bool = False,
    width: int = 1,
    font: str | None = None,
    font_size: int | None = None,
    label_colors: Any = None,
    label_background_colors: Any = None,
    fill_labels: bool = False,
) -> Tensor:
    """Draws boxes (N, 4) [x1, y1, x2, y2], or (N, 8) four corners, on an image (C, H, W).

    Raises:
        TypeError: the image is not a tensor.
        ValueError: an image, boxes, labels or colours that do not fit together.
    """
    from PIL import ImageDraw, ImageFont

    _check_image(image, (1, 3))
    plain = boxes.shape[-1] == 4
    if plain and bool((boxes[:, :2] > boxes[:, 2:]).any()):
        raise ValueError(
            "Boxes need to be in (xmin, ymin, xmax, ymax) format. Use torchvision.ops.box_convert "
            "to convert them"
        )
    count = boxes.shape[0]
    if count == 0:
        warnings.warn("boxes doesn't contain any box. No box was drawn", stacklevel=2)
        return image
    texts = [None] * count if labels is None else list(labels)
    if len(texts) != count:
        raise ValueError(
            f"Number of boxes ({count}) and labels ({len(texts)}) mismatch. "
            "Please specify labels for each box."
        )
    outlines = _colors(colors, count)
    words, behind = list(outlines), list(outlines)
    if label_colors or fill_labels:
        words = _colors(label_colors or "black", count)
    if fill_labels and label_background_colors:
        behind = _colors(label_background_colors, count)
    letters = ImageFont.truetype(font, font_size or 10) if font else ImageFont.load_default()
    source = image.expand(3, -1, -1) if image.shape[0] == 1 else image
    picture = to_pil_image(convert_image_dtype(source, cupola.uint8))
    draw = ImageDraw.Draw(picture, "RGBA") if fill else ImageDraw.Draw(picture)
    for box, color, text, word, back in zip(
        boxes.to(cupola.int64).tolist(), outlines, texts, words, behind, strict=True
    ):
        inside = (*color, 100) if fill else None
        if plain:
            draw.rectangle(box, width=width, outline=color, fill=inside)
        else:
            draw.polygon(box, width=width, outline=color, fill=inside)
        if text is None:
            continue
        corner = (box[0] + width + 1, box[1] + width + 1)
        if fill_labels:
            left, top, right, bottom = draw.textbbox(corner, text, font=letters)
            draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=back)
        draw.text(corner, text, fill=word, font=letters)
    return convert_image_dtype(pil_to_tensor(picture), image.dtype)


@cupola.no_grad()
def draw_segmentation_masks(
    image: Tensor, masks: Tensor, alpha: float = 0.8, colors: Any = None
) -> Tensor:
    """Lays coloured masks (N, H, W) or (H, W), of bool, over an image (3, H, W).

    Raises:
        TypeError: the image is not a tensor.
        ValueError: an image, masks or colours that do not fit together.
    """
    _check_image(image)
    masks = masks[None] if masks.dim() == 2 else masks
    if masks.dim() != 3:
        raise ValueError("masks must be of shape (H, W) or (batch_size, H, W)")
    if masks.dtype != cupola.bool:
        raise ValueError(f"The masks must be of dtype bool. Got {masks.dtype}")
    if masks.shape[-2:] != image.shape[-2:]:
        raise ValueError("The image and the masks must have the same height and width")
    if masks.shape[0] == 0:
        warnings.warn("masks doesn't contain any mask. No mask was drawn", stacklevel=2)
        return image
    painted = image.detach()
    scale = 255 if image.is_floating_point() else 1
    for mask, color in zip(masks, _colors(colors, masks.shape[0]), strict=False):
        paint = cupola.tensor([v / scale for v in color], device=image.device).to(image.dtype)
        painted = cupola.where(mask, paint[:, None, None], painted)
    painted = cupola.where(masks.sum(dim=0) > 1, cupola.zeros_like(painted), painted)
    return (image * (1 - alpha) + painted * alpha).to(image.dtype)


@cupola.no_grad()
def draw_keypoints(
    image: Tensor,
    keypoints: Tensor,
    connectivity: list[tuple[int, int]] | None = None,
    colors: Any = None,
    radius: int = 2,
    width: int = 3,
    visibility: Tensor | None = None,
) -> Tensor:
    """Draws points (N, K, 2) [x, y], and lines between connected ones, on an image (3, H, W).

    Raises:
        TypeError: the image is not a tensor.
        ValueError: points or their visibility (N, K) have another shape.
    """
    from PIL import ImageDraw

    _check_image(image)
    if keypoints.dim() != 3:
        raise ValueError("keypoints must be of shape (num_instances, K, 2)")
    if visibility is None:
        visibility = cupola.ones(keypoints.shape[:-1], dtype=cupola.bool)
    visibility = visibility.squeeze(-1) if visibility.dim() == 3 else visibility
    if visibility.shape != keypoints.shape[:-1]:
        raise ValueError(
            "keypoints and visibility must have the same dimensionality for num_instances and K. "
            f"Got {tuple(visibility.shape)} and {tuple(keypoints.shape)}"
        )
    picture = to_pil_image(convert_image_dtype(image, cupola.uint8))
    draw = ImageDraw.Draw(picture)
    seen = visibility.bool().tolist()
    for points, visible in zip(keypoints.to(cupola.int64).tolist(), seen, strict=True):
        for (x, y), shown in zip(points, visible, strict=True):
            if shown:
                around = [x - radius, y - radius, x + radius, y + radius]
                draw.ellipse(around, fill=colors, outline=None, width=0)
        for first, second in connectivity or ():
            if visible[first] and visible[second]:
                draw.line((tuple(points[first]), tuple(points[second])), width=width)
    return convert_image_dtype(pil_to_tensor(picture), image.dtype)
