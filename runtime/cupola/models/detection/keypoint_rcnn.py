"""Keypoint R-CNN (He et al., "Mask R-CNN", 2017, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cupola import nn
from cupola.models._initial import he_normal, initialise
from cupola.models._registry import builder
from cupola.models.detection.faster_rcnn import FasterRCNN, check_pool, regions, usual_backbone
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.poolers import MultiScaleRoIAlign

__all__ = ["KeypointRCNN", "keypointrcnn_resnet50_fpn"]
# COCO's: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
KEYPOINTS = 17


class KeypointRCNNHeads(nn.Sequential):
    """3×3 convolutions on a region's features."""

    def __init__(self, in_channels: int, layers: Sequence[int]) -> None:
        blocks: list[nn.Module] = []
        for wide in layers:
            blocks += [
                nn.Conv2d(in_channels, wide, 3, stride=1, padding=1),
                nn.ReLU(inplace=True),
            ]
            in_channels = wide
        super().__init__(*blocks)
        initialise(self, he_normal(), norms=())


class KeypointRCNNPredictor(nn.Module):
    """Four times the size, a heat map for each keypoint."""

    def __init__(self, in_channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.kps_score_lowres = nn.ConvTranspose2d(
            in_channels, num_keypoints, 4, stride=2, padding=1
        )
        initialise(self, he_normal(), convs=(nn.ConvTranspose2d,), norms=())
        self.up_scale = 2
        self.out_channels = num_keypoints

    def forward(self, x: Tensor) -> Tensor:
        """Returns (L, num_keypoints, 4H, 4W)."""
        return F.interpolate(
            self.kps_score_lowres(x),
            scale_factor=float(self.up_scale),
            mode="bilinear",
            align_corners=False,
            recompute_scale_factor=False,
        )


class KeypointRCNN(FasterRCNN):
    """Faster R-CNN that also finds keypoints in each box.

    Args:
        args, kwargs: of `FasterRCNN`.
        keypoint_...: pooling, head and predictor of keypoints.

    Raises:
        TypeError: a pooling of another class.
        ValueError: both `num_keypoints` and `keypoint_predictor`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int | None = None,
        min_size: int | Sequence[int] | None = None,
        *args: Any,
        keypoint_roi_pool: MultiScaleRoIAlign | None = None,
        keypoint_head: nn.Module | None = None,
        keypoint_predictor: nn.Module | None = None,
        num_keypoints: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_pool("keypoint_roi_pool", keypoint_roi_pool)
        if num_keypoints is not None and keypoint_predictor is not None:
            raise ValueError("num_keypoints should be None when keypoint_predictor is specified")
        # Drawn before the other heads.
        head = keypoint_head or KeypointRCNNHeads(backbone.out_channels, [512] * 8)
        predictor = keypoint_predictor or KeypointRCNNPredictor(512, num_keypoints or KEYPOINTS)
        sizes = min_size or (640, 672, 704, 736, 768, 800)
        super().__init__(backbone, num_classes, sizes, *args, **kwargs)
        self.roi_heads.keypoint_roi_pool = keypoint_roi_pool or regions(14)
        self.roi_heads.keypoint_head = head
        self.roi_heads.keypoint_predictor = predictor


@builder
def keypointrcnn_resnet50_fpn(
    *,
    num_classes: int | None = None,
    num_keypoints: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> KeypointRCNN:
    """Keypoint R-CNN on ResNet-50 with a pyramid. Arguments of `KeypointRCNN`."""
    backbone = usual_backbone(trained, weights_backbone, trainable_backbone_layers)
    return KeypointRCNN(backbone, num_classes or 2, num_keypoints=num_keypoints, **kwargs)
