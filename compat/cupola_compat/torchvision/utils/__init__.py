"""Grids of images, and drawings on them (torchvision.utils)."""

from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.utils.drawing import (
    draw_bounding_boxes,
    draw_keypoints,
    draw_segmentation_masks,
)
from cupola_compat.torchvision.utils.flow import flow_to_image
from cupola_compat.torchvision.utils.grid import make_grid, save_image

__all__ = [
    "draw_bounding_boxes",
    "draw_keypoints",
    "draw_segmentation_masks",
    "flow_to_image",
    "make_grid",
    "save_image",
]

__getattr__ = module_getattr("utils", "draw with Pillow on to_pil_image(tensor)")
