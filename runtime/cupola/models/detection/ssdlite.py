"""SSDlite (Sandler et al., "MobileNetV2", 2018; Howard et al., "MobileNetV3", 2019)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cupola import nn
from cupola.models._getter import strided_places
from cupola.models._registry import builder
from cupola.models.detection._detector import CLASSES
from cupola.models.detection._utils import retrieve_out_channels
from cupola.models.detection.anchor_utils import DefaultBoxGenerator
from cupola.models.detection.backbone_utils import frozen_before, trainable
from cupola.models.detection.ssd import SSD, SSDScoringHead, check_levels, warn_of_size
from cupola.models.mobilenetv3 import mobilenet_v3_large
from cupola.tensor import Tensor
from cupola.vision.misc import Conv2dNormActivation

__all__ = ["SSDLiteHead", "ssdlite320_mobilenet_v3_large"]
Norm = Callable[..., nn.Module]


def _normal(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, mean=0.0, std=0.03)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _scoring(
    in_channels: Sequence[int], out_channels: Sequence[int], norm_layer: Norm
) -> nn.ModuleList:
    """One convolution a channel and one a pixel, for each level."""
    made = nn.ModuleList()
    for wide, out in zip(in_channels, out_channels):
        each = Conv2dNormActivation(
            wide,
            wide,
            kernel_size=3,
            groups=wide,
            norm_layer=norm_layer,
            activation_layer=nn.ReLU6,
        )
        made.append(nn.Sequential(each, nn.Conv2d(wide, out, 1)))
    _normal(made)
    return made


class SSDLiteClassificationHead(SSDScoringHead):
    """Logits of each anchor and class."""

    def __init__(
        self,
        in_channels: Sequence[int],
        num_anchors: Sequence[int],
        num_classes: int,
        norm_layer: Norm,
    ) -> None:
        columns = [num_classes * n for n in num_anchors]
        super().__init__(_scoring(in_channels, columns, norm_layer), num_classes)


class SSDLiteRegressionHead(SSDScoringHead):
    """Four numbers for each anchor."""

    def __init__(
        self, in_channels: Sequence[int], num_anchors: Sequence[int], norm_layer: Norm
    ) -> None:
        super().__init__(_scoring(in_channels, [4 * n for n in num_anchors], norm_layer), 4)


class SSDLiteHead(nn.Module):
    """A head that classifies and one that regresses."""

    def __init__(
        self,
        in_channels: Sequence[int],
        num_anchors: Sequence[int],
        num_classes: int,
        norm_layer: Norm,
    ) -> None:
        super().__init__()
        self.classification_head = SSDLiteClassificationHead(
            in_channels, num_anchors, num_classes, norm_layer
        )
        self.regression_head = SSDLiteRegressionHead(in_channels, num_anchors, norm_layer)

    def forward(self, x: Sequence[Tensor]) -> dict[str, Tensor]:
        """Returns (N, anchors, 4) and (N, anchors, classes)."""
        return {
            "bbox_regression": self.regression_head(x),
            "cls_logits": self.classification_head(x),
        }


def _smaller(in_channels: int, out_channels: int, norm_layer: Norm) -> nn.Sequential:
    """Narrow, one strided convolution a channel, wide."""
    conv = partial(Conv2dNormActivation, norm_layer=norm_layer, activation_layer=nn.ReLU6)
    inner = out_channels // 2
    return nn.Sequential(
        conv(in_channels, inner, kernel_size=1),
        conv(inner, inner, kernel_size=3, stride=2, groups=inner),
        conv(inner, out_channels, kernel_size=1),
    )


class SSDLiteFeatureExtractorMobileNet(nn.Module):
    """MobileNet's features, cut inside the block at `c4_pos`, and blocks that go on from there.

    Raises:
        ValueError: that block adds its input.
    """

    def __init__(
        self,
        backbone: nn.Sequential,
        c4_pos: int,
        norm_layer: Norm,
        width_mult: float = 1.0,
        min_depth: int = 16,
    ) -> None:
        super().__init__()
        cut = backbone[c4_pos]
        if cut.use_res_connect:
            raise ValueError("backbone[c4_pos].use_res_connect should be False")
        self.features = nn.Sequential(
            nn.Sequential(*backbone[:c4_pos], cut.block[0]),
            nn.Sequential(cut.block[1:], *backbone[c4_pos + 1 :]),
        )
        widths = [max(min_depth, int(d * width_mult)) for d in (512, 256, 256, 128)]
        before = [backbone[-1].out_channels, *widths]
        self.extra = nn.ModuleList(
            [_smaller(wide, out, norm_layer) for wide, out in zip(before, widths)]
        )
        _normal(self.extra)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns six levels, finest first."""
        levels = []
        for block in (*self.features, *self.extra):
            x = block(x)
            levels.append(x)
        return OrderedDict((str(i), level) for i, level in enumerate(levels))


@builder
def ssdlite320_mobilenet_v3_large(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    norm_layer: Norm | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> SSD:
    """SSDlite on MobileNet v3, large, images of 320 × 320 pixels. Arguments of `SSD`."""
    warn_of_size(kwargs)
    num_classes = num_classes or CLASSES
    layers = trainable(trained, trainable_backbone_layers, 6, 6)
    norm_layer = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    # Published weights of the backbone have the full tail.
    narrow = weights_backbone is None
    whole = mobilenet_v3_large(
        weights=weights_backbone, norm_layer=norm_layer, reduced_tail=narrow, **kwargs
    )
    if narrow:
        _normal(whole)
    places = strided_places(whole.features)
    frozen_before(whole.features, places, layers)
    backbone = SSDLiteFeatureExtractorMobileNet(whole.features, places[-2], norm_layer)
    anchors = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95)
    channels = retrieve_out_channels(backbone, (320, 320))
    check_levels(channels, anchors)
    head = SSDLiteHead(channels, anchors.num_anchors_per_location(), num_classes, norm_layer)
    options = {
        "score_thresh": 0.001,
        "nms_thresh": 0.55,
        "detections_per_img": 300,
        "topk_candidates": 300,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        **kwargs,
    }
    return SSD(backbone, anchors, (320, 320), num_classes, head=head, **options)
