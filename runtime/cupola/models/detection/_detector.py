"""What all detectors share: images in, levels of a backbone, losses or detections out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from cupola import nn
from cupola.functional.joining import cat
from cupola.models.detection._utils import places
from cupola.models.detection.image_list import ImageList
from cupola.models.detection.transform import Target, check_boxes, check_targets
from cupola.tensor import Tensor
from cupola.vision.boxes import clip_boxes_to_image
from cupola.vision.nms import batched_nms

# COCO's 90 numbers and the background.
CLASSES = 91


class Detector(nn.Module):
    """Base of the detectors.

    In training a call with images and targets returns losses by name; otherwise it returns for each
    image "boxes" (L, 4), "labels" and "scores" (L,), and what else the detector finds.
    """

    transform: nn.Module
    backbone: nn.Module

    def _levels(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None
    ) -> tuple[ImageList, list[Target] | None, list[tuple[int, int]], dict[str, Tensor]]:
        """The batch, fitting targets, the sizes of the images given, and the backbone's levels."""
        if self.training:
            check_targets(targets)
        original = [(image.shape[-2], image.shape[-1]) for image in images]
        batch, targets = self.transform(images, targets)
        check_boxes(targets)
        features = self.backbone(batch.tensors)
        if isinstance(features, Tensor):
            features = OrderedDict([("0", features)])
        return batch, targets, original, features

    def _found(
        self, detections: list[Target], batch: ImageList, original: list[tuple[int, int]]
    ) -> list[Target]:
        return self.transform.postprocess(detections, batch.image_sizes, original)


def check_backbone(backbone: nn.Module) -> None:
    """Raises ValueError for a backbone that does not tell its channels."""
    if not hasattr(backbone, "out_channels"):
        raise ValueError(
            "backbone should contain an attribute out_channels specifying the number of output "
            "channels (assumed to be the same for all the levels)"
        )


def dense_detections(
    scores: Mapping[str, Sequence[Tensor]],
    score: Callable[..., Tensor],
    decode: Callable[[Tensor, Tensor], Tensor],
    anchors: Sequence[Sequence[Tensor]],
    sizes: Sequence[tuple[int, int]],
    *,
    threshold: float,
    candidates: int,
    overlap: float,
    most: int,
) -> list[Target]:
    """Returns detections of heads that score every anchor and class.

    Args:
        scores: results of the heads, level by level, (N, A, …); "bbox_regression" among them.
        score: from the other results of one level and image to scores, (A, classes).
        decode: from regressed numbers and anchors to boxes.
        anchors: boxes for each image and level.
        sizes: height and width of each image.
        threshold: least score.
        candidates: the best of each level that are kept.
        overlap: IoU above which only the better of two stays.
        most: detections of an image.
    """
    others = [name for name in scores if name != "bbox_regression"]
    detections = []
    for image, (levels, size) in enumerate(zip(anchors, sizes)):
        boxes, values, labels = [], [], []
        for number, level in enumerate(levels):
            every = score(*(scores[name][number][image] for name in others))
            classes = every.shape[-1]
            every = every.flatten()
            chosen = places(every > threshold)
            best, order = every[chosen].topk(min(candidates, chosen.numel()))
            chosen = chosen[order]
            at = chosen.div(classes, rounding_mode="floor")
            found = decode(scores["bbox_regression"][number][image][at], level[at])
            boxes.append(clip_boxes_to_image(found, size))
            values.append(best)
            labels.append(chosen % classes)
        detections.append(kept(cat(boxes), cat(values), cat(labels), overlap, most))
    return detections


def kept(boxes: Tensor, scores: Tensor, labels: Tensor, overlap: float, most: int) -> Target:
    """Returns the best of overlapping boxes of each class, at most `most` of them."""
    keep = batched_nms(boxes, scores, labels, overlap)[:most]
    return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}
