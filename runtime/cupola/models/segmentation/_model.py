"""What the segmentation models share: scores for each pixel from a backbone's results."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from cupola import nn
from cupola.models._getter import IntermediateLayerGetter, strided_places
from cupola.nn import functional as F
from cupola.tensor import Tensor

# Pascal VOC's 20 classes and the background.
CLASSES = 21


class _SimpleSegmentationModel(nn.Module):
    """A backbone, a classifier of its last result, perhaps one of an earlier result."""

    def __init__(
        self, backbone: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = aux_classifier

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns "out" and perhaps "aux": scores, (N, classes, H, W)."""
        features = self.backbone(x)
        heads = {"out": self.classifier, "aux": self.aux_classifier}
        return OrderedDict(
            (name, enlarged(head(features[name]), x.shape[-2:]))
            for name, head in heads.items()
            if head is not None
        )


def enlarged(x: Tensor, size: Any) -> Tensor:
    """Returns maps (N, C, h, w) interpolated to `size`."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def cut_resnet(backbone: nn.Module, aux: bool | None) -> IntermediateLayerGetter:
    """Returns a ResNet's last result as "out"; with `aux`, the one before as "aux"."""
    return IntermediateLayerGetter(
        backbone, {"layer4": "out", **({"layer3": "aux"} if aux else {})}
    )


def cut_mobilenet(
    backbone: nn.Module, last: str, earlier: str | None
) -> tuple[IntermediateLayerGetter, int, int]:
    """Returns a MobileNet v3's last result and one at an eighth of the size, under their names,
    with the numbers of channels of both.
    """
    features = backbone.features
    places = strided_places(features)
    high, low = places[-1], places[-4]
    wanted = {str(high): last, **({str(low): earlier} if earlier else {})}
    getter = IntermediateLayerGetter(features, wanted)
    return getter, features[high].out_channels, features[low].out_channels
