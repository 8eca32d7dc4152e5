"""torchvision.ops: cupola.vision under torchvision's names."""

from cupola.vision import (
    batched_nms,
    box_area,
    box_convert,
    box_iou,
    clip_boxes_to_image,
    complete_box_iou,
    distance_box_iou,
    generalized_box_iou,
    masks_to_boxes,
    nms,
    remove_small_boxes,
)
from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.ops import boxes

__all__ = [
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "boxes",
    "clip_boxes_to_image",
    "complete_box_iou",
    "distance_box_iou",
    "generalized_box_iou",
    "masks_to_boxes",
    "nms",
    "remove_small_boxes",
]

__getattr__ = module_getattr("ops", "cupola.vision has the operators on boxes only")
