"""Res2Net (Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", 2021).

The keys of the state dict are those of the authors' published weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cupola import nn
from cupola.functional.joining import cat
from cupola.models._initial import he_normal, initialise
from cupola.models._registry import builder
from cupola.models.resnet import conv1x1, conv3x3
from cupola.tensor import Tensor

__all__ = ["Bottle2neck", "Res2Net", "res2net101", "res2net50"]


class Bottle2neck(nn.Module):
    """A bottleneck whose channels are cut into `scale` pieces; each 3×3 convolution but the first
    also sees the result of the one before.

    Args:
        stype: "stage" for the first block of a stage, whose pieces do not see each other, else
            "normal".
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        baseWidth: int = 26,
        scale: int = 4,
        stype: str = "normal",
    ) -> None:
        super().__init__()
        width = math.floor(planes * (baseWidth / 64.0))
        self.conv1 = conv1x1(inplanes, width * scale)
        self.bn1 = nn.BatchNorm2d(width * scale)
        self.nums = max(1, scale - 1)
        if stype == "stage":
            self.pool = nn.AvgPool2d(kernel_size=3, stride=stride, padding=1)
        # Convolution and normalisation in turn, as the authors' code draws them.
        pairs = [(conv3x3(width, width, stride), nn.BatchNorm2d(width)) for _ in range(self.nums)]
        self.convs = nn.ModuleList(conv for conv, _ in pairs)
        self.bns = nn.ModuleList(norm for _, norm in pairs)
        self.conv3 = conv1x1(width * scale, planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stype = stype
        self.scale = scale
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Returns relu(x + f(x)); where shapes change, x is projected first."""
        shortcut = x if self.downsample is None else self.downsample(x)
        pieces = self.relu(self.bn1(self.conv1(x))).split(self.width, 1)
        done: list[Tensor] = []
        for piece, conv, norm in zip(pieces, self.convs, self.bns):
            if done and self.stype == "normal":
                piece = piece + done[-1]
            done.append(self.relu(norm(conv(piece))))
        if self.scale > 1:
            last = pieces[self.nums]
            done.append(self.pool(last) if self.stype == "stage" else last)
        return self.relu(self.bn3(self.conv3(cat(done, 1))) + shortcut)


class Res2Net(nn.Module):
    """A ResNet of `Bottle2neck` blocks. Input (N, 3, H, W)."""

    def __init__(
        self,
        block: type[Bottle2neck],
        layers: Sequence[int],
        baseWidth: int = 26,
        scale: int = 4,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.inplanes = 64
        self.baseWidth = baseWidth
        self.scale = scale
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], stride=2)
        self.layer3 = self._make_layer(block, 256, layers[2], stride=2)
        self.layer4 = self._make_layer(block, 512, layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        initialise(self, he_normal(), biases=False)

    def _make_layer(
        self, block: type[Bottle2neck], planes: int, blocks: int, stride: int = 1
    ) -> nn.Sequential:
        width = planes * block.expansion
        downsample = None
        if stride != 1 or self.inplanes != width:
            downsample = nn.Sequential(conv1x1(self.inplanes, width, stride), nn.BatchNorm2d(width))
        cut = {"baseWidth": self.baseWidth, "scale": self.scale}
        made = [block(self.inplanes, planes, stride, downsample, stype="stage", **cut)]
        self.inplanes = width
        made += [block(width, planes, **cut) for _ in range(1, blocks)]
        return nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


@builder
def res2net50(**kwargs: Any) -> Res2Net:
    """Res2Net-50 with 4 pieces of 26 channels. Arguments of `Res2Net`."""
    return Res2Net(Bottle2neck, [3, 4, 6, 3], **kwargs)


@builder
def res2net101(**kwargs: Any) -> Res2Net:
    """Res2Net-101 with 4 pieces of 26 channels."""
    return Res2Net(Bottle2neck, [3, 4, 23, 3], **kwargs)
