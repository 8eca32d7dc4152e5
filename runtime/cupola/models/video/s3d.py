"""S3D (Xie et al., "Rethinking Spatiotemporal Feature Learning", 2018)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from cupola import nn
from cupola.functional.joining import cat
from cupola.models._registry import builder
from cupola.tensor import Tensor
from cupola.vision.misc import Conv3dNormActivation

__all__ = ["S3D", "s3d"]
Norm = Callable[..., nn.Module]


class TemporalSeparableConv(nn.Sequential):
    """A convolution in space, then one in time."""

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        kernel_size: int,
        stride: int,
        padding: int,
        norm_layer: Norm,
    ) -> None:
        k, s, p = kernel_size, stride, padding
        common = {"bias": False, "norm_layer": norm_layer}
        super().__init__(
            Conv3dNormActivation(in_planes, out_planes, (1, k, k), (1, s, s), (0, p, p), **common),
            Conv3dNormActivation(out_planes, out_planes, (k, 1, 1), (s, 1, 1), (p, 0, 0), **common),
        )


class SepInceptionBlock3D(nn.Module):
    """Four branches side by side, as in GoogLeNet."""

    def __init__(
        self,
        in_planes: int,
        b0_out: int,
        b1_mid: int,
        b1_out: int,
        b2_mid: int,
        b2_out: int,
        b3_out: int,
        norm_layer: Norm,
    ) -> None:
        super().__init__()
        point = partial(Conv3dNormActivation, kernel_size=1, stride=1, norm_layer=norm_layer)

        def narrow_then_wide(narrow: int, wide: int) -> nn.Sequential:
            full = TemporalSeparableConv
            return nn.Sequential(point(in_planes, narrow), full(narrow, wide, 3, 1, 1, norm_layer))

        self.branch0 = point(in_planes, b0_out)
        self.branch1 = narrow_then_wide(b1_mid, b1_out)
        self.branch2 = narrow_then_wide(b2_mid, b2_out)
        self.branch3 = nn.Sequential(
            nn.MaxPool3d(kernel_size=(3, 3, 3), stride=1, padding=1), point(in_planes, b3_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns the branches' channels."""
        return cat((self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)), 1)


class S3D(nn.Module):
    """Inception blocks for videos. Input (N, 3, T, H, W), at least 14 frames of 224 × 224."""

    def __init__(
        self, num_classes: int = 400, dropout: float = 0.2, norm_layer: Norm | None = None
    ) -> None:
        super().__init__()
        norm = norm_layer or partial(nn.BatchNorm3d, eps=0.001, momentum=0.001)

        def smaller(kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> nn.MaxPool3d:
            return nn.MaxPool3d(kernel, stride, padding=tuple((k - 1) // 2 for k in kernel))

        self.features = nn.Sequential(
            TemporalSeparableConv(3, 64, 7, 2, 3, norm),
            smaller((1, 3, 3), (1, 2, 2)),
            Conv3dNormActivation(64, 64, kernel_size=1, stride=1, norm_layer=norm),
            TemporalSeparableConv(64, 192, 3, 1, 1, norm),
            smaller((1, 3, 3), (1, 2, 2)),
            SepInceptionBlock3D(192, 64, 96, 128, 16, 32, 32, norm),
            SepInceptionBlock3D(256, 128, 128, 192, 32, 96, 64, norm),
            smaller((3, 3, 3), (2, 2, 2)),
            SepInceptionBlock3D(480, 192, 96, 208, 16, 48, 64, norm),
            SepInceptionBlock3D(512, 160, 112, 224, 24, 64, 64, norm),
            SepInceptionBlock3D(512, 128, 128, 256, 24, 64, 64, norm),
            SepInceptionBlock3D(512, 112, 144, 288, 32, 64, 64, norm),
            SepInceptionBlock3D(528, 256, 160, 320, 32, 128, 128, norm),
            smaller((2, 2, 2), (2, 2, 2)),
            SepInceptionBlock3D(832, 256, 160, 320, 32, 128, 128, norm),
            SepInceptionBlock3D(832, 384, 192, 384, 48, 128, 128, norm),
        )
        self.avgpool = nn.AvgPool3d(kernel_size=(2, 7, 7), stride=1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), nn.Conv3d(1024, num_classes, kernel_size=1, stride=1, bias=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        return self.classifier(self.avgpool(self.features(x))).mean((2, 3, 4))


@builder
def s3d(**kwargs: Any) -> S3D:
    """S3D. Arguments of `S3D`."""
    return S3D(**kwargs)
