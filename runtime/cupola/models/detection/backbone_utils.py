"""Backbones for detectors: classification models cut into levels, with or without a pyramid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cupola import nn
from cupola.models._getter import IntermediateLayerGetter, strided_places
from cupola.models._registry import get_model_builder
from cupola.tensor import Tensor
from cupola.vision.misc import FrozenBatchNorm2d
from cupola.vision.pyramid import ExtraFPNBlock, FeaturePyramidNetwork, LastLevelMaxPool

Norm = Callable[..., nn.Module]
_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")


class BackboneWithFPN(nn.Module):
    """A cut backbone and a pyramid on it; by default with a pooled level on top.

    torchvision.models.detection.backbone_utils.BackboneWithFPN.
    """

    def __init__(
        self,
        backbone: nn.Module,
        return_layers: Mapping[str, str],
        in_channels_list: Sequence[int],
        out_channels: int,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(backbone, return_layers)
        self.fpn = FeaturePyramidNetwork(
            in_channels_list, out_channels, extra_blocks or LastLevelMaxPool(), norm_layer
        )
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Returns the levels by name, finest first."""
        return self.fpn(self.body(x))


def on_resnet(
    backbone: nn.Module,
    trainable_layers: int,
    returned_layers: Sequence[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
    norm_layer: Norm | None = None,
) -> BackboneWithFPN:
    """Returns a pyramid on a ResNet, of which the last `trainable_layers` of five are trained.

    Raises:
        ValueError: layers outside 0 to 5, or returned layers outside 1 to 4.
    """
    if not 0 <= trainable_layers <= 5:
        raise ValueError(f"Trainable layers should be in the range [0,5], got {trainable_layers}")
    trained = (*_STAGES[:trainable_layers], *(["bn1"] if trainable_layers == 5 else []))
    for name, parameter in backbone.named_parameters():
        if not name.startswith(trained or ("\n",)):
            parameter.requires_grad_(False)
    layers = returned_layers or [1, 2, 3, 4]
    if min(layers) <= 0 or max(layers) >= 5:
        raise ValueError(f"Each returned layer should be in the range [1,4]. Got {layers}")
    wanted = {f"layer{layer}": str(i) for i, layer in enumerate(layers)}
    channels = [backbone.inplanes // 8 * 2 ** (layer - 1) for layer in layers]
    return BackboneWithFPN(backbone, wanted, channels, 256, extra_blocks, norm_layer)


def frozen_before(features: nn.Module, stages: Sequence[int], trainable: int) -> None:
    """Freezes all but the last `trainable` of the stages that begin at the given layers.

    Raises:
        ValueError: more stages than there are, or fewer than none.
    """
    if not 0 <= trainable <= len(stages):
        raise ValueError(
            f"Trainable layers should be in the range [0,{len(stages)}], got {trainable}"
        )
    end = len(features) if trainable == 0 else stages[len(stages) - trainable]
    for layer in features[:end]:
        for parameter in layer.parameters():
            parameter.requires_grad_(False)


def on_mobilenet(
    backbone: nn.Module,
    fpn: bool,
    trainable_layers: int,
    returned_layers: Sequence[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
    norm_layer: Norm | None = None,
) -> nn.Module:
    """Returns a MobileNet's features with a pyramid, or with one 1×1 convolution.

    Raises:
        ValueError: layers that it does not have.
    """
    features = backbone.features
    stages = strided_places(features)
    frozen_before(features, stages, trainable_layers)
    if not fpn:
        single = nn.Sequential(features, nn.Conv2d(features[-1].out_channels, 256, 1))
        single.out_channels = 256
        return single
    layers = returned_layers or [len(stages) - 2, len(stages) - 1]
    if min(layers) < 0 or max(layers) >= len(stages):
        raise ValueError(
            f"Each returned layer should be in the range [0,{len(stages) - 1}], got {layers} "
        )
    wanted = {str(stages[layer]): str(i) for i, layer in enumerate(layers)}
    channels = [features[stages[layer]].out_channels for layer in layers]
    return BackboneWithFPN(features, wanted, channels, 256, extra_blocks, norm_layer)


def resnet_fpn_backbone(
    *,
    backbone_name: str,
    weights: Any,
    norm_layer: Norm = FrozenBatchNorm2d,
    trainable_layers: int = 3,
    returned_layers: Sequence[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
) -> BackboneWithFPN:
    """Returns a pyramid on the ResNet of that name.

    torchvision.models.detection.backbone_utils.resnet_fpn_backbone.
    """
    backbone = get_model_builder(backbone_name)(weights=weights, norm_layer=norm_layer)
    return on_resnet(backbone, trainable_layers, returned_layers, extra_blocks)


def mobilenet_backbone(
    *,
    backbone_name: str,
    weights: Any,
    fpn: bool,
    norm_layer: Norm = FrozenBatchNorm2d,
    trainable_layers: int = 2,
    returned_layers: Sequence[int] | None = None,
    extra_blocks: ExtraFPNBlock | None = None,
) -> nn.Module:
    """Returns the features of the MobileNet of that name, with or without a pyramid.

    torchvision.models.detection.backbone_utils.mobilenet_backbone.
    """
    backbone = get_model_builder(backbone_name)(weights=weights, norm_layer=norm_layer)
    return on_mobilenet(backbone, fpn, trainable_layers, returned_layers, extra_blocks)


def trainable(trained: bool, wanted: int | None, most: int, usual: int) -> int:
    """Returns how many stages of a backbone are trained: all where its weights are random.

    Raises:
        ValueError: a number that the backbone does not have.
    """
    if not trained:
        if wanted is not None:
            warnings.warn(
                "trainable_backbone_layers has no effect on a backbone with random weights: all "
                f"{most} layers are trained",
                stacklevel=3,
            )
        wanted = most
    wanted = usual if wanted is None else wanted
    if not 0 <= wanted <= most:
        raise ValueError(
            f"Trainable backbone layers should be in the range [0,{most}], got {wanted} "
        )
    return wanted
