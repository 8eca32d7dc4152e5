"""Losses of detectors: focal loss, and overlaps of boxes as losses."""

from __future__ import annotations

import math

from cupola.nn import functional as F
from cupola.tensor import Tensor, no_grad
from cupola.vision.boxes import centre, sides


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean() if loss.numel() else 0.0 * loss.sum()
    raise ValueError(
        f"Invalid Value for arg 'reduction': '{reduction} \n Supported reduction modes: 'none', "
        "'mean', 'sum'"
    )


def sigmoid_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    alpha: float = 0.25,
    gamma: float = 2,
    reduction: str = "none",
) -> Tensor:
    """Returns binary cross entropy that counts what is classified well little.

    Args:
        inputs: logits, any shape.
        targets: 0 or 1, floating point, of the same shape.
        alpha: weight of the positives, in [0, 1]; -1 weighs both alike.
        gamma: exponent of 1 - p, p the probability given to the right class.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: another alpha or reduction.

    Lin et al., "Focal Loss for Dense Object Detection", 2017. torchvision.ops.sigmoid_focal_loss.
    """
    if not 0 <= alpha <= 1 and alpha != -1:
        raise ValueError(
            f"Invalid alpha value: {alpha}. alpha must be in the range [0,1] or -1 for ignore."
        )
    p = inputs.sigmoid()
    loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    loss = loss * (1 - (p * targets + (1 - p) * (1 - targets))) ** gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return _reduced(loss, reduction)


def _wide(boxes: Tensor) -> Tensor:
    return boxes if boxes.dtype.name in ("float32", "float64") else boxes.float()


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of intersection and union of the boxes of each row, (N,)."""
    low, high = a[..., :2].maximum(b[..., :2]), a[..., 2:].minimum(b[..., 2:])
    # Both sides are positive or there is no intersection, and no gradient either.
    apart = (high <= low).any(-1)
    intersection = (high - low).prod(-1).masked_fill(apart, 0)
    return intersection, sides(a).prod(-1) + sides(b).prod(-1) - intersection


def _hull(a: Tensor, b: Tensor) -> Tensor:
    """Width and height of the box around both boxes of each row, (N, 2)."""
    return a[..., 2:].maximum(b[..., 2:]) - a[..., :2].minimum(b[..., :2])


def generalized_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """Returns 1 - generalized IoU of the boxes of each row, in [0, 2): (…, 4) twice to (…).

    Rezatofighi et al., 2019. torchvision.ops.generalized_box_iou_loss.
    """
    a, b = _wide(boxes1), _wide(boxes2)
    intersection, union = _overlap(a, b)
    hull = _hull(a, b).prod(-1)
    giou = intersection / (union + eps) - (hull - union) / (hull + eps)
    return _reduced(1 - giou, reduction)


def _distance(a: Tensor, b: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    intersection, union = _overlap(a, b)
    iou = intersection / (union + eps)
    diagonal = (_hull(a, b) ** 2).sum(-1) + eps
    return 1 - iou + ((centre(a) - centre(b)) ** 2).sum(-1) / diagonal, iou


def distance_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """Returns 1 - distance IoU of the boxes of each row: (…, 4) twice to (…).

    Zheng et al., 2020. torchvision.ops.distance_box_iou_loss.
    """
    return _reduced(_distance(_wide(boxes1), _wide(boxes2), eps)[0], reduction)


def complete_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """Returns 1 - complete IoU of the boxes of each row: (…, 4) twice to (…).

    Zheng et al., 2020. torchvision.ops.complete_box_iou_loss.
    """
    a, b = _wide(boxes1), _wide(boxes2)
    loss, iou = _distance(a, b, 1e-7)
    (wa, ha), (wb, hb) = sides(a).unbind(-1), sides(b).unbind(-1)
    v = 4 / math.pi**2 * ((wb / hb).atan() - (wa / ha).atan()) ** 2
    with no_grad():
        alpha = v / (1 - iou + v + eps)
    return _reduced(loss + alpha * v, reduction)
