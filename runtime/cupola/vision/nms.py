"""Non-maximum suppression: of boxes that overlap much, only the best-scored one stays."""

from __future__ import annotations

import numpy as np

from cupola.tensor import Tensor, from_numpy, no_grad

# Above this many coordinates batched_nms goes class by class, as torchvision does: shifted boxes
# of many classes would lose precision, and the work would grow with all classes together.
PER_CLASS_ABOVE = {"cpu": 4000, "cuda": 20000}


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Returns the indices of the boxes kept, best score first.

    A box is dropped when its intersection over union with a kept box of higher score is greater
    than `iou_threshold`. Of equal scores the one that comes first wins.

    Args:
        boxes: (N, 4), floating point, as (x1, y1, x2, y2).
        scores: (N,), the same dtype.
        iou_threshold: between 0 and 1.

    Returns:
        int64 indices, (K,), on the device of `boxes`.

    Raises:
        RuntimeError: shapes or dtypes that do not fit.

    torchvision.ops.nms.
    """
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise RuntimeError(f"boxes should have the shape (N, 4), got {tuple(boxes.shape)}")
    if scores.dim() != 1 or scores.shape[0] != boxes.shape[0]:
        raise RuntimeError(
            f"scores should have the shape ({boxes.shape[0]},), got {tuple(scores.shape)}"
        )
    if boxes.dtype != scores.dtype:
        raise RuntimeError(f"boxes are {boxes.dtype} and scores are {scores.dtype}: convert one")
    kept = _suppress(_array(boxes), _array(scores), float(iou_threshold))
    return from_numpy(kept).to(boxes.device)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


def _suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Greedy suppression, in the boxes' own dtype: ties at the threshold depend on it."""
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1) * (y2 - y1)
    zero = boxes.dtype.type(0)
    kept = []
    with np.errstate(divide="ignore", invalid="ignore"):
        while order.size:
            best, order = order[0], order[1:]
            kept.append(best)
            width = np.minimum(x2[best], x2[order]) - np.maximum(x1[best], x1[order])
            height = np.minimum(y2[best], y2[order]) - np.maximum(y1[best], y1[order])
            overlap = np.maximum(zero, width) * np.maximum(zero, height)
            ratio = overlap / (area[best] + area[order] - overlap)
            # Negated, so that the 0/0 of two empty boxes suppresses nothing.
            order = order[~(ratio.astype(np.float64) > threshold)]
    return np.array(kept, dtype=np.int64)


@no_grad()
def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Returns the indices of the boxes kept when only boxes of the same class suppress each other.

    Args:
        boxes: (N, 4), floating point, as (x1, y1, x2, y2).
        scores: (N,), the same dtype.
        idxs: (N,), integers: each box's class.
        iou_threshold: between 0 and 1.

    Returns:
        int64 indices, (K,), best score first.

    torchvision.ops.batched_nms.
    """
    if boxes.numel() == 0:
        return from_numpy(np.empty(0, dtype=np.int64)).to(boxes.device)
    if boxes.numel() > PER_CLASS_ABOVE.get(boxes.device.type, 4000):
        return _class_by_class(boxes, scores, idxs, iou_threshold)
    # Each class is moved to a region of its own, where the others cannot reach it.
    offsets = idxs.to(boxes.dtype) * (boxes.max() + 1)
    return nms(boxes + offsets[:, None], scores, iou_threshold)


def _class_by_class(boxes: Tensor, scores: Tensor, idxs: Tensor, threshold: float) -> Tensor:
    rows, values, classes = _array(boxes), _array(scores), _array(idxs)
    kept = []
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        kept.append(members[_suppress(rows[members], values[members], threshold)])
    found = np.sort(np.concatenate(kept))
    return from_numpy(found[np.argsort(-values[found], kind="stable")]).to(boxes.device)
