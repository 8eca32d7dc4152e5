"""EfficientNet (Tan and Le, 2019) and EfficientNet v2 (Tan and Le, 2021)."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cupola import nn
from cupola.functional.shape import flatten
from cupola.models._initial import he_normal, initialise
from cupola.models._registry import builder
from cupola.models._sizes import make_divisible
from cupola.tensor import Tensor
from cupola.vision.drop import StochasticDepth
from cupola.vision.misc import Conv2dNormActivation, SqueezeExcitation

__all__ = [
    "EfficientNet",
    "FusedMBConv",
    "FusedMBConvConfig",
    "MBConv",
    "MBConvConfig",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "efficientnet_v2_l",
    "efficientnet_v2_m",
    "efficientnet_v2_s",
]
Layer = Callable[..., nn.Module]


@dataclasses.dataclass
class _MBConvConfig:
    """The settings of one stage; `block` makes a block from settings, a chance and a norm."""

    expand_ratio: float
    kernel: int
    stride: int
    input_channels: int
    out_channels: int
    num_layers: int
    block: Layer

    @staticmethod
    def adjust_channels(channels: int, width_mult: float, min_value: int | None = None) -> int:
        """Returns the scaled number of channels, a multiple of 8."""
        return make_divisible(channels * width_mult, 8, min_value)


class MBConvConfig(_MBConvConfig):
    """The settings of one stage of `MBConv`, scaled in width and depth."""

    def __init__(
        self,
        expand_ratio: float,
        kernel: int,
        stride: int,
        input_channels: int,
        out_channels: int,
        num_layers: int,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        block: Layer | None = None,
    ) -> None:
        super().__init__(
            expand_ratio,
            kernel,
            stride,
            self.adjust_channels(input_channels, width_mult),
            self.adjust_channels(out_channels, width_mult),
            self.adjust_depth(num_layers, depth_mult),
            block or MBConv,
        )

    @staticmethod
    def adjust_depth(num_layers: int, depth_mult: float) -> int:
        """Returns the scaled number of blocks."""
        return math.ceil(num_layers * depth_mult)


class FusedMBConvConfig(_MBConvConfig):
    """The settings of one stage of `FusedMBConv`."""

    def __init__(
        self,
        expand_ratio: float,
        kernel: int,
        stride: int,
        input_channels: int,
        out_channels: int,
        num_layers: int,
        block: Layer | None = None,
    ) -> None:
        super().__init__(
            expand_ratio,
            kernel,
            stride,
            input_channels,
            out_channels,
            num_layers,
            block or FusedMBConv,
        )


class _Residual(nn.Module):
    """`block` around which the input is added where shapes are equal; samples may skip it."""

    def __init__(
        self, cnf: _MBConvConfig, layers: Sequence[nn.Module], stochastic_depth_prob: float
    ) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError("illegal stride value")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.out_channels = cnf.out_channels

    def forward(self, input: Tensor) -> Tensor:
        """Returns f(x), or f(x) + x where the shapes are equal."""
        result = self.block(input)
        return self.stochastic_depth(result) + input if self.use_res_connect else result


class MBConv(_Residual):
    """Wider, one convolution a channel, squeeze and excitation, narrow again.

    Raises:
        ValueError: a stride other than 1 and 2.
    """

    def __init__(
        self,
        cnf: MBConvConfig,
        stochastic_depth_prob: float,
        norm_layer: Layer,
        se_layer: Layer = SqueezeExcitation,
    ) -> None:
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, activation_layer=nn.SiLU)
        wide = cnf.adjust_channels(cnf.input_channels, cnf.expand_ratio)
        layers: list[nn.Module] = []
        if wide != cnf.input_channels:
            layers.append(conv(cnf.input_channels, wide, kernel_size=1))
        layers += [
            conv(wide, wide, kernel_size=cnf.kernel, stride=cnf.stride, groups=wide),
            se_layer(
                wide, max(1, cnf.input_channels // 4), activation=partial(nn.SiLU, inplace=True)
            ),
            conv(wide, cnf.out_channels, kernel_size=1, activation_layer=None),
        ]
        super().__init__(cnf, layers, stochastic_depth_prob)


class FusedMBConv(_Residual):
    """A full convolution, wider, then narrow again; without expansion the convolution alone.

    Raises:
        ValueError: a stride other than 1 and 2.
    """

    def __init__(
        self, cnf: FusedMBConvConfig, stochastic_depth_prob: float, norm_layer: Layer
    ) -> None:
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, activation_layer=nn.SiLU)
        wide = cnf.adjust_channels(cnf.input_channels, cnf.expand_ratio)
        how = {"kernel_size": cnf.kernel, "stride": cnf.stride}
        if wide != cnf.input_channels:
            layers = [
                conv(cnf.input_channels, wide, **how),
                conv(wide, cnf.out_channels, kernel_size=1, activation_layer=None),
            ]
        else:
            layers = [conv(cnf.input_channels, cnf.out_channels, **how)]
        super().__init__(cnf, layers, stochastic_depth_prob)


class EfficientNet(nn.Module):
    """A stem, stages of inverted residuals, a last convolution, one linear layer.

    Input (N, 3, H, W). Deeper blocks are skipped with higher probability, up to
    `stochastic_depth_prob`.

    Raises:
        ValueError: the setting is empty.
        TypeError: it is no sequence of settings.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[MBConvConfig | FusedMBConvConfig],
        dropout: float,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Layer | None = None,
        last_channel: int | None = None,
    ) -> None:
        super().__init__()
        setting = inverted_residual_setting
        if not setting:
            raise ValueError("The inverted_residual_setting should not be empty")
        if not isinstance(setting, Sequence) or not all(
            isinstance(s, _MBConvConfig) for s in setting
        ):
            raise TypeError("The inverted_residual_setting should be List[MBConvConfig]")
        conv = partial(
            Conv2dNormActivation,
            norm_layer=norm_layer or nn.BatchNorm2d,
            activation_layer=nn.SiLU,
        )
        layers: list[nn.Module] = [conv(3, setting[0].input_channels, kernel_size=3, stride=2)]
        total, done = sum(cnf.num_layers for cnf in setting), 0
        for cnf in setting:
            cnf = copy.copy(cnf)
            stage = []
            for _ in range(cnf.num_layers):
                chance = stochastic_depth_prob * done / total
                stage.append(cnf.block(copy.copy(cnf), chance, norm_layer or nn.BatchNorm2d))
                cnf.input_channels, cnf.stride = cnf.out_channels, 1
                done += 1
            layers.append(nn.Sequential(*stage))
        narrow = setting[-1].out_channels
        wide = 4 * narrow if last_channel is None else last_channel
        self.features = nn.Sequential(*layers, conv(narrow, wide, kernel_size=1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout, inplace=True), nn.Linear(wide, num_classes)
        )

        def draw(layer: nn.Linear) -> None:
            bound = 1.0 / math.sqrt(layer.out_features)
            nn.init.uniform_(layer.weight, -bound, bound)

        initialise(self, he_normal(), draw)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _first(width: float, depth: float, dropout: float, /, **kwargs: Any) -> EfficientNet:
    """EfficientNet v1: B0 scaled in width and depth."""
    stage = partial(MBConvConfig, width_mult=width, depth_mult=depth)
    setting = [
        stage(1, 3, 1, 32, 16, 1),
        stage(6, 3, 2, 16, 24, 2),
        stage(6, 5, 2, 24, 40, 2),
        stage(6, 3, 2, 40, 80, 3),
        stage(6, 5, 1, 80, 112, 3),
        stage(6, 5, 2, 112, 192, 4),
        stage(6, 3, 1, 192, 320, 1),
    ]
    return EfficientNet(setting, kwargs.pop("dropout", dropout), last_channel=None, **kwargs)


def _second(setting: Sequence[_MBConvConfig], dropout: float, /, **kwargs: Any) -> EfficientNet:
    """EfficientNet v2."""
    return EfficientNet(
        setting,
        kwargs.pop("dropout", dropout),
        last_channel=1280,
        norm_layer=partial(nn.BatchNorm2d, eps=0.001),
        **kwargs,
    )


# Models that were published with TensorFlow's constants.
_LARGE_NORM = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


@builder
def efficientnet_b0(**kwargs: Any) -> EfficientNet:
    """EfficientNet B0. Arguments of `EfficientNet`, dropout and stochastic depth among them."""
    return _first(1.0, 1.0, 0.2, **kwargs)


@builder
def efficientnet_b1(**kwargs: Any) -> EfficientNet:
    """EfficientNet B1."""
    return _first(1.0, 1.1, 0.2, **kwargs)


@builder
def efficientnet_b2(**kwargs: Any) -> EfficientNet:
    """EfficientNet B2."""
    return _first(1.1, 1.2, 0.3, **kwargs)


@builder
def efficientnet_b3(**kwargs: Any) -> EfficientNet:
    """EfficientNet B3."""
    return _first(1.2, 1.4, 0.3, **kwargs)


@builder
def efficientnet_b4(**kwargs: Any) -> EfficientNet:
    """EfficientNet B4."""
    return _first(1.4, 1.8, 0.4, **kwargs)


@builder
def efficientnet_b5(**kwargs: Any) -> EfficientNet:
    """EfficientNet B5."""
    return _first(1.6, 2.2, 0.4, norm_layer=_LARGE_NORM, **kwargs)


@builder
def efficientnet_b6(**kwargs: Any) -> EfficientNet:
    """EfficientNet B6."""
    return _first(1.8, 2.6, 0.5, norm_layer=_LARGE_NORM, **kwargs)


@builder
def efficientnet_b7(**kwargs: Any) -> EfficientNet:
    """EfficientNet B7."""
    return _first(2.0, 3.1, 0.5, norm_layer=_LARGE_NORM, **kwargs)


@builder
def efficientnet_v2_s(**kwargs: Any) -> EfficientNet:
    """EfficientNet v2, small."""
    setting = [
        FusedMBConvConfig(1, 3, 1, 24, 24, 2),
        FusedMBConvConfig(4, 3, 2, 24, 48, 4),
        FusedMBConvConfig(4, 3, 2, 48, 64, 4),
        MBConvConfig(4, 3, 2, 64, 128, 6),
        MBConvConfig(6, 3, 1, 128, 160, 9),
        MBConvConfig(6, 3, 2, 160, 256, 15),
    ]
    return _second(setting, 0.2, **kwargs)


@builder
def efficientnet_v2_m(**kwargs: Any) -> EfficientNet:
    """EfficientNet v2, medium."""
    setting = [
        FusedMBConvConfig(1, 3, 1, 24, 24, 3),
        FusedMBConvConfig(4, 3, 2, 24, 48, 5),
        FusedMBConvConfig(4, 3, 2, 48, 80, 5),
        MBConvConfig(4, 3, 2, 80, 160, 7),
        MBConvConfig(6, 3, 1, 160, 176, 14),
        MBConvConfig(6, 3, 2, 176, 304, 18),
        MBConvConfig(6, 3, 1, 304, 512, 5),
    ]
    return _second(setting, 0.3, **kwargs)


@builder
def efficientnet_v2_l(**kwargs: Any) -> EfficientNet:
    """EfficientNet v2, large."""
    setting = [
        FusedMBConvConfig(1, 3, 1, 32, 32, 4),
        FusedMBConvConfig(4, 3, 2, 32, 64, 7),
        FusedMBConvConfig(4, 3, 2, 64, 96, 7),
        MBConvConfig(4, 3, 2, 96, 192, 10),
        MBConvConfig(6, 3, 1, 192, 224, 19),
        MBConvConfig(6, 3, 2, 224, 384, 25),
        MBConvConfig(6, 3, 1, 384, 640, 7),
    ]
    return _second(setting, 0.4, **kwargs)
