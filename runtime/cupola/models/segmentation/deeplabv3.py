"""DeepLab v3 (Chen et al., "Rethinking Atrous Convolution for Semantic Segmentation", 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cupola import nn
from cupola.functional.joining import cat
from cupola.models._registry import builder
from cupola.models.mobilenetv3 import mobilenet_v3_large
from cupola.models.resnet import resnet50, resnet101
from cupola.models.segmentation._model import (
    CLASSES,
    _SimpleSegmentationModel,
    cut_mobilenet,
    cut_resnet,
    enlarged,
)
from cupola.models.segmentation.fcn import FCNHead
from cupola.tensor import Tensor

__all__ = [
    "DeepLabHead",
    "DeepLabV3",
    "deeplabv3_mobilenet_v3_large",
    "deeplabv3_resnet101",
    "deeplabv3_resnet50",
]
_DILATED = [False, True, True]


class DeepLabV3(_SimpleSegmentationModel):
    """A dilated backbone with a head that looks at several scales. Input (N, 3, H, W)."""


def _conv(in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 0) -> list:
    """A convolution that keeps the size, with normalisation and activation."""
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        padding=dilation,
        dilation=max(dilation, 1),
        bias=False,
    )
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


class ASPPConv(nn.Sequential):
    """A dilated 3×3 convolution."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__(*_conv(in_channels, out_channels, 3, dilation))


class ASPPPooling(nn.Sequential):
    """The mean of the whole image, everywhere."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_conv(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, out_channels, H, W)."""
        return enlarged(super().forward(x), x.shape[-2:])


class ASPP(nn.Module):
    """1×1, dilated and pooled convolutions side by side, joined by a 1×1 convolution."""

    def __init__(
        self, in_channels: int, atrous_rates: Sequence[int], out_channels: int = 256
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Sequential(*_conv(in_channels, out_channels))])
        for rate in atrous_rates:
            self.convs.append(ASPPConv(in_channels, out_channels, rate))
        self.convs.append(ASPPPooling(in_channels, out_channels))
        joined = len(self.convs) * out_channels
        self.project = nn.Sequential(*_conv(joined, out_channels), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, out_channels, H, W)."""
        return self.project(cat([conv(x) for conv in self.convs], 1))


class DeepLabHead(nn.Sequential):
    """An `ASPP` and two convolutions that turn channels into scores."""

    def __init__(
        self, in_channels: int, num_classes: int, atrous_rates: Sequence[int] = (12, 24, 36)
    ) -> None:
        super().__init__(
            ASPP(in_channels, atrous_rates),
            *_conv(256, 256, 3, 1),
            nn.Conv2d(256, num_classes, 1),
        )


def _on_resnet(make: Any, num_classes: int | None, aux: bool | None, weights: Any) -> DeepLabV3:
    num_classes = num_classes or CLASSES
    backbone = cut_resnet(make(weights=weights, replace_stride_with_dilation=_DILATED), aux)
    # The auxiliary head draws first.
    auxiliary = FCNHead(1024, num_classes) if aux else None
    return DeepLabV3(backbone, DeepLabHead(2048, num_classes), auxiliary)


@builder(published={"aux_loss": True})
def deeplabv3_resnet50(
    *,
    num_classes: int | None = None,
    aux_loss: bool | None = None,
    weights_backbone: Any = None,
    trained: bool = False,
    **kwargs: Any,
) -> DeepLabV3:
    """DeepLab v3 on ResNet-50. `aux_loss` also scores an earlier result, "aux"."""
    return _on_resnet(resnet50, num_classes, aux_loss, weights_backbone)


@builder(published={"aux_loss": True})
def deeplabv3_resnet101(
    *,
    num_classes: int | None = None,
    aux_loss: bool | None = None,
    weights_backbone: Any = None,
    trained: bool = False,
    **kwargs: Any,
) -> DeepLabV3:
    """DeepLab v3 on ResNet-101."""
    return _on_resnet(resnet101, num_classes, aux_loss, weights_backbone)


@builder(published={"aux_loss": True})
def deeplabv3_mobilenet_v3_large(
    *,
    num_classes: int | None = None,
    aux_loss: bool | None = None,
    weights_backbone: Any = None,
    trained: bool = False,
    **kwargs: Any,
) -> DeepLabV3:
    """DeepLab v3 on MobileNet v3, large."""
    num_classes = num_classes or CLASSES
    whole = mobilenet_v3_large(weights=weights_backbone, dilated=True)
    backbone, channels, earlier = cut_mobilenet(whole, "out", "aux" if aux_loss else None)
    auxiliary = FCNHead(earlier, num_classes) if aux_loss else None
    return DeepLabV3(backbone, DeepLabHead(channels, num_classes), auxiliary)
