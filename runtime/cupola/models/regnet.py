"""RegNet (Radosavovic et al., "Designing Network Design Spaces", 2020)."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola import nn
from cupola.models._initial import initialise, normal
from cupola.models._registry import builder
from cupola.models._sizes import make_divisible
from cupola.tensor import Tensor
from cupola.vision.misc import Conv2dNormActivation, SqueezeExcitation

__all__ = [
    "BlockParams",
    "RegNet",
    "regnet_x_16gf",
    "regnet_x_1_6gf",
    "regnet_x_32gf",
    "regnet_x_3_2gf",
    "regnet_x_400mf",
    "regnet_x_800mf",
    "regnet_x_8gf",
    "regnet_y_128gf",
    "regnet_y_16gf",
    "regnet_y_1_6gf",
    "regnet_y_32gf",
    "regnet_y_3_2gf",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "regnet_y_8gf",
]
Layer = Callable[..., nn.Module]


class SimpleStemIN(Conv2dNormActivation):
    """The stem: one 3×3 convolution of stride 2."""

    def __init__(
        self, width_in: int, width_out: int, norm_layer: Layer, activation_layer: Layer
    ) -> None:
        super().__init__(
            width_in,
            width_out,
            kernel_size=3,
            stride=2,
            norm_layer=norm_layer,
            activation_layer=activation_layer,
        )


class BottleneckTransform(nn.Sequential):
    """1×1, 3×3 in groups and 1×1 convolutions; with `se_ratio`, squeeze and excitation between."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int,
        bottleneck_multiplier: float,
        se_ratio: float | None,
    ) -> None:
        inner = int(round(width_out * bottleneck_multiplier))
        common = {"norm_layer": norm_layer, "activation_layer": activation_layer}
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["a"] = Conv2dNormActivation(width_in, inner, kernel_size=1, **common)
        layers["b"] = Conv2dNormActivation(
            inner, inner, kernel_size=3, stride=stride, groups=inner // group_width, **common
        )
        if se_ratio:
            squeezed = int(round(se_ratio * width_in))
            layers["se"] = SqueezeExcitation(inner, squeezed, activation=activation_layer)
        layers["c"] = Conv2dNormActivation(
            inner, width_out, kernel_size=1, norm_layer=norm_layer, activation_layer=None
        )
        super().__init__(layers)


class ResBottleneckBlock(nn.Module):
    """A `BottleneckTransform` around which the input is added, projected where shapes change."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int = 1,
        bottleneck_multiplier: float = 1.0,
        se_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self.proj = None
        if width_in != width_out or stride != 1:
            self.proj = Conv2dNormActivation(
                width_in, width_out, 1, stride, norm_layer=norm_layer, activation_layer=None
            )
        self.f = BottleneckTransform(
            width_in,
            width_out,
            stride,
            norm_layer,
            activation_layer,
            group_width,
            bottleneck_multiplier,
            se_ratio,
        )
        self.activation = activation_layer(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Returns activation(x + f(x))."""
        shortcut = x if self.proj is None else self.proj(x)
        return self.activation(shortcut + self.f(x))


class AnyStage(nn.Sequential):
    """`depth` blocks of one width; the first has the stride."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        stride: int,
        depth: int,
        block_constructor: Layer,
        norm_layer: Layer,
        activation_layer: Layer,
        group_width: int,
        bottleneck_multiplier: float,
        se_ratio: float | None = None,
        stage_index: int = 0,
    ) -> None:
        super().__init__()
        common = (norm_layer, activation_layer, group_width, bottleneck_multiplier, se_ratio)
        for i in range(depth):
            block = block_constructor(width_in, width_out, stride, *common)
            self.add_module(f"block{stage_index}-{i}", block)
            width_in, stride = width_out, 1


class BlockParams:
    """Depth, width, group width, bottleneck and stride of each stage."""

    def __init__(
        self,
        depths: list[int],
        widths: list[int],
        group_widths: list[int],
        bottleneck_multipliers: list[float],
        strides: list[int],
        se_ratio: float | None = None,
    ) -> None:
        self.depths = depths
        self.widths = widths
        self.group_widths = group_widths
        self.bottleneck_multipliers = bottleneck_multipliers
        self.strides = strides
        self.se_ratio = se_ratio

    @classmethod
    def from_init_params(
        cls,
        depth: int,
        w_0: int,
        w_a: float,
        w_m: float,
        group_width: int,
        bottleneck_multiplier: float = 1.0,
        se_ratio: float | None = None,
        **kwargs: Any,
    ) -> BlockParams:
        """Returns the stages of the paper's linear rule: widths w_0 + w_a · i, each rounded to
        w_0 times a power of w_m and to a multiple of 8; equal widths make a stage.

        Raises:
            ValueError: w_a < 0, w_0 ≤ 0 or no multiple of 8, w_m ≤ 1.
        """
        if w_a < 0 or w_0 <= 0 or w_m <= 1 or w_0 % 8 != 0:
            raise ValueError("Invalid RegNet settings")
        line = np.float32(w_0) + np.arange(depth, dtype=np.float32) * np.float32(w_a)
        powers = np.round(np.log(line / np.float32(w_0)) / np.float32(math.log(w_m)))
        rounded = np.round(w_0 * np.float32(w_m) ** powers / 8).astype(int) * 8
        stages = [(int(width), len(list(run))) for width, run in itertools.groupby(rounded)]
        multipliers = [bottleneck_multiplier] * len(stages)
        widths, groups = cls._compatible(
            [width for width, _ in stages], multipliers, [group_width] * len(stages)
        )
        depths = [count for _, count in stages]
        return cls(depths, widths, groups, multipliers, [2] * len(stages), se_ratio)

    @staticmethod
    def _compatible(
        widths: Sequence[int], multipliers: Sequence[float], group_widths: Sequence[int]
    ) -> tuple[list[int], list[int]]:
        """Widths whose bottlenecks the group widths divide, and group widths no wider than them."""
        inner = [int(width * m) for width, m in zip(widths, multipliers)]
        groups = [min(group, width) for group, width in zip(group_widths, inner)]
        inner = [make_divisible(width, group) for width, group in zip(inner, groups)]
        return [int(width / m) for width, m in zip(inner, multipliers)], groups


class RegNet(nn.Module):
    """A stem, stages of residual bottlenecks, one linear layer. Input (N, 3, H, W)."""

    def __init__(
        self,
        block_params: BlockParams,
        num_classes: int = 1000,
        stem_width: int = 32,
        stem_type: Layer | None = None,
        block_type: Layer | None = None,
        norm_layer: Layer | None = None,
        activation: Layer | None = None,
    ) -> None:
        super().__init__()
        norm_layer, activation = norm_layer or nn.BatchNorm2d, activation or nn.ReLU
        self.stem = (stem_type or SimpleStemIN)(3, stem_width, norm_layer, activation)
        p, width, stages = block_params, stem_width, OrderedDict()
        rows = zip(p.widths, p.strides, p.depths, p.group_widths, p.bottleneck_multipliers)
        for number, (out, stride, depth, group, multiplier) in enumerate(rows, 1):
            stages[f"block{number}"] = AnyStage(
                width,
                out,
                stride,
                depth,
                block_type or ResBottleneckBlock,
                norm_layer,
                activation,
                group,
                multiplier,
                p.se_ratio,
                number,
            )
            width = out
        self.trunk_output = nn.Sequential(stages)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(width, num_classes)

        def draw(layer: nn.Conv2d) -> None:
            outputs = math.prod(layer.kernel_size) * layer.out_channels
            nn.init.normal_(layer.weight, mean=0.0, std=math.sqrt(2.0 / outputs))

        # Biases of convolutions stay as drawn; those of linear layers start at zero.
        initialise(self, draw, normal(0.01), norms=(nn.BatchNorm2d,), biases=False)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        return self.fc(self.avgpool(self.trunk_output(self.stem(x))).flatten(start_dim=1))


def _regnet(
    depth: int, w_0: int, w_a: float, w_m: float, group_width: int, se_ratio: float | None,
    **kwargs: Any,
) -> RegNet:  # fmt: skip
    own = {"bottleneck_multiplier": kwargs.pop("bottleneck_multiplier", 1.0)}
    return RegNet(
        BlockParams.from_init_params(depth, w_0, w_a, w_m, group_width, se_ratio=se_ratio, **own),
        **kwargs,
    )


@builder
def regnet_y_400mf(**kwargs: Any) -> RegNet:
    """RegNetY of 0.4 billion multiplications. Arguments of `RegNet`."""
    return _regnet(16, 48, 27.89, 2.09, 8, 0.25, **kwargs)


@builder
def regnet_y_800mf(**kwargs: Any) -> RegNet:
    """RegNetY of 0.8 billion multiplications."""
    return _regnet(14, 56, 38.84, 2.4, 16, 0.25, **kwargs)


@builder
def regnet_y_1_6gf(**kwargs: Any) -> RegNet:
    """RegNetY of 1.6 billion multiplications."""
    return _regnet(27, 48, 20.71, 2.65, 24, 0.25, **kwargs)


@builder
def regnet_y_3_2gf(**kwargs: Any) -> RegNet:
    """RegNetY of 3.2 billion multiplications."""
    return _regnet(21, 80, 42.63, 2.66, 24, 0.25, **kwargs)


@builder
def regnet_y_8gf(**kwargs: Any) -> RegNet:
    """RegNetY of 8 billion multiplications."""
    return _regnet(17, 192, 76.82, 2.19, 56, 0.25, **kwargs)


@builder
def regnet_y_16gf(**kwargs: Any) -> RegNet:
    """RegNetY of 16 billion multiplications."""
    return _regnet(18, 200, 106.23, 2.48, 112, 0.25, **kwargs)


@builder
def regnet_y_32gf(**kwargs: Any) -> RegNet:
    """RegNetY of 32 billion multiplications."""
    return _regnet(20, 232, 115.89, 2.53, 232, 0.25, **kwargs)


@builder
def regnet_y_128gf(**kwargs: Any) -> RegNet:
    """RegNetY of 128 billion multiplications."""
    return _regnet(27, 456, 160.83, 2.52, 264, 0.25, **kwargs)


@builder
def regnet_x_400mf(**kwargs: Any) -> RegNet:
    """RegNetX of 0.4 billion multiplications."""
    return _regnet(22, 24, 24.48, 2.54, 16, None, **kwargs)


@builder
def regnet_x_800mf(**kwargs: Any) -> RegNet:
    """RegNetX of 0.8 billion multiplications."""
    return _regnet(16, 56, 35.73, 2.28, 16, None, **kwargs)


@builder
def regnet_x_1_6gf(**kwargs: Any) -> RegNet:
    """RegNetX of 1.6 billion multiplications."""
    return _regnet(18, 80, 34.01, 2.25, 24, None, **kwargs)


@builder
def regnet_x_3_2gf(**kwargs: Any) -> RegNet:
    """RegNetX of 3.2 billion multiplications."""
    return _regnet(25, 88, 26.31, 2.25, 48, None, **kwargs)


@builder
def regnet_x_8gf(**kwargs: Any) -> RegNet:
    """RegNetX of 8 billion multiplications."""
    return _regnet(23, 80, 49.56, 2.88, 120, None, **kwargs)


@builder
def regnet_x_16gf(**kwargs: Any) -> RegNet:
    """RegNetX of 16 billion multiplications."""
    return _regnet(22, 216, 55.59, 2.1, 128, None, **kwargs)


@builder
def regnet_x_32gf(**kwargs: Any) -> RegNet:
    """RegNetX of 32 billion multiplications."""
    return _regnet(23, 320, 69.86, 2.0, 168, None, **kwargs)
