"""RetinaNet (Lin et al., "Focal Loss for Dense Object Detection", 2017), and its second version
(Zhang et al., "Bridging the Gap Between Anchor-based and Anchor-free Detection", 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cupola import nn
from cupola.functional.creation import full, zeros_like
from cupola.functional.joining import cat
from cupola.models._registry import builder
from cupola.models.detection._detector import (
    CLASSES,
    Detector,
    check_backbone,
    dense_detections,
)
from cupola.models.detection._utils import BoxCoder, Matcher, box_loss, by_cell, places
from cupola.models.detection.anchor_utils import AnchorGenerator, pyramid_anchors
from cupola.models.detection.backbone_utils import on_resnet, trainable
from cupola.models.detection.faster_rcnn import usual_backbone
from cupola.models.detection.transform import MEAN, STD, GeneralizedRCNNTransform, Target
from cupola.models.resnet import resnet50
from cupola.tensor import Tensor
from cupola.vision.boxes import box_iou
from cupola.vision.losses import sigmoid_focal_loss
from cupola.vision.misc import Conv2dNormActivation
from cupola.vision.pyramid import LastLevelP6P7

__all__ = ["RetinaNet", "RetinaNetHead", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"]
Norm = Callable[..., nn.Module]


def small_normal(layers: Any) -> None:
    """Draws convolutions with a deviation of 0.01, biases zero."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def rare(conv: nn.Conv2d, probability: float) -> None:
    """Draws the last convolution of a classifier that first finds everything improbable."""
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(conv.bias, -math.log((1 - probability) / probability))


def wide_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Returns a 3×3 convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=1, padding=1)


def matched(matcher: Matcher, targets: Sequence[Target], anchors: Sequence[Tensor]) -> list[Tensor]:
    """Returns for each image the box of each anchor, or a negative number."""
    found = []
    for target, own in zip(targets, anchors):
        if target["boxes"].numel() == 0:
            found.append(full((own.shape[0],), -1, device=own.device))
        else:
            found.append(matcher(box_iou(target["boxes"], own)))
    return found


class _Tower(nn.Module):
    """Four convolutions that every level goes through."""

    _version = 2

    def __init__(self, in_channels: int, norm_layer: Norm | None) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *[
                Conv2dNormActivation(in_channels, in_channels, norm_layer=norm_layer)
                for _ in range(4)
            ]
        )

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        # Files of the first version hold convolutions and activations by turns.
        if (local_metadata.get("version") or 1) < 2:
            for i in range(4):
                for kind in ("weight", "bias"):
                    if (key := f"{prefix}conv.{2 * i}.{kind}") in state_dict:
                        state_dict[f"{prefix}conv.{i}.0.{kind}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class RetinaNetClassificationHead(_Tower):
    """Logits of each anchor and class."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_classes: int,
        prior_probability: float = 0.01,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__(in_channels, norm_layer)
        small_normal(self.conv.modules())
        self.cls_logits = wide_conv(in_channels, num_anchors * num_classes)
        rare(self.cls_logits, prior_probability)
        self.num_classes = num_classes
        self.num_anchors = num_anchors

    def compute_loss(
        self,
        targets: Sequence[Target],
        head_outputs: dict[str, Tensor],
        matched_idxs: Sequence[Tensor],
    ) -> Tensor:
        """Returns the focal loss by the number of matched anchors, the images' mean."""
        total: Any = 0
        rows = zip(targets, head_outputs["cls_logits"].unbind(0), matched_idxs)
        for target, logits, match in rows:
            found = places(match >= 0)
            wanted = zeros_like(logits)
            wanted[found, target["labels"][match[found]]] = 1.0
            used = places(match != Matcher.BETWEEN_THRESHOLDS)
            loss = sigmoid_focal_loss(logits[used], wanted[used], reduction="sum")
            total = total + loss / max(1, found.numel())
        return total / len(targets)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Returns (N, anchors, classes)."""
        return cat([by_cell(self.cls_logits(self.conv(v)), self.num_classes) for v in x], 1)


class RetinaNetRegressionHead(_Tower):
    """Four numbers for each anchor."""

    def __init__(self, in_channels: int, num_anchors: int, norm_layer: Norm | None = None) -> None:
        super().__init__(in_channels, norm_layer)
        self.bbox_reg = wide_conv(in_channels, num_anchors * 4)
        small_normal([self.bbox_reg])
        small_normal(self.conv.modules())
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self._loss_type = "l1"

    def compute_loss(
        self,
        targets: Sequence[Target],
        head_outputs: dict[str, Tensor],
        anchors: Sequence[Tensor],
        matched_idxs: Sequence[Tensor],
    ) -> Tensor:
        """Returns the loss of the matched anchors by their number, the images' mean."""
        total: Any = 0
        codes = head_outputs["bbox_regression"].unbind(0)
        for target, code, own, match in zip(targets, codes, anchors, matched_idxs):
            found = places(match >= 0)
            boxes = target["boxes"][match[found]]
            loss = box_loss(self._loss_type, self.box_coder, own[found], boxes, code[found])
            total = total + loss / max(1, found.numel())
        return total / max(1, len(targets))

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Returns (N, anchors, 4)."""
        return cat([by_cell(self.bbox_reg(self.conv(level)), 4) for level in x], 1)


class RetinaNetHead(nn.Module):
    """A head that classifies and one that regresses."""

    def __init__(
        self,
        in_channels: int,
        num_anchors: int,
        num_classes: int,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self.classification_head = RetinaNetClassificationHead(
            in_channels, num_anchors, num_classes, norm_layer=norm_layer
        )
        self.regression_head = RetinaNetRegressionHead(
            in_channels, num_anchors, norm_layer=norm_layer
        )

    def compute_loss(
        self,
        targets: Sequence[Target],
        head_outputs: dict[str, Tensor],
        anchors: Sequence[Tensor],
        matched_idxs: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Returns the losses of both."""
        first, second = self.classification_head, self.regression_head
        return {
            "classification": first.compute_loss(targets, head_outputs, matched_idxs),
            "bbox_regression": second.compute_loss(targets, head_outputs, anchors, matched_idxs),
        }

    def forward(self, x: Sequence[Tensor]) -> dict[str, Tensor]:
        """Returns (N, anchors, classes) and (N, anchors, 4)."""
        return {
            "cls_logits": self.classification_head(x),
            "bbox_regression": self.regression_head(x),
        }


def usual_anchors() -> AnchorGenerator:
    """Returns anchors of three sizes a level, a third of an octave apart, in three shapes."""
    return pyramid_anchors(
        [[size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))] for size in
         (32, 64, 128, 256, 512)]
    )  # fmt: skip


class RetinaNet(Detector):
    """RetinaNet on a backbone with `out_channels`; see `Detector` for what a call returns.

    Raises:
        ValueError: a backbone that does not tell its channels.
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
        proposal_matcher: Matcher | None = None,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        detections_per_img: int = 300,
        fg_iou_thresh: float = 0.5,
        bg_iou_thresh: float = 0.4,
        topk_candidates: int = 1000,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        check_backbone(backbone)
        check_anchors(anchor_generator)
        self.backbone = backbone
        self.anchor_generator = anchor_generator or usual_anchors()
        count = self.anchor_generator.num_anchors_per_location()[0]
        self.head = head or RetinaNetHead(backbone.out_channels, count, num_classes)
        self.proposal_matcher = proposal_matcher or Matcher(
            fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches=True
        )
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.transform = GeneralizedRCNNTransform(
            min_size, max_size, image_mean or MEAN, image_std or STD, **kwargs
        )
        self.score_thresh = score_thresh
        self.nms_thresh = nms_thresh
        self.detections_per_img = detections_per_img
        self.topk_candidates = topk_candidates

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        """Returns losses in training, else each image's detections."""
        batch, targets, original, features = self._levels(images, targets)
        levels = list(features.values())
        outputs = self.head(levels)
        anchors = self.anchor_generator(batch, levels)
        if self.training:
            found = matched(self.proposal_matcher, targets, anchors)
            return self.head.compute_loss(targets, outputs, anchors, found)
        per_cell = self.anchor_generator.num_anchors_per_location()
        counts = [v.shape[2] * v.shape[3] * n for v, n in zip(levels, per_cell)]
        detections = dense_detections(
            {name: value.split(counts, 1) for name, value in outputs.items()},
            lambda logits: logits.sigmoid(),
            self.box_coder.decode_single,
            [own.split(counts) for own in anchors],
            batch.image_sizes,
            threshold=self.score_thresh,
            candidates=self.topk_candidates,
            overlap=self.nms_thresh,
            most=self.detections_per_img,
        )
        return self._found(detections, batch, original)


def check_anchors(anchors: Any) -> None:
    """Raises TypeError for anchors of another class than `AnchorGenerator`."""
    if anchors is not None and not isinstance(anchors, AnchorGenerator):
        raise TypeError(
            f"anchor_generator should be of type AnchorGenerator or None instead of {type(anchors)}"
        )


@builder
def retinanet_resnet50_fpn(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> RetinaNet:
    """RetinaNet on ResNet-50 with a pyramid. Arguments of `RetinaNet`."""
    backbone = usual_backbone(
        trained,
        weights_backbone,
        trainable_backbone_layers,
        returned_layers=[2, 3, 4],
        extra_blocks=_extra(256),
    )
    return RetinaNet(backbone, num_classes or CLASSES, **kwargs)


@builder
def retinanet_resnet50_fpn_v2(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> RetinaNet:
    """RetinaNet, second version: group normalisation in the heads, generalized IoU as loss."""
    num_classes = num_classes or CLASSES
    layers = trainable(trained, trainable_backbone_layers, 5, 3)
    whole = resnet50(weights=weights_backbone)
    backbone = on_resnet(whole, layers, returned_layers=[2, 3, 4], extra_blocks=_extra(2048)())
    anchors = usual_anchors()
    head = RetinaNetHead(
        backbone.out_channels,
        anchors.num_anchors_per_location()[0],
        num_classes,
        norm_layer=partial(nn.GroupNorm, 32),
    )
    head.regression_head._loss_type = "giou"
    return RetinaNet(backbone, num_classes, anchor_generator=anchors, head=head, **kwargs)


def _extra(in_channels: int) -> Callable[[], LastLevelP6P7]:
    """Makes the two levels on top, after the backbone has drawn its weights."""
    return partial(LastLevelP6P7, in_channels, 256)
