"""From images of any size to one batch, and from its detections back to the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cupola import nn
from cupola.functional.creation import empty, zeros
from cupola.functional.joining import stack
from cupola.models.detection.image_list import ImageList
from cupola.nn import functional as F
from cupola.tensor import Tensor, as_tensor

Target = dict[str, Tensor]
Size = tuple[int, int]
# ImageNet's channels, from 0 to 1.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def _ratios(old: Sequence[int], new: Sequence[int]) -> tuple[float, float]:
    """By how much height and width grow, as float32 divides."""
    height, width = (float(np.float32(n) / np.float32(o)) for o, n in zip(old, new))
    return height, width


def resize_boxes(boxes: Tensor, original_size: Sequence[int], new_size: Sequence[int]) -> Tensor:
    """Returns boxes (L, 4) of an image that was resized; sizes are height and width."""
    down, across = _ratios(original_size, new_size)
    return boxes * boxes.new_tensor([across, down, across, down])


def resize_keypoints(
    keypoints: Tensor, original_size: Sequence[int], new_size: Sequence[int]
) -> Tensor:
    """Returns keypoints (…, 3) as (x, y, visible) of an image that was resized."""
    down, across = _ratios(original_size, new_size)
    return keypoints * keypoints.new_tensor([across, down, 1.0])


def _pasted(mask: Tensor, box: Sequence[int], size: Size) -> Tensor:
    """A mask (M, M) interpolated to its box, in an empty image of `size`."""
    x1, y1, x2, y2 = box
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    mask = F.interpolate(
        mask[None, None], size=(height, width), mode="bilinear", align_corners=False
    )[0, 0]
    left, right = max(x1, 0), min(x2 + 1, size[1])
    top, bottom = max(y1, 0), min(y2 + 1, size[0])
    if right <= left or bottom <= top:
        return zeros(size, dtype=mask.dtype, device=mask.device)
    part = mask[top - y1 : bottom - y1, left - x1 : right - x1]
    return F.pad(part, (left, size[1] - right, top, size[0] - bottom))


def paste_masks_in_image(masks: Tensor, boxes: Tensor, img_shape: Size, padding: int = 1) -> Tensor:
    """Returns masks (L, 1, M, M) of boxes as masks of the whole image, (L, 1, H, W)."""
    side = masks.shape[-1]
    masks = F.pad(masks, (padding,) * 4)
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * ((side + 2 * padding) / side)
    middle = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    low, high = (middle - half).long().tolist(), (middle + half).long().tolist()
    found = [
        _pasted(mask[0], (*a, *b), img_shape) for mask, a, b in zip(masks.unbind(0), low, high)
    ]
    return stack(found)[:, None] if found else masks.new_zeros((0, 1, *img_shape))


class GeneralizedRCNNTransform(nn.Module):
    """Normalises images, resizes them and their targets, and pads them to one size.

    Args:
        min_size: the shorter side's pixels; of several numbers, training draws one.
        max_size: what the longer side may not exceed.
        size_divisible: the batch's sides are multiples of this.
        fixed_size: width and height of every image instead.

    torchvision.models.detection.transform.GeneralizedRCNNTransform.
    """

    def __init__(
        self,
        min_size: int | Sequence[int],
        max_size: int,
        image_mean: Sequence[float],
        image_std: Sequence[float],
        size_divisible: int = 32,
        fixed_size: Size | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.min_size = min_size if isinstance(min_size, (list, tuple)) else (min_size,)
        self.max_size = max_size
        self.image_mean = image_mean
        self.image_std = image_std
        self.size_divisible = size_divisible
        self.fixed_size = fixed_size
        self._skip_resize = kwargs.pop("_skip_resize", False)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> tuple[ImageList, list[Target] | None]:
        """Returns the batch and the targets that fit it; what is given is not changed.

        Raises:
            ValueError: an image that is not (C, H, W).
            TypeError: an image that is not floating point.
        """
        ready: list[Tensor] = []
        fitting: list[Target] | None = None if targets is None else []
        for number, image in enumerate(images):
            if image.dim() != 3:
                raise ValueError(
                    "images is expected to be a list of 3d tensors of shape [C, H, W], "
                    f"got {image.shape}"
                )
            target = None if targets is None else dict(targets[number])
            image, target = self.resize(self.normalize(image), target)
            ready.append(image)
            if fitting is not None and target is not None:
                fitting.append(target)
        sizes = [(image.shape[-2], image.shape[-1]) for image in ready]
        return ImageList(self.batch_images(ready, self.size_divisible), sizes), fitting

    def normalize(self, image: Tensor) -> Tensor:
        """Returns an image (C, H, W) less the mean, by the deviation.

        Raises:
            TypeError: the image is not floating point.
        """
        if not image.is_floating_point():
            raise TypeError(
                "Expected input images to be of floating type (in range [0, 1]), "
                f"but found type {image.dtype} instead"
            )
        mean, std = (
            as_tensor(v, dtype=image.dtype, device=image.device)[:, None, None]
            for v in (self.image_mean, self.image_std)
        )
        return (image - mean) / std

    def resize(self, image: Tensor, target: Target | None) -> tuple[Tensor, Target | None]:
        """Returns image and target resized; in training the size is drawn."""
        old = image.shape[-2:]
        size = self.min_size[-1]
        if self.training:
            if self._skip_resize:
                return image, target
            drawn = empty(1).uniform_(0.0, float(len(self.min_size)))
            size = self.min_size[int(drawn.item())]
        how: dict[str, Any]
        if self.fixed_size is not None:
            how = {"size": [self.fixed_size[1], self.fixed_size[0]]}
        else:
            scale = min(size / min(old), self.max_size / max(old))
            how = {"scale_factor": scale, "recompute_scale_factor": True}
        image = F.interpolate(image[None], mode="bilinear", align_corners=False, **how)[0]
        if target is None:
            return image, target
        new = image.shape[-2:]
        if "masks" in target:
            masks = F.interpolate(target["masks"][:, None].float(), **how)
            target["masks"] = masks[:, 0].byte()
        target["boxes"] = resize_boxes(target["boxes"], old, new)
        if "keypoints" in target:
            target["keypoints"] = resize_keypoints(target["keypoints"], old, new)
        return image, target

    def batch_images(self, images: Sequence[Tensor], size_divisible: int = 32) -> Tensor:
        """Returns images of several sizes as one batch, zeros to the right and below."""
        height, width = (
            -(-max(image.shape[dim] for image in images) // size_divisible) * size_divisible
            for dim in (1, 2)
        )
        return stack([F.pad(i, (0, width - i.shape[2], 0, height - i.shape[1])) for i in images])

    def postprocess(
        self,
        result: list[Target],
        image_shapes: Sequence[Size],
        original_image_sizes: Sequence[Size],
    ) -> list[Target]:
        """Returns detections in the coordinates of the images that were given."""
        if self.training:
            return result
        for found, size, original in zip(result, image_shapes, original_image_sizes):
            found["boxes"] = resize_boxes(found["boxes"], size, original)
            if "masks" in found:
                found["masks"] = paste_masks_in_image(found["masks"], found["boxes"], original)
            if "keypoints" in found:
                found["keypoints"] = resize_keypoints(found["keypoints"], size, original)
        return result

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(\n"
            f"    Normalize(mean={self.image_mean}, std={self.image_std})\n"
            f"    Resize(min_size={self.min_size}, max_size={self.max_size}, mode='bilinear')\n)"
        )


def check_targets(targets: Sequence[Mapping[str, Any]] | None) -> None:
    """Raises AssertionError unless each image has boxes (L, 4)."""
    if targets is None:
        raise AssertionError("targets should not be none when in training mode")
    for target in targets:
        boxes = target["boxes"]
        if not isinstance(boxes, Tensor):
            raise AssertionError(f"Expected target boxes to be of type Tensor, got {type(boxes)}.")
        if boxes.dim() != 2 or boxes.shape[-1] != 4:
            raise AssertionError(
                f"Expected target boxes to be a tensor of shape [N, 4], got {boxes.shape}."
            )


def check_boxes(targets: Sequence[Target] | None) -> None:
    """Raises AssertionError for a box without area."""
    for number, target in enumerate(targets or ()):
        empty_ones = (target["boxes"][:, 2:] <= target["boxes"][:, :2]).any(1)
        if bool(empty_ones.any()):
            first = target["boxes"][empty_ones][0].tolist()
            raise AssertionError(
                "All bounding boxes should have positive height and width. Found invalid box "
                f"{first} for target at index {number}."
            )
