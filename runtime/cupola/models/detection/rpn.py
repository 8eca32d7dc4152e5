"""Region proposals (Ren et al., "Faster R-CNN", 2015, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cupola import nn
from cupola.functional.creation import full, zeros
from cupola.functional.joining import cat
from cupola.models.detection._utils import (
    BalancedPositiveNegativeSampler,
    BoxCoder,
    Matcher,
    by_cell,
    places,
)
from cupola.models.detection.anchor_utils import AnchorGenerator
from cupola.models.detection.image_list import ImageList
from cupola.models.detection.transform import Target
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.boxes import box_iou, clip_boxes_to_image, remove_small_boxes
from cupola.vision.misc import Conv2dNormActivation
from cupola.vision.nms import batched_nms

__all__ = ["AnchorGenerator", "RPNHead", "RegionProposalNetwork"]


class RPNHead(nn.Module):
    """Convolutions that give each anchor a score and four numbers."""

    _version = 2

    def __init__(self, in_channels: int, num_anchors: int, conv_depth: int = 1) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *[
                Conv2dNormActivation(in_channels, in_channels, kernel_size=3, norm_layer=None)
                for _ in range(conv_depth)
            ]
        )
        self.cls_logits = nn.Conv2d(in_channels, num_anchors, kernel_size=1, stride=1)
        self.bbox_pred = nn.Conv2d(in_channels, num_anchors * 4, kernel_size=1, stride=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        # Files of the first version hold one convolution, without a sequence around it.
        if (local_metadata.get("version") or 1) < 2:
            for kind in ("weight", "bias"):
                if (key := f"{prefix}conv.{kind}") in state_dict:
                    state_dict[f"{prefix}conv.0.0.{kind}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns scores (N, A, H, W) and numbers (N, 4A, H, W) of each level."""
        levels = [self.conv(level) for level in x]
        return [self.cls_logits(t) for t in levels], [self.bbox_pred(t) for t in levels]


class RegionProposalNetwork(nn.Module):
    """Turns levels into boxes that may hold something.

    Args:
        fg_iou_thresh, bg_iou_thresh: overlap from which an anchor counts as object, and below which
            it counts as background.
        batch_size_per_image, positive_fraction: anchors sampled for the loss.
        pre_nms_top_n, post_nms_top_n: boxes kept of each level, and of the image, under "training"
            and "testing".

    torchvision.models.detection.rpn.RegionProposalNetwork.
    """

    def __init__(
        self,
        anchor_generator: AnchorGenerator,
        head: nn.Module,
        fg_iou_thresh: float,
        bg_iou_thresh: float,
        batch_size_per_image: int,
        positive_fraction: float,
        pre_nms_top_n: Mapping[str, int],
        post_nms_top_n: Mapping[str, int],
        nms_thresh: float,
        score_thresh: float = 0.0,
    ) -> None:
        super().__init__()
        self.anchor_generator = anchor_generator
        self.head = head
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.proposal_matcher = Matcher(
            fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches=True
        )
        self.fg_bg_sampler = BalancedPositiveNegativeSampler(
            batch_size_per_image, positive_fraction
        )
        self._pre_nms_top_n = pre_nms_top_n
        self._post_nms_top_n = post_nms_top_n
        self.nms_thresh = nms_thresh
        self.score_thresh = score_thresh
        self.min_size = 1e-3

    def _phase(self) -> str:
        return "training" if self.training else "testing"

    def _assigned(
        self, anchors: Sequence[Tensor], targets: Sequence[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each anchor 1, 0 or -1 (object, background, neither), and the box it belongs to."""
        labels, matched = [], []
        for own, target in zip(anchors, targets):
            boxes = target["boxes"]
            if boxes.numel() == 0:
                labels.append(zeros(own.shape[0], device=own.device))
                matched.append(zeros(own.shape, device=own.device))
                continue
            which = self.proposal_matcher(box_iou(boxes, own))
            matched.append(boxes[which.clamp(min=0)])
            label = (which >= 0).float()
            labels.append(label.masked_fill(which == Matcher.BETWEEN_THRESHOLDS, -1.0))
        return labels, matched

    def _filtered(
        self,
        proposals: Tensor,
        objectness: Tensor,
        sizes: Sequence[tuple[int, int]],
        counts: Sequence[int],
    ) -> list[Tensor]:
        """The best boxes of each image: (N, A, 4) and (N, A) to (L, 4) each."""
        most = self._pre_nms_top_n[self._phase()]
        found = []
        for boxes, scores, size in zip(proposals.unbind(0), objectness.unbind(0), sizes):
            chosen, levels, start = [], [], 0
            for number, (level, count) in enumerate(zip(scores.split(list(counts)), counts)):
                best = level.topk(min(most, count)).indices
                chosen.append(best + start)
                levels.append(full((best.numel(),), number, device=best.device))
                start += count
            index, level = cat(chosen), cat(levels)
            own, probability = clip_boxes_to_image(boxes[index], size), scores[index].sigmoid()
            keep = remove_small_boxes(own, self.min_size)
            own, probability, level = own[keep], probability[keep], level[keep]
            keep = places(probability >= self.score_thresh)
            own, probability, level = own[keep], probability[keep], level[keep]
            keep = batched_nms(own, probability, level, self.nms_thresh)
            found.append(own[keep[: self._post_nms_top_n[self._phase()]]])
        return found

    def _losses(
        self, objectness: Tensor, codes: Tensor, labels: list[Tensor], wanted: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        positive, negative = (places(cat(masks)) for masks in self.fg_bg_sampler(labels))
        both = cat([positive, negative])
        box_loss = F.smooth_l1_loss(
            codes[positive], cat(list(wanted))[positive], beta=1 / 9, reduction="sum"
        )
        score_loss = F.binary_cross_entropy_with_logits(
            objectness.flatten()[both], cat(labels)[both]
        )
        return {"loss_objectness": score_loss, "loss_rpn_box_reg": box_loss / both.numel()}

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Returns the boxes of each image, (L, 4), and in training the losses.

        Raises:
            ValueError: training without targets.
        """
        levels = list(features.values())
        objectness, codes = self.head(levels)
        anchors = self.anchor_generator(images, levels)
        counts = [o[0].numel() for o in objectness]
        scores = cat([by_cell(o, 1) for o in objectness], 1).flatten(0, 1)
        codes = cat([by_cell(c, 4) for c in codes], 1).reshape(-1, 4)
        proposals = self.box_coder.decode(codes.detach(), anchors).reshape(len(anchors), -1, 4)
        boxes = self._filtered(
            proposals,
            scores.detach().reshape(len(anchors), -1),
            images.image_sizes,
            counts,
        )
        if not self.training:
            return boxes, {}
        if targets is None:
            raise ValueError("targets should not be None")
        labels, matched = self._assigned(anchors, targets)
        return boxes, self._losses(scores, codes, labels, self.box_coder.encode(matched, anchors))
