"""Residual networks for videos (Tran et al., "A Closer Look at Spatiotemporal Convolutions for
Action Recognition", 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola import nn
from cupola.models._initial import he_normal, initialise, normal
from cupola.models._registry import builder
from cupola.tensor import Tensor

__all__ = ["VideoResNet", "mc3_18", "r2plus1d_18", "r3d_18"]


class Conv3DSimple(nn.Conv3d):
    """A 3×3×3 convolution without bias."""

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        midplanes: int | None = None,
        stride: int = 1,
        padding: int = 1,
    ) -> None:
        super().__init__(in_planes, out_planes, (3, 3, 3), stride, padding, bias=False)

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Returns the stride in time, height and width."""
        return stride, stride, stride


class Conv2Plus1D(nn.Sequential):
    """A convolution in space and one in time, with `midplanes` channels between them."""

    def __init__(
        self, in_planes: int, out_planes: int, midplanes: int, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__(
            nn.Conv3d(
                in_planes, midplanes, (1, 3, 3), (1, stride, stride), (0, padding, padding),
                bias=False,
            ),
            nn.BatchNorm3d(midplanes),
            nn.ReLU(inplace=True),
            nn.Conv3d(
                midplanes, out_planes, (3, 1, 1), (stride, 1, 1), (padding, 0, 0), bias=False
            ),
        )  # fmt: skip

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Returns the stride in time, height and width."""
        return stride, stride, stride


class Conv3DNoTemporal(nn.Conv3d):
    """A 3×3 convolution of every frame, without bias."""

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        midplanes: int | None = None,
        stride: int = 1,
        padding: int = 1,
    ) -> None:
        strides, pads = (1, stride, stride), (0, padding, padding)
        super().__init__(in_planes, out_planes, (1, 3, 3), strides, pads, bias=False)

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Returns the stride in time, height and width."""
        return 1, stride, stride


Maker = type[Conv3DSimple | Conv2Plus1D | Conv3DNoTemporal]


def _between(inplanes: int, planes: int) -> int:
    """Channels between space and time that give as many weights as a full convolution has."""
    return (inplanes * planes * 27) // (inplanes * 9 + 3 * planes)


class BasicBlock(nn.Module):
    """Two convolutions around which the input is added."""

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        conv_builder: Callable[..., nn.Module],
        stride: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        middle = _between(inplanes, planes)
        self.conv1 = nn.Sequential(
            conv_builder(inplanes, planes, middle, stride),
            nn.BatchNorm3d(planes),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(conv_builder(planes, planes, middle), nn.BatchNorm3d(planes))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Returns relu(x + f(x)); where shapes change, x is projected first."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + shortcut)


class Bottleneck(nn.Module):
    """1×1×1, full and 1×1×1 convolutions around which the input is added."""

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        conv_builder: Callable[..., nn.Module],
        stride: int = 1,
        downsample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        middle, wide = _between(inplanes, planes), planes * self.expansion
        self.conv1 = nn.Sequential(
            nn.Conv3d(inplanes, planes, kernel_size=1, bias=False),
            nn.BatchNorm3d(planes),
            nn.ReLU(inplace=True),
        )
        self.conv2 = nn.Sequential(
            conv_builder(planes, planes, middle, stride),
            nn.BatchNorm3d(planes),
            nn.ReLU(inplace=True),
        )
        self.conv3 = nn.Sequential(
            nn.Conv3d(planes, wide, kernel_size=1, bias=False), nn.BatchNorm3d(wide)
        )
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Returns relu(x + f(x)); where shapes change, x is projected first."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv3(self.conv2(self.conv1(x))) + shortcut)


class BasicStem(nn.Sequential):
    """A 3×7×7 convolution with normalisation and activation."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
            nn.BatchNorm3d(64),
            nn.ReLU(inplace=True),
        )


class R2Plus1dStem(nn.Sequential):
    """A 7×7 convolution in space, then one of 3 in time."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            nn.BatchNorm3d(45),
            nn.ReLU(inplace=True),
            nn.Conv3d(45, 64, (3, 1, 1), (1, 1, 1), (1, 0, 0), bias=False),
            nn.BatchNorm3d(64),
            nn.ReLU(inplace=True),
        )


class VideoResNet(nn.Module):
    """A stem, four stages of residual blocks, one linear layer. Input (N, 3, T, H, W).

    Args:
        conv_makers: the kind of convolution of each stage.
        layers: blocks in each stage.
        zero_init_residual: each `Bottleneck` starts as the identity.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        conv_makers: Sequence[Maker],
        layers: Sequence[int],
        stem: Callable[..., nn.Module],
        num_classes: int = 400,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        self.inplanes = 64
        self.stem = stem()
        for i, (maker, depth) in enumerate(zip(conv_makers, layers)):
            stage = self._make_layer(block, maker, 64 << i, depth, stride=2 if i else 1)
            setattr(self, f"layer{i + 1}", stage)
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        initialise(self, he_normal(), normal(0.01), convs=(nn.Conv3d,), norms=(nn.BatchNorm3d,))
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, Bottleneck):
                    nn.init.zeros_(module.conv3[1].weight)

    def _make_layer(
        self,
        block: type[BasicBlock | Bottleneck],
        conv_builder: Maker,
        planes: int,
        blocks: int,
        stride: int = 1,
    ) -> nn.Sequential:
        wide, downsample = planes * block.expansion, None
        if stride != 1 or self.inplanes != wide:
            strides = conv_builder.get_downsample_stride(stride)
            downsample = nn.Sequential(
                nn.Conv3d(self.inplanes, wide, kernel_size=1, stride=strides, bias=False),
                nn.BatchNorm3d(wide),
            )
        made = [block(self.inplanes, planes, conv_builder, stride, downsample)]
        self.inplanes = wide
        made += [block(wide, planes, conv_builder) for _ in range(1, blocks)]
        return nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(self.avgpool(x).flatten(1))


@builder
def r3d_18(**kwargs: Any) -> VideoResNet:
    """R3D-18: full convolutions. Arguments of `VideoResNet`."""
    return VideoResNet(BasicBlock, [Conv3DSimple] * 4, [2, 2, 2, 2], BasicStem, **kwargs)


@builder
def mc3_18(**kwargs: Any) -> VideoResNet:
    """MC3-18: full convolutions in the first stage, frame by frame after it."""
    makers = [Conv3DSimple, *[Conv3DNoTemporal] * 3]
    return VideoResNet(BasicBlock, makers, [2, 2, 2, 2], BasicStem, **kwargs)


@builder
def r2plus1d_18(**kwargs: Any) -> VideoResNet:
    """R(2+1)D-18: convolutions in space and in time by turns."""
    return VideoResNet(BasicBlock, [Conv2Plus1D] * 4, [2, 2, 2, 2], R2Plus1dStem, **kwargs)
