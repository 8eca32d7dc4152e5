"""The second stage: what is in each proposed box, where exactly, its mask and its keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cupola import nn
from cupola.functional.creation import arange, zeros
from cupola.functional.joining import cat, stack
from cupola.models.detection._detector import kept
from cupola.models.detection._utils import (
    BalancedPositiveNegativeSampler,
    BoxCoder,
    Matcher,
    places,
)
from cupola.models.detection.transform import Target
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.boxes import box_iou, clip_boxes_to_image, remove_small_boxes, sides
from cupola.vision.roi import roi_align

Size = tuple[int, int]


def box_losses(
    logits: Tensor, codes: Tensor, labels: Sequence[Tensor], wanted: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Returns the losses of scores (L, classes) and numbers (L, 4 · classes)."""
    label = cat(list(labels))
    positive = places(label > 0)
    codes = codes.reshape(logits.shape[0], -1, 4)
    off = F.smooth_l1_loss(
        codes[positive, label[positive]],
        cat(list(wanted))[positive],
        beta=1 / 9,
        reduction="sum",
    )
    return {
        "loss_classifier": F.cross_entropy(logits, label),
        "loss_box_reg": off / label.numel(),
    }


def mask_loss(
    logits: Tensor,
    boxes: Sequence[Tensor],
    masks: Sequence[Tensor],
    labels: Sequence[Tensor],
    matched: Sequence[Tensor],
) -> Tensor:
    """Returns the loss of masks (L, classes, M, M): each box's own class, its own part of the mask.

    Args:
        masks: the masks of each image, (objects, H, W).
        matched: the object of each box.
    """
    side = logits.shape[-1]
    label = cat([own[index] for own, index in zip(labels, matched)])
    wanted = []
    for own, box, index in zip(masks, boxes, matched):
        rois = cat([index.to(box.dtype)[:, None], box], 1)
        wanted.append(roi_align(own[:, None].to(box.dtype), rois, (side, side), 1.0)[:, 0])
    targets = cat(wanted)
    if targets.numel() == 0:
        return logits.sum() * 0
    rows = arange(label.shape[0], device=label.device)
    return F.binary_cross_entropy_with_logits(logits[rows, label], targets)


def _cells(keypoints: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The cell of each keypoint in its box's side × side grid, and whether it counts: (L, K)."""
    size = sides(boxes)[:, None]
    at = ((keypoints[..., :2] - boxes[:, None, :2]) * (side / size)).floor().long()
    # A keypoint on the far edge belongs to the last cell.
    at = at.masked_fill(keypoints[..., :2] == boxes[:, None, 2:], side - 1)
    inside = ((at >= 0) & (at < side)).all(-1)
    valid = inside & (keypoints[..., 2] > 0)
    return (at[..., 1] * side + at[..., 0]) * valid.long(), valid


def keypoint_loss(
    logits: Tensor,
    boxes: Sequence[Tensor],
    keypoints: Sequence[Tensor],
    matched: Sequence[Tensor],
) -> Tensor:
    """Returns the loss of heat maps (L, K, M, M): cross entropy over the cells.

    Raises:
        ValueError: heat maps that are not square.
    """
    count, kinds, height, width = logits.shape
    if height != width:
        raise ValueError(
            "keypoint_logits height and width (last two elements of shape) should be equal. "
            f"Instead got H = {height} and W = {width}"
        )
    found = [_cells(k[index], box, height) for k, box, index in zip(keypoints, boxes, matched)]
    cells = cat([cell.reshape(-1) for cell, _ in found])
    valid = places(cat([mask.reshape(-1) for _, mask in found]))
    if cells.numel() == 0 or valid.numel() == 0:
        return logits.sum() * 0
    rows = logits.reshape(count * kinds, height * width)
    return F.cross_entropy(rows[valid], cells[valid])


def keypoints_of(maps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the peak of each heat map (L, K, M, M), interpolated to its box: points (L, K, 3) as
    (x, y, 1), and scores (L, K).
    """
    kinds = maps.shape[1]
    size = sides(boxes).clamp(min=1)
    points, scores = [], []
    for heat, box, (width, height) in zip(maps.unbind(0), boxes.unbind(0), size.tolist()):
        w, h = -int(-width // 1), -int(-height // 1)  # rounded up
        heat = F.interpolate(heat[:, None], size=(h, w), mode="bicubic", align_corners=False)
        heat = heat[:, 0].reshape(kinds, -1)
        peak = heat.argmax(1)
        x = (peak % w).to(box.dtype)
        y = peak.div(w, rounding_mode="floor").to(box.dtype)
        x = (x + 0.5) * (width / w) + box[0]
        y = (y + 0.5) * (height / h) + box[1]
        points.append(stack([x, y, x * 0 + 1], 1))
        scores.append(heat.gather(1, peak[:, None])[:, 0])
    if not points:
        return zeros(0, kinds, 3, device=maps.device), zeros(0, kinds, device=maps.device)
    return stack(points), stack(scores)


class RoIHeads(nn.Module):
    """The heads of R-CNN detectors. Mask and keypoint heads may be None.

    Args:
        fg_iou_thresh, bg_iou_thresh: overlap from which a box counts as object, and below which it
            counts as background.
        batch_size_per_image, positive_fraction: boxes sampled for the losses.
        score_thresh, nms_thresh, detections_per_img: which detections are kept.

    torchvision.models.detection.roi_heads.RoIHeads.
    """

    def __init__(
        self,
        box_roi_pool: nn.Module,
        box_head: nn.Module,
        box_predictor: nn.Module,
        fg_iou_thresh: float,
        bg_iou_thresh: float,
        batch_size_per_image: int,
        positive_fraction: float,
        bbox_reg_weights: tuple[float, float, float, float] | None,
        score_thresh: float,
        nms_thresh: float,
        detections_per_img: int,
        mask_roi_pool: nn.Module | None = None,
        mask_head: nn.Module | None = None,
        mask_predictor: nn.Module | None = None,
        keypoint_roi_pool: nn.Module | None = None,
        keypoint_head: nn.Module | None = None,
        keypoint_predictor: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.proposal_matcher = Matcher(
            fg_iou_thresh, bg_iou_thresh, allow_low_quality_matches=False
        )
        self.fg_bg_sampler = BalancedPositiveNegativeSampler(
            batch_size_per_image, positive_fraction
        )
        self.box_coder = BoxCoder(bbox_reg_weights or (10.0, 10.0, 5.0, 5.0))
        self.box_roi_pool = box_roi_pool
        self.box_head = box_head
        self.box_predictor = box_predictor
        self.score_thresh = score_thresh
        self.nms_thresh = nms_thresh
        self.detections_per_img = detections_per_img
        self.mask_roi_pool = mask_roi_pool
        self.mask_head = mask_head
        self.mask_predictor = mask_predictor
        self.keypoint_roi_pool = keypoint_roi_pool
        self.keypoint_head = keypoint_head
        self.keypoint_predictor = keypoint_predictor

    def has_mask(self) -> bool:
        """Tells whether masks are predicted."""
        return None not in (self.mask_roi_pool, self.mask_head, self.mask_predictor)

    def has_keypoint(self) -> bool:
        """Tells whether keypoints are predicted."""
        return None not in (self.keypoint_roi_pool, self.keypoint_head, self.keypoint_predictor)

    def _check(self, targets: Sequence[Target] | None) -> None:
        kinds = {"boxes": ("float32", "float64", "float16"), "labels": ("int64",)}
        if self.has_keypoint():
            kinds["keypoints"] = ("float32",)
        for target in targets or ():
            for name, allowed in kinds.items():
                if name in target and target[name].dtype.name not in allowed:
                    raise TypeError(
                        f"target {name} must be of type {' or '.join(allowed)}, "
                        f"instead got {target[name].dtype}"
                    )
        if not self.training:
            return
        if targets is None:
            raise ValueError("targets should not be None")
        for name in ("boxes", "labels", *(["masks"] if self.has_mask() else [])):
            if any(name not in target for target in targets):
                raise ValueError(f"Every element of targets should have a {name} key")

    def _sampled(
        self, proposals: Sequence[Tensor], targets: Sequence[Target]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], tuple[Tensor, ...]]:
        """Boxes for the losses, the object of each, its label, and what should be regressed."""
        boxes, matched, labels = [], [], []
        for own, target in zip(proposals, targets):
            true = target["boxes"].to(own.dtype)
            own = cat((own, true))  # what is to be found is proposed as well
            if true.numel() == 0:
                which = zeros(own.shape[0], device=own.device).long()
                label = which
            else:
                found = self.proposal_matcher(box_iou(true, own))
                which = found.clamp(min=0)
                label = target["labels"][which].long()
                label = label.masked_fill(found == Matcher.BELOW_LOW_THRESHOLD, 0)
                label = label.masked_fill(found == Matcher.BETWEEN_THRESHOLDS, -1)
            boxes.append(own)
            matched.append(which)
            labels.append(label)
        wanted = []
        for i, (positive, negative) in enumerate(zip(*self.fg_bg_sampler(labels))):
            drawn = places(positive | negative)
            boxes[i], labels[i], matched[i] = boxes[i][drawn], labels[i][drawn], matched[i][drawn]
            true = targets[i]["boxes"].to(boxes[i].dtype)
            if true.numel() == 0:
                true = zeros(1, 4, dtype=boxes[i].dtype, device=boxes[i].device)
            wanted.append(true[matched[i]])
        return boxes, matched, labels, self.box_coder.encode(wanted, boxes)

    def _detected(
        self, logits: Tensor, codes: Tensor, proposals: Sequence[Tensor], sizes: Sequence[Size]
    ) -> list[Target]:
        counts = [len(own) for own in proposals]
        every = self.box_coder.decode(codes, proposals).reshape(len(logits), -1, 4)
        scores = F.softmax(logits, -1)
        result = []
        for boxes, score, size in zip(every.split(counts, 0), scores.split(counts, 0), sizes):
            boxes = clip_boxes_to_image(boxes, size)
            label = arange(score.shape[-1], device=score.device).expand_as(score)
            # Class 0 is the background.
            boxes, score = boxes[:, 1:].reshape(-1, 4), score[:, 1:].reshape(-1)
            label = label[:, 1:].reshape(-1)
            index = places(score > self.score_thresh)
            boxes, score, label = boxes[index], score[index], label[index]
            index = remove_small_boxes(boxes, 1e-2)
            found = kept(
                boxes[index], score[index], label[index], self.nms_thresh, self.detections_per_img
            )
            result.append({name: found[name] for name in ("boxes", "labels", "scores")})
        return result

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Tensor],
        image_shapes: Sequence[Size],
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """Returns the detections of each image, or in training no detections but losses.

        Raises:
            TypeError: targets of other dtypes than boxes and labels should have.
            ValueError: training without targets.
        """
        self._check(targets)
        if self.training:
            assert targets is not None
            proposals, matched, labels, wanted = self._sampled(proposals, targets)
        pooled = self.box_head(self.box_roi_pool(features, proposals, image_shapes))
        logits, codes = self.box_predictor(pooled)
        result: list[Target] = []
        losses: dict[str, Tensor] = {}
        if self.training:
            losses = box_losses(logits, codes, labels, wanted)
            # Masks and keypoints are learnt from the boxes that hold something.
            positive = [places(label > 0) for label in labels]
            regions = [own[index] for own, index in zip(proposals, positive)]
            owners = [own[index] for own, index in zip(matched, positive)]
        else:
            result = self._detected(logits, codes, proposals, image_shapes)
            regions = [found["boxes"] for found in result]
        if self.has_mask():
            pooled = self.mask_head(self.mask_roi_pool(features, regions, image_shapes))
            logits = self.mask_predictor(pooled)
            if self.training:
                truth = [[t[name] for t in targets or ()] for name in ("masks", "labels")]
                losses["loss_mask"] = mask_loss(logits, regions, *truth, owners)
            else:
                self._add_masks(logits, result)
        if self.has_keypoint():
            pooled = self.keypoint_head(self.keypoint_roi_pool(features, regions, image_shapes))
            logits = self.keypoint_predictor(pooled)
            if self.training:
                points = [t["keypoints"] for t in targets or ()]
                losses["loss_keypoint"] = keypoint_loss(logits, regions, points, owners)
            else:
                counts = [len(own) for own in regions]
                for found, maps, own in zip(result, logits.split(counts, 0), regions):
                    found["keypoints"], found["keypoints_scores"] = keypoints_of(maps, own)
        return result, losses

    @staticmethod
    def _add_masks(logits: Tensor, result: list[Target]) -> None:
        labels = cat([found["labels"] for found in result])
        rows = arange(logits.shape[0], device=labels.device)
        masks = logits.sigmoid()[rows, labels][:, None]
        counts = [len(found["labels"]) for found in result]
        for found, mask in zip(result, masks.split(counts, 0)):
            found["masks"] = mask
