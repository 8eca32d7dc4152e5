"""FCOS (Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cupola import nn
from cupola.functional.creation import full, zeros_like
from cupola.functional.joining import cat, stack
from cupola.models._registry import builder
from cupola.models.detection._detector import (
    CLASSES,
    Detector,
    check_backbone,
    dense_detections,
)
from cupola.models.detection._utils import BoxLinearCoder, by_cell
from cupola.models.detection.anchor_utils import AnchorGenerator
from cupola.models.detection.faster_rcnn import usual_backbone
from cupola.models.detection.retinanet import check_anchors, rare, small_normal, wide_conv
from cupola.models.detection.transform import MEAN, STD, GeneralizedRCNNTransform, Target
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.boxes import box_area, centre
from cupola.vision.losses import generalized_box_iou_loss, sigmoid_focal_loss
from cupola.vision.pyramid import LastLevelP6P7

__all__ = ["FCOS", "fcos_resnet50_fpn"]
Norm = Callable[..., nn.Module]


def _tower(in_channels: int, depth: int, norm_layer: Norm | None) -> nn.Sequential:
    norm_layer = norm_layer or partial(nn.GroupNorm, 32)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [wide_conv(in_channels, in_channels), norm_layer(in_channels), nn.ReLU()]
    return nn.Sequential(*layers)


class FCOSClassificationHead(nn.Module):
    """Logits of each cell and class."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_classes: int,
        num_convs: int = 4,
        prior_probability: float = 0.01,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_anchors = num_anchors
        self.conv = _tower(in_channels, num_convs, norm_layer)
        small_normal(self.conv.children())
        self.cls_logits = wide_conv(in_channels, num_anchors * num_classes)
        rare(self.cls_logits, prior_probability)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Returns (N, cells, classes)."""
        return cat([by_cell(self.cls_logits(self.conv(v)), self.num_classes) for v in x], 1)


class FCOSRegressionHead(nn.Module):
    """Four distances for each cell, and how central it is in its box."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_convs: int = 4,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self.conv = _tower(in_channels, num_convs, norm_layer)
        self.bbox_reg = wide_conv(in_channels, num_anchors * 4)
        self.bbox_ctrness = wide_conv(in_channels, num_anchors)
        small_normal([self.bbox_reg, self.bbox_ctrness])
        small_normal(self.conv.children())

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns (N, cells, 4), not negative, and (N, cells, 1)."""
        levels = [self.conv(level) for level in x]
        distances = [by_cell(F.relu(self.bbox_reg(level)), 4) for level in levels]
        central = [by_cell(self.bbox_ctrness(level), 1) for level in levels]
        return cat(distances, 1), cat(central, 1)


class FCOSHead(nn.Module):
    """A head that classifies and one that regresses."""

    def __init__(
        self, in_channels: int, num_anchors: int, num_classes: int, num_convs: int = 4
    ) -> None:
        super().__init__()
        self.box_coder = BoxLinearCoder(normalize_by_size=True)
        self.classification_head = FCOSClassificationHead(
            in_channels, num_anchors, num_classes, num_convs
        )
        self.regression_head = FCOSRegressionHead(in_channels, num_anchors, num_convs)

    def compute_loss(
        self,
        targets: Sequence[Target],
        head_outputs: dict[str, Tensor],
        anchors: Sequence[Tensor],
        matched_idxs: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Returns the losses of classes, boxes and centres, by the number of matched cells."""
        classes, boxes = [], []
        for target, match in zip(targets, matched_idxs):
            own, label = target["boxes"], target["labels"]
            if len(label) == 0:
                own, label = own.new_zeros((1, 4)), label.new_zeros((1,))
            index = match.clamp(min=0)
            classes.append(label[index].masked_fill(match < 0, -1))
            boxes.append(own[index])
        wanted, label, cells = stack(boxes), stack(classes), stack(list(anchors))
        logits = head_outputs["cls_logits"]
        image, cell = (label >= 0).nonzero(as_tuple=True)
        count = max(1, image.numel())
        truth = zeros_like(logits)
        truth[image, cell, label[image, cell]] = 1.0
        found = self.box_coder.decode(head_outputs["bbox_regression"], cells)
        off = generalized_box_iou_loss(found[image, cell], wanted[image, cell], reduction="sum")
        left, top, right, bottom = self.box_coder.encode(cells, wanted)[image, cell].unbind(-1)
        central = (
            left.minimum(right) / left.maximum(right) * (top.minimum(bottom) / top.maximum(bottom))
        ).sqrt()
        guess = head_outputs["bbox_ctrness"].squeeze(2)[image, cell]
        centred = F.binary_cross_entropy_with_logits(guess, central, reduction="sum")
        return {
            "classification": sigmoid_focal_loss(logits, truth, reduction="sum") / count,
            "bbox_regression": off / count,
            "bbox_ctrness": centred / count,
        }

    def forward(self, x: Sequence[Tensor]) -> dict[str, Tensor]:
        """Returns (N, cells, classes), (N, cells, 4) and (N, cells, 1)."""
        logits = self.classification_head(x)
        distances, central = self.regression_head(x)
        return {"cls_logits": logits, "bbox_regression": distances, "bbox_ctrness": central}


class FCOS(Detector):
    """FCOS on a backbone with `out_channels`; see `Detector` for what a call returns.

    Raises:
        ValueError: a backbone that does not tell its channels, or more than one anchor a cell.
        TypeError: anchors of another class.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        min_size: int | Sequence[int] = 800,
        max_size: int = 1333,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        anchor_generator: AnchorGenerator | None = None,
        head: nn.Module | None = None,
        center_sampling_radius: float = 1.5,
        score_thresh: float = 0.2,
        nms_thresh: float = 0.6,
        detections_per_img: int = 100,
        topk_candidates: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        check_backbone(backbone)
        check_anchors(anchor_generator)
        self.backbone = backbone
        if anchor_generator is None:
            sizes = ((8,), (16,), (32,), (64,), (128,))
            anchor_generator = AnchorGenerator(sizes, ((1.0,),) * len(sizes))
        self.anchor_generator = anchor_generator
        count = anchor_generator.num_anchors_per_location()[0]
        if count != 1:
            raise ValueError(
                f"anchor_generator.num_anchors_per_location()[0] should be 1 instead of {count}"
            )
        self.head = head or FCOSHead(backbone.out_channels, count, num_classes)
        self.box_coder = BoxLinearCoder(normalize_by_size=True)
        self.transform = GeneralizedRCNNTransform(
            min_size, max_size, image_mean or MEAN, image_std or STD, **kwargs
        )
        self.center_sampling_radius = center_sampling_radius
        self.score_thresh = score_thresh
        self.nms_thresh = nms_thresh
        self.detections_per_img = detections_per_img
        self.topk_candidates = topk_candidates

    def _matched(self, target: Target, anchors: Tensor, counts: Sequence[int]) -> Tensor:
        """The box of each cell, or -1: the smallest of those in whose middle the cell lies and
        whose farthest side suits the cell's level.
        """
        boxes = target["boxes"]
        if boxes.numel() == 0:
            return full((anchors.shape[0],), -1, device=anchors.device)
        middle, side = centre(anchors), anchors[:, 2] - anchors[:, 0]
        away = (middle[:, None] - centre(boxes)[None]).abs().amax(2)
        match = away < self.center_sampling_radius * side[:, None]
        distances = cat((middle[:, None] - boxes[:, :2], boxes[:, 2:] - middle[:, None]), 2)
        match = match & (distances.amin(2) > 0)
        least, most = side * 4, side * 8
        least[: counts[0]] = 0
        most[-counts[-1] :] = float("inf")
        farthest = distances.amax(2)
        match = match & (farthest > least[:, None]) & (farthest < most[:, None])
        # The larger the number, the smaller the box.
        best, index = (match.float() * (1e8 - box_area(boxes)[None])).max(1)
        return index.masked_fill(best < 1e-5, -1)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        """Returns losses in training, else each image's detections."""
        batch, targets, original, features = self._levels(images, targets)
        levels = list(features.values())
        outputs = self.head(levels)
        anchors = self.anchor_generator(batch, levels)
        counts = [level.shape[2] * level.shape[3] for level in levels]
        if self.training:
            assert targets is not None
            found = [self._matched(t, own, counts) for t, own in zip(targets, anchors)]
            return self.head.compute_loss(targets, outputs, anchors, found)
        detections = dense_detections(
            {name: value.split(counts, 1) for name, value in outputs.items()},
            lambda logits, central: (logits.sigmoid() * central.sigmoid()).sqrt(),
            self.box_coder.decode,
            [own.split(counts) for own in anchors],
            batch.image_sizes,
            threshold=self.score_thresh,
            candidates=self.topk_candidates,
            overlap=self.nms_thresh,
            most=self.detections_per_img,
        )
        return self._found(detections, batch, original)


@builder
def fcos_resnet50_fpn(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> FCOS:
    """FCOS on ResNet-50 with a pyramid. Arguments of `FCOS`."""
    backbone = usual_backbone(
        trained,
        weights_backbone,
        trainable_backbone_layers,
        returned_layers=[2, 3, 4],
        extra_blocks=partial(LastLevelP6P7, 256, 256),
    )
    return FCOS(backbone, num_classes or CLASSES, **kwargs)
