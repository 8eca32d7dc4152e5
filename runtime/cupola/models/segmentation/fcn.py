"""Fully convolutional networks (Long et al., "Fully Convolutional Networks for Semantic
Segmentation", 2015).
"""

from __future__ import annotations

from typing import Any

from cupola import nn
from cupola.models._registry import builder
from cupola.models.resnet import resnet50, resnet101
from cupola.models.segmentation._model import CLASSES, _SimpleSegmentationModel, cut_resnet

__all__ = ["FCN", "FCNHead", "fcn_resnet101", "fcn_resnet50"]
_DILATED = [False, True, True]


class FCN(_SimpleSegmentationModel):
    """A dilated ResNet with a head of two convolutions. Input (N, 3, H, W)."""


class FCNHead(nn.Sequential):
    """Two convolutions that turn channels into scores."""

    def __init__(self, in_channels: int, channels: int) -> None:
        inner = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(inner, channels, 1),
        )


def _fcn(make: Any, num_classes: int | None, aux_loss: bool | None, weights: Any) -> FCN:
    num_classes = num_classes or CLASSES
    backbone = cut_resnet(make(weights=weights, replace_stride_with_dilation=_DILATED), aux_loss)
    # The auxiliary head draws first.
    auxiliary = FCNHead(1024, num_classes) if aux_loss else None
    return FCN(backbone, FCNHead(2048, num_classes), auxiliary)


@builder(published={"aux_loss": True})
def fcn_resnet50(
    *,
    num_classes: int | None = None,
    aux_loss: bool | None = None,
    weights_backbone: Any = None,
    trained: bool = False,
    **kwargs: Any,
) -> FCN:
    """FCN on ResNet-50. `aux_loss` also scores an earlier result, "aux"."""
    return _fcn(resnet50, num_classes, aux_loss, weights_backbone)


@builder(published={"aux_loss": True})
def fcn_resnet101(
    *,
    num_classes: int | None = None,
    aux_loss: bool | None = None,
    weights_backbone: Any = None,
    trained: bool = False,
    **kwargs: Any,
) -> FCN:
    """FCN on ResNet-101."""
    return _fcn(resnet101, num_classes, aux_loss, weights_backbone)
