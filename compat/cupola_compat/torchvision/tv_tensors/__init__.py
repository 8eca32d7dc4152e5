"""Tensors that say what they hold: images, videos, masks, boxes, key points
(torchvision.tv_tensors).
"""

from cupola_compat.torchvision._unsupported import module_getattr
from cupola_compat.torchvision.tv_tensors.base import TVTensor, set_return_type, wrap
from cupola_compat.torchvision.tv_tensors.pictures import Image, Mask, Video
from cupola_compat.torchvision.tv_tensors.places import (
    BoundingBoxes,
    BoundingBoxFormat,
    KeyPoints,
    is_rotated_bounding_format,
)

__all__ = [
    "BoundingBoxFormat",
    "BoundingBoxes",
    "Image",
    "KeyPoints",
    "Mask",
    "TVTensor",
    "Video",
    "is_rotated_bounding_format",
    "set_return_type",
    "wrap",
]

__getattr__ = module_getattr("tv_tensors")
