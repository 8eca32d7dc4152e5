"""Boxes as numbers to learn, which anchor belongs to which box, and what is sampled from them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from cupola import nn
from cupola.functional.creation import arange, zeros, zeros_like
from cupola.functional.joining import cat
from cupola.functional.sampling import randperm
from cupola.nn import functional as F
from cupola.tensor import Tensor, no_grad
from cupola.vision.boxes import sides
from cupola.vision.losses import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)
from cupola.vision.misc import FrozenBatchNorm2d


def places(mask: Tensor) -> Tensor:
    """Returns the indices of the true elements of a vector, int64."""
    return mask.nonzero()[:, 0]


class BalancedPositiveNegativeSampler:
    """Draws a fixed number of elements of each image, of which a part is positive.

    torchvision.models.detection._utils.BalancedPositiveNegativeSampler.
    """

    def __init__(self, batch_size_per_image: int, positive_fraction: float) -> None:
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction

    def __call__(self, matched_idxs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns for each image masks of the positives and of the negatives that were drawn.

        Args:
            matched_idxs: for each image a vector: at least 1 is positive, 0 negative, less unused.
        """
        masks: tuple[list[Tensor], list[Tensor]] = ([], [])
        for matched in matched_idxs:
            positive, negative = places(matched >= 1), places(matched == 0)
            wanted = int(self.batch_size_per_image * self.positive_fraction)
            wanted = min(positive.numel(), wanted)
            rest = min(negative.numel(), self.batch_size_per_image - wanted)
            for found, group, count in zip(masks, (positive, negative), (wanted, rest)):
                drawn = randperm(group.numel(), device=group.device)[:count]
                mask = zeros_like(matched).bool()
                mask[group[drawn]] = True
                found.append(mask)
        return masks


class BoxCoder:
    """Boxes as shifts of centre, in parts of an anchor's sides, and logarithms of ratios of sides.

    Ren et al., "Faster R-CNN", 2015. torchvision.models.detection._utils.BoxCoder.
    """

    def __init__(
        self,
        weights: tuple[float, float, float, float],
        bbox_xform_clip: float = math.log(1000.0 / 16),
    ) -> None:
        self.weights = weights
        self.bbox_xform_clip = bbox_xform_clip

    def encode(
        self, reference_boxes: Sequence[Tensor], proposals: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Returns the numbers of each image's boxes, (L, 4), seen from its proposals."""
        counts = [len(boxes) for boxes in reference_boxes]
        found = self.encode_single(cat(list(reference_boxes)), cat(list(proposals)))
        return found.split(counts, 0)

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Returns the numbers of boxes, (L, 4), seen from as many proposals."""
        size, wanted = sides(proposals), sides(reference_boxes)
        middle = proposals[:, :2] + 0.5 * size
        shift = (reference_boxes[:, :2] + 0.5 * wanted - middle) / size
        both = cat((shift, (wanted / size).log()), 1)
        return both * both.new_tensor(self.weights)

    def decode(self, rel_codes: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """Returns boxes, (L, classes, 4), from numbers (L, 4 · classes) and each image's boxes."""
        total = sum(len(b) for b in boxes)
        if total:
            rel_codes = rel_codes.reshape(total, -1)
        found = self.decode_single(rel_codes, cat(list(boxes)))
        return found.reshape(total, -1, 4) if total else found

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Returns boxes, (L, 4 · classes), from numbers of that shape and boxes (L, 4)."""
        boxes = boxes.to(rel_codes.dtype)
        size = sides(boxes)
        middle = boxes[:, :2] + 0.5 * size
        codes = rel_codes.reshape(boxes.shape[0], -1, 4) if len(boxes) else rel_codes[:, None]
        codes = codes / codes.new_tensor(self.weights)
        shift, grown = codes[..., :2], codes[..., 2:].clamp(max=self.bbox_xform_clip)
        at = shift * size[:, None] + middle[:, None]
        half = 0.5 * (grown.exp() * size[:, None])
        return cat((at - half, at + half), -1).flatten(1)


class BoxLinearCoder:
    """Boxes as distances of their sides from an anchor's centre, in parts of its sides.

    Tian et al., "FCOS", 2019. torchvision.models.detection._utils.BoxLinearCoder.
    """

    def __init__(self, normalize_by_size: bool = True) -> None:
        self.normalize_by_size = normalize_by_size

    def encode(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Returns distances (…, 4) of the proposals' sides from the reference boxes' centres."""
        middle = 0.5 * (reference_boxes[..., :2] + reference_boxes[..., 2:])
        found = cat((middle - proposals[..., :2], proposals[..., 2:] - middle), -1)
        if self.normalize_by_size:
            size = sides(reference_boxes)
            found = found / cat((size, size), -1)
        return found

    def decode(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Returns boxes (…, 4) from distances of that shape and as many boxes."""
        boxes = boxes.to(rel_codes.dtype)
        middle = 0.5 * (boxes[..., :2] + boxes[..., 2:])
        if self.normalize_by_size:
            size = sides(boxes)
            rel_codes = rel_codes * cat((size, size), -1)
        return cat((middle - rel_codes[..., :2], middle + rel_codes[..., 2:]), -1)


class Matcher:
    """Gives each prediction the box that it overlaps most, if it does so enough.

    Args:
        high_threshold: from here on a match.
        low_threshold: below it background; between the two neither.
        allow_low_quality_matches: each box also gets the predictions that overlap it most.

    torchvision.models.detection._utils.Matcher.
    """

    BELOW_LOW_THRESHOLD = -1
    BETWEEN_THRESHOLDS = -2

    def __init__(
        self, high_threshold: float, low_threshold: float, allow_low_quality_matches: bool = False
    ) -> None:
        if low_threshold > high_threshold:
            raise AssertionError("low_threshold should be <= high_threshold")
        self.high_threshold = high_threshold
        self.low_threshold = low_threshold
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """Returns the number of each prediction's box, (predictions,), or one of the constants.

        Args:
            match_quality_matrix: (boxes, predictions).

        Raises:
            ValueError: no boxes or no predictions.
        """
        if match_quality_matrix.numel() == 0:
            which = "proposal" if match_quality_matrix.shape[0] else "ground-truth"
            raise ValueError(f"No {which} boxes available for one of the images during training")
        best, matches = match_quality_matrix.max(dim=0)
        result = matches.masked_fill(best < self.low_threshold, self.BELOW_LOW_THRESHOLD)
        between = (best >= self.low_threshold) & (best < self.high_threshold)
        result = result.masked_fill(between, self.BETWEEN_THRESHOLDS)
        if self.allow_low_quality_matches:
            most = match_quality_matrix.amax(dim=1, keepdim=True)
            wanted = (match_quality_matrix == most).any(0)
            result = matches.where(wanted, result)
        return result


class SSDMatcher(Matcher):
    """A `Matcher` in which each box gets its best prediction, whatever their overlap."""

    def __init__(self, threshold: float) -> None:
        super().__init__(threshold, threshold, allow_low_quality_matches=False)

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """Returns the number of each prediction's box, or `BELOW_LOW_THRESHOLD`."""
        matches = super().__call__(match_quality_matrix)
        best = match_quality_matrix.max(dim=1).indices
        matches[best] = arange(best.shape[0], device=best.device)
        return matches


def overwrite_eps(model: nn.Module, eps: float) -> None:
    """Sets the eps of every frozen normalisation: some published weights were trained with 0."""
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = eps


def retrieve_out_channels(model: nn.Module, size: tuple[int, int]) -> list[int]:
    """Returns the channels of each result of a backbone, which is run once on zeros.

    `size` is width and height.
    """
    training = model.training
    model.eval()
    with no_grad():
        device = next(model.parameters()).device
        found = model(zeros((1, 3, size[1], size[0]), device=device))
        if isinstance(found, Tensor):
            found = OrderedDict([("0", found)])
        channels = [level.shape[1] for level in found.values()]
    model.train(training)
    return channels


def box_loss(
    kind: str,
    box_coder: BoxCoder,
    anchors: Tensor,
    boxes: Tensor,
    regression: Tensor,
    options: Mapping[str, float] | None = None,
) -> Tensor:
    """Returns the summed loss of regressed numbers (L, 4): l1, smooth_l1, ciou, diou or giou.

    Raises:
        AssertionError: another kind.
    """
    options = options or {}
    overlaps: dict[str, Any] = {
        "ciou": complete_box_iou_loss,
        "diou": distance_box_iou_loss,
        "giou": generalized_box_iou_loss,
    }
    if kind in overlaps:
        found = box_coder.decode_single(regression, anchors)
        return overlaps[kind](found, boxes, reduction="sum", eps=options.get("eps", 1e-7))
    wanted = box_coder.encode_single(boxes, anchors)
    if kind == "l1":
        return F.l1_loss(regression, wanted, reduction="sum")
    if kind != "smooth_l1":
        raise AssertionError(f"Unsupported loss: {kind}")
    return F.smooth_l1_loss(regression, wanted, reduction="sum", beta=options.get("beta", 1.0))


def by_cell(x: Tensor, columns: int) -> Tensor:
    """Returns maps (N, A · columns, H, W) as rows of cells and anchors, (N, H · W · A, columns)."""
    images, _, height, width = x.shape
    x = x.reshape(images, -1, columns, height, width).permute(0, 3, 4, 1, 2)
    return x.reshape(images, -1, columns)
