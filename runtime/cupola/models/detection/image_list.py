"""Images of different sizes in one batch."""

from __future__ import annotations

from typing import Any

from cupola.tensor import Tensor


class ImageList:
    """Images padded to one size, (N, C, H, W), and height and width of each before that."""

    def __init__(self, tensors: Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensors = tensors
        self.image_sizes = image_sizes

    def to(self, device: Any) -> ImageList:
        """Returns the same images on another device."""
        return ImageList(self.tensors.to(device), self.image_sizes)
