"""Mask R-CNN (He et al., 2017), and its second version (Li et al., 2021)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from cupola import nn
from cupola.models._initial import he_normal, initialise
from cupola.models._registry import builder
from cupola.models.detection._detector import CLASSES
from cupola.models.detection.faster_rcnn import (
    FasterRCNN,
    check_pool,
    regions,
    second_version,
    usual_backbone,
)
from cupola.vision.misc import Conv2dNormActivation
from cupola.vision.poolers import MultiScaleRoIAlign

__all__ = ["MaskRCNN", "maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"]


class MaskRCNNHeads(nn.Sequential):
    """3×3 convolutions on a region's features."""

    _version = 2

    def __init__(
        self,
        in_channels: int,
        layers: Sequence[int],
        dilation: int,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        blocks = []
        for wide in layers:
            blocks.append(
                Conv2dNormActivation(
                    in_channels,
                    wide,
                    kernel_size=3,
                    stride=1,
                    padding=dilation,
                    dilation=dilation,
                    norm_layer=norm_layer,
                )
            )
            in_channels = wide
        super().__init__(*blocks)
        initialise(self, he_normal(), norms=())

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        # Files of the first version call the convolutions mask_fcn1 to mask_fcn4.
        if (local_metadata.get("version") or 1) < 2:
            for i in range(len(self)):
                for kind in ("weight", "bias"):
                    if (key := f"{prefix}mask_fcn{i + 1}.{kind}") in state_dict:
                        state_dict[f"{prefix}{i}.0.{kind}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class MaskRCNNPredictor(nn.Sequential):
    """Twice the size, then a mask for each class."""

    def __init__(self, in_channels: int, dim_reduced: int, num_classes: int) -> None:
        super().__init__(
            OrderedDict(
                conv5_mask=nn.ConvTranspose2d(in_channels, dim_reduced, 2, 2, 0),
                relu=nn.ReLU(inplace=True),
                mask_fcn_logits=nn.Conv2d(dim_reduced, num_classes, 1, 1, 0),
            )
        )
        both = (nn.Conv2d, nn.ConvTranspose2d)
        initialise(self, he_normal(), convs=both, norms=(), biases=False)


class MaskRCNN(FasterRCNN):
    """Faster R-CNN that also finds a mask for each box.

    Args:
        args, kwargs: of `FasterRCNN`.
        mask_...: pooling, head and predictor of masks.

    Raises:
        TypeError: a pooling of another class.
        ValueError: both `num_classes` and `mask_predictor`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int | None = None,
        *args: Any,
        mask_roi_pool: MultiScaleRoIAlign | None = None,
        mask_head: nn.Module | None = None,
        mask_predictor: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        check_pool("mask_roi_pool", mask_roi_pool)
        if num_classes is not None and mask_predictor is not None:
            raise ValueError("num_classes should be None when mask_predictor is specified")
        # Drawn before the other heads.
        head = mask_head or MaskRCNNHeads(backbone.out_channels, (256, 256, 256, 256), 1)
        predictor = mask_predictor or MaskRCNNPredictor(256, 256, num_classes)
        super().__init__(backbone, num_classes, *args, **kwargs)
        self.roi_heads.mask_roi_pool = mask_roi_pool or regions(14)
        self.roi_heads.mask_head = head
        self.roi_heads.mask_predictor = predictor


@builder
def maskrcnn_resnet50_fpn(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> MaskRCNN:
    """Mask R-CNN on ResNet-50 with a pyramid. Arguments of `MaskRCNN`."""
    backbone = usual_backbone(trained, weights_backbone, trainable_backbone_layers)
    return MaskRCNN(backbone, num_classes or CLASSES, **kwargs)


@builder
def maskrcnn_resnet50_fpn_v2(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> MaskRCNN:
    """Mask R-CNN, second version: normalisation everywhere, deeper heads."""
    backbone, heads = second_version(trained, weights_backbone, trainable_backbone_layers)
    heads["mask_head"] = MaskRCNNHeads(
        backbone.out_channels, [256] * 4, 1, norm_layer=nn.BatchNorm2d
    )
    return MaskRCNN(backbone, num_classes or CLASSES, **{**heads, **kwargs})
