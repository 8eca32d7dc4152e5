"""Mixtures of the pictures of a batch, and of their labels: MixUp (arXiv:1710.09412) and CutMix
(arXiv:1905.04899).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cupola
from cupola.tensor import Tensor
from cupola.utils._pytree import tree_flatten, tree_unflatten
from cupola_compat.torchvision import tv_tensors
from cupola_compat.torchvision.transforms.v2.base import (
    PLACES,
    Transform,
    has_any,
    query_size,
)
from cupola_compat.torchvision.transforms.v2.base import labels_getter as _labels_getter
from cupola_compat.torchvision.transforms.v2.dispatch import is_pil, is_pure_tensor


class _Mixing(Transform):
    """Mixes each picture of a batch with the one before, the labels in the same proportion.

    Raises:
        ValueError: PIL images, boxes, masks or points; labels that are no tensor (N,) of classes,
            with `num_classes`, nor (N, classes); pictures that are not as many.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        num_classes: int | None = None,
        labels_getter: Callable[[Any], Any] | str | None = "default",
    ) -> None:
        super().__init__()
        self.alpha, self.num_classes = float(alpha), num_classes
        parameter = cupola.tensor([alpha])
        self._dist = cupola.distributions.Beta(parameter, parameter)
        self._labels_getter = _labels_getter(labels_getter)

    def _checked(self, labels: Any) -> Tensor:
        if not isinstance(labels, Tensor):
            raise ValueError(f"The labels must be a tensor, but got {type(labels)} instead.")
        if labels.ndim not in (1, 2):
            raise ValueError(
                "labels should be index based with shape (batch_size,) or probability based with "
                "shape (batch_size, num_classes), but got a tensor of shape "
                f"{labels.shape} instead."
            )
        if labels.ndim == 2 and self.num_classes not in (None, labels.shape[-1]):
            raise ValueError(
                "When passing 2D labels, the number of elements in last dimension must match "
                f"num_classes: {labels.shape[-1]} != {self.num_classes}. You can Leave num_classes "
                "to None."
            )
        if labels.ndim == 1 and self.num_classes is None:
            raise ValueError("num_classes must be passed if the labels are index-based (1D)")
        return labels

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) > 1 else inputs[0]
        flat_inputs, spec = tree_flatten(sample)
        needed = self._needs_transform_list(flat_inputs)
        if has_any(flat_inputs, is_pil, *PLACES):
            raise ValueError(
                f"{type(self).__name__}() does not support PIL images, bounding boxes, keypoints "
                "and masks."
            )
        labels = self._checked(self._labels_getter(sample))
        params = self.make_params([i for i, n in zip(flat_inputs, needed, strict=True) if n])
        params |= {"labels": labels, "batch_size": labels.shape[0]}
        outputs = [
            self.transform(inpt, params) if need or inpt is labels else inpt
            for inpt, need in zip(flat_inputs, needed, strict=True)
        ]
        return tree_unflatten(outputs, spec)

    def _mixed_labels(self, labels: Tensor, share: float) -> Tensor:
        if labels.ndim == 1:
            labels = cupola.nn.functional.one_hot(labels, num_classes=self.num_classes)
        labels = labels if labels.is_floating_point() else labels.float()
        return labels.roll(1, 0) * (1.0 - share) + labels * share

    def _mixed(self, batch: Tensor, params: dict[str, Any]) -> Tensor:
        raise NotImplementedError

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if inpt is params["labels"]:
            return self._mixed_labels(inpt, params["share"])
        if not isinstance(inpt, (tv_tensors.Image, tv_tensors.Video)) and not is_pure_tensor(inpt):
            return inpt
        dimensions = 5 if isinstance(inpt, tv_tensors.Video) else 4
        if inpt.ndim != dimensions:
            raise ValueError(
                f"Expected a batched input with {dimensions} dims, "
                f"but got {inpt.ndim} dimensions instead."
            )
        if inpt.shape[0] != params["batch_size"]:
            raise ValueError(
                "The batch size of the image or video does not match the batch size of the labels: "
                f"{inpt.shape[0]} != {params['batch_size']}."
            )
        output = self._mixed(inpt.as_subclass(Tensor), params)
        return output if is_pure_tensor(inpt) else tv_tensors.wrap(output, like=inpt)


class MixUp(_Mixing):
    """Adds up the pictures of a batch in pairs, with weights from a beta distribution."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"share": float(self._dist.sample(()))}

    def _mixed(self, batch: Tensor, params: dict[str, Any]) -> Tensor:
        return batch.roll(1, 0).mul_(1.0 - params["share"]).add_(batch.mul(params["share"]))


class CutMix(_Mixing):
    """Replaces a random rectangle of each picture of a batch by that of the one before."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        share = float(self._dist.sample(()))
        height, width = query_size(flat_inputs)
        x, y = (int(cupola.randint(side, size=(1,))) for side in (width, height))
        half = 0.5 * math.sqrt(1.0 - share)
        half_x, half_y = int(half * width), int(half * height)
        left, right = max(x - half_x, 0), min(x + half_x, width)
        top, bottom = max(y - half_y, 0), min(y + half_y, height)
        kept = 1.0 - (right - left) * (bottom - top) / (width * height)
        return {"box": (left, top, right, bottom), "share": kept}

    def _mixed(self, batch: Tensor, params: dict[str, Any]) -> Tensor:
        left, top, right, bottom = params["box"]
        output = batch.clone()
        output[..., top:bottom, left:right] = batch.roll(1, 0)[..., top:bottom, left:right]
        return output
