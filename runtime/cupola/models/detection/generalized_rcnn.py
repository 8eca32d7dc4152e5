"""Detectors of two stages: proposals, then heads for each proposed box."""

from __future__ import annotations

from collections.abc import Sequence

from cupola import nn
from cupola.models.detection._detector import Detector
from cupola.models.detection.transform import Target
from cupola.tensor import Tensor


class GeneralizedRCNN(Detector):
    """A transform, a backbone, a proposal network and heads.

    torchvision.models.detection.generalized_rcnn.GeneralizedRCNN.
    """

    def __init__(
        self, backbone: nn.Module, rpn: nn.Module, roi_heads: nn.Module, transform: nn.Module
    ) -> None:
        super().__init__()
        self.transform = transform
        self.backbone = backbone
        self.rpn = rpn
        self.roi_heads = roi_heads

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Target] | None = None
    ) -> dict[str, Tensor] | list[Target]:
        """Returns losses in training, else each image's detections; see `Detector`.

        Args:
            images: (3, H, W) each, from 0 to 1, of any size.
            targets: for each image "boxes" (L, 4) and "labels" (L,), int64, and perhaps "masks"
                (L, H, W) and "keypoints" (L, K, 3).

        Raises:
            AssertionError: training without targets, or with boxes that have no area.
        """
        batch, targets, original, features = self._levels(images, targets)
        proposals, proposal_losses = self.rpn(batch, features, targets)
        found, losses = self.roi_heads(features, proposals, batch.image_sizes, targets)
        found = self._found(found, batch, original)
        return {**losses, **proposal_losses} if self.training else found
