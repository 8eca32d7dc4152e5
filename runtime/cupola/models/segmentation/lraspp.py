"""Lite R-ASPP (Howard et al., "Searching for MobileNetV3", 2019, section 6.4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from cupola import nn
from cupola.models._registry import builder
from cupola.models.mobilenetv3 import mobilenet_v3_large
from cupola.models.segmentation._model import CLASSES, cut_mobilenet, enlarged
from cupola.tensor import Tensor

__all__ = ["LRASPP", "lraspp_mobilenet_v3_large"]


class LRASPPHead(nn.Module):
    """Scores of fine and coarse results, the coarse ones weighted by the whole image's mean."""

    def __init__(
        self, low_channels: int, high_channels: int, num_classes: int, inter_channels: int
    ) -> None:
        super().__init__()
        self.cbr = nn.Sequential(
            nn.Conv2d(high_channels, inter_channels, 1, bias=False),
            nn.BatchNorm2d(inter_channels),
            nn.ReLU(inplace=True),
        )
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(high_channels, inter_channels, 1, bias=False),
            nn.Sigmoid(),
        )
        self.low_classifier = nn.Conv2d(low_channels, num_classes, 1)
        self.high_classifier = nn.Conv2d(inter_channels, num_classes, 1)

    def forward(self, input: Mapping[str, Tensor]) -> Tensor:
        """Returns scores of the size of `input["low"]`."""
        low, high = input["low"], input["high"]
        x = enlarged(self.cbr(high) * self.scale(high), low.shape[-2:])
        return self.low_classifier(low) + self.high_classifier(x)


class LRASPP(nn.Module):
    """A backbone with results "low" and "high", and a light head. Input (N, 3, H, W)."""

    def __init__(
        self,
        backbone: nn.Module,
        low_channels: int,
        high_channels: int,
        num_classes: int,
        inter_channels: int = 128,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = LRASPPHead(low_channels, high_channels, num_classes, inter_channels)

    def forward(self, input: Tensor) -> dict[str, Tensor]:
        """Returns "out": scores, (N, num_classes, H, W)."""
        scores = self.classifier(self.backbone(input))
        return OrderedDict(out=enlarged(scores, input.shape[-2:]))


@builder
def lraspp_mobilenet_v3_large(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trained: bool = False,
    **kwargs: Any,
) -> LRASPP:
    """Lite R-ASPP on MobileNet v3, large.

    Raises:
        NotImplementedError: aux_loss is asked for.
    """
    if kwargs.pop("aux_loss", False):
        raise NotImplementedError("This model does not use auxiliary loss")
    whole = mobilenet_v3_large(weights=weights_backbone, dilated=True)
    backbone, high, low = cut_mobilenet(whole, "high", "low")
    return LRASPP(backbone, low, high, num_classes or CLASSES)
