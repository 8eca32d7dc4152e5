"""SSD (Liu et al., "SSD: Single Shot MultiBox Detector", 2016)."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from cupola import nn
from cupola.functional.creation import full_like, ones
from cupola.functional.joining import cat, stack
from cupola.models._registry import builder
from cupola.models.detection._detector import CLASSES, Detector, kept
from cupola.models.detection._utils import (
    BoxCoder,
    SSDMatcher,
    by_cell,
    places,
    retrieve_out_channels,
)
from cupola.models.detection.anchor_utils import DefaultBoxGenerator
from cupola.models.detection.backbone_utils import frozen_before, trainable
from cupola.models.detection.image_list import ImageList
from cupola.models.detection.retinanet import matched
from cupola.models.detection.transform import MEAN, STD, GeneralizedRCNNTransform, Target
from cupola.models.vgg import vgg16
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.boxes import clip_boxes_to_image

__all__ = ["SSD", "SSDHead", "ssd300_vgg16"]
Size = tuple[int, int]


def _xavier(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class SSDScoringHead(nn.Module):
    """One convolution or block for each level; `num_columns` numbers for each anchor."""

    def __init__(self, module_list: nn.ModuleList, num_columns: int) -> None:
        super().__init__()
        self.module_list = module_list
        self.num_columns = num_columns

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        """Returns (N, anchors, num_columns)."""
        rows = zip(self.module_list, x)
        return cat([by_cell(conv(level), self.num_columns) for conv, level in rows], 1)


def _convs(in_channels: Sequence[int], out_channels: Sequence[int]) -> nn.ModuleList:
    made = nn.ModuleList(
        nn.Conv2d(i, o, kernel_size=3, padding=1) for i, o in zip(in_channels, out_channels)
    )
    _xavier(made)
    return made


class SSDClassificationHead(SSDScoringHead):
    """Logits of each anchor and class."""

    def __init__(
        self, in_channels: Sequence[int], num_anchors: Sequence[int], num_classes: int
    ) -> None:
        super().__init__(_convs(in_channels, [num_classes * n for n in num_anchors]), num_classes)


class SSDRegressionHead(SSDScoringHead):
    """Four numbers for each anchor."""

    def __init__(self, in_channels: Sequence[int], num_anchors: Sequence[int]) -> None:
        super().__init__(_convs(in_channels, [4 * n for n in num_anchors]), 4)


class SSDHead(nn.Module):
    """A head that classifies and one that regresses."""

    def __init__(
        self, in_channels: Sequence[int], num_anchors: Sequence[int], num_classes: int
    ) -> None:
        super().__init__()
        self.classification_head = SSDClassificationHead(in_channels, num_anchors, num_classes)
        self.regression_head = SSDRegressionHead(in_channels, num_anchors)

    def forward(self, x: Sequence[Tensor]) -> dict[str, Tensor]:
        """Returns (N, anchors, 4) and (N, anchors, classes)."""
        return {
            "bbox_regression": self.regression_head(x),
            "cls_logits": self.classification_head(x),
        }


class SSD(Detector):
    """SSD on images of one size (width, height); see `Detector` for what a call returns.

    Args:
        topk_candidates: boxes of each class that are kept before suppression.
        positive_fraction: of the anchors in the loss; negatives are those of the highest loss.

    Raises:
        ValueError: not one list of aspect ratios for each level.
    """

    def __init__(
        self,
        backbone: nn.Module,
        anchor_generator: DefaultBoxGenerator,
        size: Size,
        num_classes: int,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        head: nn.Module | None = None,
        score_thresh: float = 0.01,
        nms_thresh: float = 0.45,
        detections_per_img: int = 200,
        iou_thresh: float = 0.5,
        topk_candidates: int = 400,
        positive_fraction: float = 0.25,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.anchor_generator = anchor_generator
        self.box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        if head is None:
            channels = getattr(backbone, "out_channels", None)
            channels = channels or retrieve_out_channels(backbone, size)
            check_levels(channels, anchor_generator)
            head = SSDHead(channels, anchor_generator.num_anchors_per_location(), num_classes)
        self.head = head
        self.proposal_matcher = SSDMatcher(iou_thresh)
        self.transform = GeneralizedRCNNTransform(
            min(size),
            max(size),
            image_mean or MEAN,
            image_std or STD,
            size_divisible=1,
            fixed_size=size,
            **kwargs,
        )
        self.score_thresh = score_thresh
        self.nms_thresh = nms_thresh
        self.detections_per_img = detections_per_img
        self.topk_candidates = topk_candidates
        self.neg_to_pos_ratio = (1.0 - positive_fraction) / positive_fraction

    def _losses(
        self,
        targets: Sequence[Target],
        outputs: dict[str, Tensor],
        anchors: Sequence[Tensor],
        matches: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        off, classes, count = [], [], 0
        rows = zip(targets, outputs["bbox_regression"].unbind(0), anchors, matches)
        for target, codes, own, match in rows:
            found = places(match >= 0)
            which = match[found]
            count += which.numel()
            wanted = self.box_coder.encode_single(target["boxes"][which], own[found])
            off.append(F.smooth_l1_loss(codes[found], wanted, reduction="sum"))
            label = full_like(match, 0, dtype=target["labels"].dtype)
            label[found] = target["labels"][which]
            classes.append(label)
        truth, logits = stack(classes), outputs["cls_logits"]
        loss = F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), truth.reshape(-1), reduction="none"
        ).reshape(truth.shape)
        positive = truth > 0
        most = self.neg_to_pos_ratio * positive.sum(1, keepdim=True)
        # The rank of each anchor's loss among the negatives of its image.
        rank = loss.detach().masked_fill(positive, -float("inf")).argsort(1, descending=True)
        negative = rank.argsort(1) < most
        n = max(1, count)
        kept_loss = loss[positive].sum() + loss[negative].sum()
        return {"bbox_regression": stack(off).sum() / n, "classification": kept_loss / n}

    def _detected(
        self, outputs: dict[str, Tensor], anchors: Sequence[Tensor], batch: ImageList
    ) -> list[Target]:
        every = F.softmax(outputs["cls_logits"], dim=-1)
        result = []
        rows = zip(outputs["bbox_regression"].unbind(0), every.unbind(0), anchors)
        for (codes, scores, own), size in zip(rows, batch.image_sizes):
            boxes = clip_boxes_to_image(self.box_coder.decode_single(codes, own), size)
            found, values, labels = [], [], []
            for label in range(1, scores.shape[-1]):
                index = places(scores[:, label] > self.score_thresh)
                score = scores[index, label]
                score, order = score.topk(min(self.topk_candidates, score.numel()))
                found.append(boxes[index][order])
                values.append(score)
                labels.append(full_like(order, label))
            result.append(
                kept(cat(found), cat(values), cat(labels), self.nms_thresh, self.detections_per_img)
            )
        return result

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        """Returns losses in training, else each image's detections."""
        batch, targets, original, features = self._levels(images, targets)
        levels = list(features.values())
        outputs = self.head(levels)
        anchors = self.anchor_generator(batch, levels)
        if self.training:
            assert targets is not None
            found = matched(self.proposal_matcher, targets, anchors)
            return self._losses(targets, outputs, anchors, found)
        return self._found(self._detected(outputs, anchors, batch), batch, original)


def check_levels(channels: Sequence[int], anchors: DefaultBoxGenerator) -> None:
    """Raises ValueError unless each level has its aspect ratios."""
    if len(channels) != len(anchors.aspect_ratios):
        raise ValueError(
            f"The length of the output channels from the backbone ({len(channels)}) do not match "
            "the length of the anchor generator aspect ratios "
            f"({len(anchors.aspect_ratios)})"
        )


class SSDFeatureExtractorVGG(nn.Module):
    """VGG's features up to the fourth pooling, rescaled, and blocks that go on from there."""

    def __init__(self, backbone: nn.Sequential, highres: bool) -> None:
        super().__init__()
        pools = [i for i, layer in enumerate(backbone) if isinstance(layer, nn.MaxPool2d)]
        third, fourth = pools[2], pools[3]
        backbone[third].ceil_mode = True
        self.scale_weight = nn.Parameter(ones(512) * 20)
        self.features = nn.Sequential(*backbone[:fourth])

        def block(wide: int, narrow: int, out: int, kernel: int = 3, **how: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(wide, narrow, kernel_size=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(narrow, out, kernel_size=kernel, **how),
                nn.ReLU(inplace=True),
            )

        extra = nn.ModuleList(
            [
                block(1024, 256, 512, padding=1, stride=2),
                block(512, 128, 256, padding=1, stride=2),
                block(256, 128, 256),
                block(256, 128, 256),
            ]
        )
        if highres:
            extra.append(block(256, 128, 256, 4))
        _xavier(extra)
        fully = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=False),
            nn.Conv2d(512, 1024, kernel_size=3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, kernel_size=1),
            nn.ReLU(inplace=True),
        )
        _xavier(fully)
        extra.insert(0, nn.Sequential(*backbone[fourth:-1], fully))
        self.extra = extra

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns six or seven levels, finest first."""
        x = self.features(x)
        levels = [self.scale_weight.reshape(1, -1, 1, 1) * F.normalize(x)]
        for block in self.extra:
            x = block(x)
            levels.append(x)
        return OrderedDict((str(i), level) for i, level in enumerate(levels))


def warn_of_size(given: dict[str, Any]) -> None:
    """Warns that a model's size is fixed."""
    if "size" in given:
        warnings.warn("The size of the model is already fixed; size is ignored", stacklevel=3)
        del given["size"]


@builder
def ssd300_vgg16(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> SSD:
    """SSD on VGG-16, images of 300 × 300 pixels. Arguments of `SSD`."""
    warn_of_size(kwargs)
    layers = trainable(trained, trainable_backbone_layers, 5, 4)
    features = vgg16(weights=weights_backbone).features
    pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    frozen_before(features, [0, *pools[:-1]], layers)
    anchors = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    options = {
        "image_mean": [0.48235, 0.45882, 0.40784],
        "image_std": [1.0 / 255.0] * 3,
        **kwargs,
    }
    backbone = SSDFeatureExtractorVGG(features, highres=False)
    return SSD(backbone, anchors, (300, 300), num_classes or CLASSES, **options)
