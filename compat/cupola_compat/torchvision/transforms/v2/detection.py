"""Transforms that detectors are trained with (second interface): scales, crops, boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupola
from cupola.tensor import Tensor
from cupola.utils._pytree import tree_flatten, tree_unflatten
from cupola.vision import box_iou
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.transforms.v2 import functional as F
from cupola_compat.torchvision.transforms.v2.base import (
    Transform,
    get_bounding_boxes,
    get_keypoints,
    has_any,
    query_size,
)
from cupola_compat.torchvision.transforms.v2.base import labels_getter as _labels_getter
from cupola_compat.torchvision.transforms.v2.dispatch import is_pil, is_pure_tensor
from cupola_compat.torchvision.transforms.v2.formats import valid_boxes, valid_points


class _Resizing(Transform):
    """Resizes to a size that is drawn for each sample."""

    def __init__(self, interpolation: Any, antialias: bool | None) -> None:
        super().__init__()
        self.interpolation, self.antialias = interpolation, antialias

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        how = {"interpolation": self.interpolation, "antialias": self.antialias}
        return self._call_kernel(F.resize, inpt, size=params["size"], **how)


class ScaleJitter(_Resizing):
    """Resizes to fit into `target_size`, times a random factor from `scale_range`."""

    _shown = ("target_size", "scale_range", "interpolation", "antialias")

    def __init__(
        self,
        target_size: tuple[int, int],
        scale_range: tuple[float, float] = (0.1, 2.0),
        interpolation: Any = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        super().__init__(interpolation, antialias)
        self.target_size, self.scale_range = target_size, scale_range

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = query_size(flat_inputs)
        low, high = self.scale_range
        scale = low + cupola.rand(1) * (high - low)
        ratio = min(self.target_size[1] / height, self.target_size[0] / width) * scale
        return {"size": (int(height * ratio), int(width * ratio))}


class RandomShortestSize(_Resizing):
    """Resizes the shorter side to one of `min_size`, the longer one to `max_size` at most."""

    _shown = ("min_size", "max_size", "interpolation", "antialias")

    def __init__(
        self,
        min_size: Any,
        max_size: int | None = None,
        interpolation: Any = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        super().__init__(interpolation, antialias)
        self.min_size = [min_size] if isinstance(min_size, int) else list(min_size)
        self.max_size = max_size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = query_size(flat_inputs)
        shortest = self.min_size[int(cupola.randint(len(self.min_size), ()))]
        ratio = shortest / min(height, width)
        if self.max_size is not None:
            ratio = min(ratio, self.max_size / max(height, width))
        return {"size": (int(height * ratio), int(width * ratio))}


class RandomResize(_Resizing):
    """Resizes the shorter side to a random number from `min_size` up to below `max_size`."""

    _shown = ("min_size", "max_size", "interpolation", "antialias")

    def __init__(
        self,
        min_size: int,
        max_size: int,
        interpolation: Any = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        super().__init__(interpolation, antialias)
        self.min_size, self.max_size = min_size, max_size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"size": [int(cupola.randint(self.min_size, self.max_size, ()))]}


class RandomIoUCrop(Transform):
    """Cuts out a random part in which the centre of a box lies, and which overlaps such a box by a
    share drawn from `sampler_options`; boxes with their centre outside become zero (SSD,
    arXiv:1512.02325). `SanitizeBoundingBoxes` takes those away.

    Raises:
        TypeError: a sample without an image or without boxes.
    """

    def __init__(
        self,
        min_scale: float = 0.3,
        max_scale: float = 1.0,
        min_aspect_ratio: float = 0.5,
        max_aspect_ratio: float = 2.0,
        sampler_options: list[float] | None = None,
        trials: int = 40,
    ) -> None:
        super().__init__()
        self.min_scale, self.max_scale = min_scale, max_scale
        self.min_aspect_ratio, self.max_aspect_ratio = min_aspect_ratio, max_aspect_ratio
        given = sampler_options is not None
        self.options = sampler_options if given else [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
        self.trials = trials

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        images = (is_pil, tv_tensors.Image, is_pure_tensor)
        if not (has_any(flat_inputs, tv_tensors.BoundingBoxes) and has_any(flat_inputs, *images)):
            raise TypeError(
                f"{type(self).__name__}() requires input sample to contain tensor or PIL images "
                "and bounding boxes. Sample can also contain masks."
            )

    def _drawn(self, size: tuple[int, int], boxes: Tensor, overlap: float) -> dict[str, Any] | None:
        """One trial: a part of the picture, or None where it does not fit."""
        height, width = size
        share = self.min_scale + (self.max_scale - self.min_scale) * cupola.rand(2)
        new_width, new_height = int(width * share[0]), int(height * share[1])
        if not self.min_aspect_ratio <= new_width / new_height <= self.max_aspect_ratio:
            return None
        place = cupola.rand(2)
        left, top = int((width - new_width) * place[0]), int((height - new_height) * place[1])
        if new_width == 0 or new_height == 0:
            return None
        right, bottom = left + new_width, top + new_height
        x, y = 0.5 * (boxes[..., 0] + boxes[..., 2]), 0.5 * (boxes[..., 1] + boxes[..., 3])
        inside = (left < x) & (x < right) & (top < y) & (y < bottom)
        if not inside.any():
            return None
        part = cupola.tensor([[left, top, right, bottom]], dtype=boxes.dtype, device=boxes.device)
        if box_iou(boxes[inside], part).max() < overlap:
            return None
        cut = {"top": top, "left": left, "height": new_height, "width": new_width}
        return {**cut, "is_within_crop_area": inside}

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        size, given = query_size(flat_inputs), get_bounding_boxes(flat_inputs)
        boxes = F.convert_bounding_box_format(given.as_subclass(Tensor), given.format, "XYXY")
        while True:
            overlap = self.options[int(cupola.randint(low=0, high=len(self.options), size=(1,)))]
            if overlap >= 1.0:  # stands for the picture as it is
                return {}
            for _ in range(self.trials):
                found = self._drawn(size, boxes, overlap)
                if found is not None:
                    return found

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not params:
            return inpt
        part = {name: params[name] for name in ("top", "left", "height", "width")}
        output = self._call_kernel(F.crop, inpt, **part)
        if isinstance(output, tv_tensors.BoundingBoxes):
            output[~params["is_within_crop_area"]] = 0
        return output


class ConvertBoundingBoxFormat(Transform):
    """`functional.convert_bounding_box_format`."""

    _transformed_types = (tv_tensors.BoundingBoxes,)

    def __init__(self, format: Any) -> None:
        super().__init__()
        self.format = format

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.convert_bounding_box_format(inpt, new_format=self.format)


class ClampBoundingBoxes(Transform):
    """`functional.clamp_bounding_boxes`."""

    _transformed_types = (tv_tensors.BoundingBoxes,)

    def __init__(self, clamping_mode: str | None = "auto") -> None:
        super().__init__()
        self.clamping_mode = clamping_mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.clamp_bounding_boxes(inpt, clamping_mode=self.clamping_mode)


class ClampKeyPoints(Transform):
    """`functional.clamp_keypoints`."""

    _transformed_types = (tv_tensors.KeyPoints,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return F.clamp_keypoints(inpt)


class SetClampingMode(Transform):
    """Sets how transforms cut boxes off from here on: "soft", "hard" or None.

    Raises:
        ValueError: any other mode.
    """

    _transformed_types = (tv_tensors.BoundingBoxes,)

    def __init__(self, clamping_mode: str | None) -> None:
        super().__init__()
        if clamping_mode not in (None, "soft", "hard"):
            raise ValueError(f"clamping_mode must be soft, hard or None, got {clamping_mode}")
        self.clamping_mode = clamping_mode

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        output = inpt.clone()
        output.clamping_mode = self.clamping_mode
        return output


class _Sanitizing(Transform):
    """Takes entries away from what was found, and from the labels with them."""

    def __init__(self, labels: Callable[[Any], Any] | str | None) -> None:
        super().__init__()
        self.labels_getter, self._labels_getter = labels, _labels_getter(labels)

    def _labels(self, inputs: Any, count: Tensor) -> tuple[Tensor, ...]:
        labels = self._labels_getter(inputs)
        if labels is None:
            return ()
        found = (labels,) if isinstance(labels, Tensor) else labels
        entries = found if isinstance(found, (tuple, list)) else [found]
        for entry in entries:
            if not isinstance(entry, Tensor):
                raise ValueError(
                    "The labels in the input to forward() must be a tensor or None, got "
                    f"{type(entry)} instead."
                )
            if entry.shape[0] != count.shape[0]:
                raise ValueError(
                    f"Number of entries (shape={count.shape}) must match the number of labels. "
                    f"Found labels with shape={entry.shape})."
                )
        return tuple(entries)

    def _kept(self, inpt: Any, valid: Tensor, labels: Sequence[Tensor], kinds: Any) -> Any:
        is_label = any(inpt is label for label in labels)
        if not is_label and not isinstance(inpt, kinds):
            return inpt
        if isinstance(inpt, tv_tensors.Mask) and inpt.shape[:1] != valid.shape:
            return inpt  # a mask of the whole picture
        output = inpt.as_subclass(Tensor)[valid]
        return output if is_label else tv_tensors.wrap(output, like=inpt)


class SanitizeBoundingBoxes(_Sanitizing):
    """Takes away boxes that are too small or not inside their picture, with their labels and masks.

    Raises:
        ValueError: a smallest side or area below one, or labels that do not fit the boxes.
    """

    _shown = ("min_size", "min_area", "labels_getter")

    def __init__(
        self,
        min_size: float = 1.0,
        min_area: float = 1.0,
        labels_getter: Callable[[Any], Any] | str | None = "default",
    ) -> None:
        super().__init__(labels_getter)
        if min_size < 1:
            raise ValueError(f"min_size must be >= 1, got {min_size}.")
        if min_area < 1:
            raise ValueError(f"min_area must be >= 1, got {min_area}.")
        self.min_size, self.min_area = min_size, min_area

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat_inputs, spec = tree_flatten(sample)
        boxes = get_bounding_boxes(flat_inputs)
        labels = self._labels(sample, boxes)
        limits = (self.min_size, self.min_area)
        valid = valid_boxes(boxes, boxes.format, boxes.canvas_size, *limits)
        kinds = (tv_tensors.BoundingBoxes, tv_tensors.Mask)
        return tree_unflatten([self._kept(i, valid, labels, kinds) for i in flat_inputs], spec)


class SanitizeKeyPoints(_Sanitizing):
    """Takes away points, or groups of them, that are not inside their picture, with their labels.

    Raises:
        ValueError: labels that do not fit the points.
    """

    def __init__(self, labels_getter: Callable[[Any], Any] | str | None = None) -> None:
        super().__init__(labels_getter)

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat_inputs, spec = tree_flatten(sample)
        points = get_keypoints(flat_inputs)
        labels = self._labels(sample, points)
        valid = valid_points(points, points.canvas_size)
        kinds = (tv_tensors.KeyPoints,)
        return tree_unflatten([self._kept(i, valid, labels, kinds) for i in flat_inputs], spec)
