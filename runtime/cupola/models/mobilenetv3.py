"""MobileNet v3 (Howard et al., "Searching for MobileNetV3", 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cupola import nn
from cupola.functional.shape import flatten
from cupola.models._initial import he_normal, initialise, normal
from cupola.models._registry import builder
from cupola.models._sizes import make_divisible
from cupola.tensor import Tensor
from cupola.vision.misc import Conv2dNormActivation, SqueezeExcitation

__all__ = ["InvertedResidualConfig", "MobileNetV3", "mobilenet_v3_large", "mobilenet_v3_small"]
Layer = Callable[..., nn.Module]
_SQUEEZE = partial(SqueezeExcitation, scale_activation=nn.Hardsigmoid)


class InvertedResidualConfig:
    """The settings of one block; channels are scaled by `width_mult` and made multiples of 8.

    `activation` is "HS" for hard swish, "RE" for ReLU.
    """

    def __init__(
        self,
        input_channels: int,
        kernel: int,
        expanded_channels: int,
        out_channels: int,
        use_se: bool,
        activation: str,
        stride: int,
        dilation: int,
        width_mult: float,
    ) -> None:
        self.input_channels = self.adjust_channels(input_channels, width_mult)
        self.kernel = kernel
        self.expanded_channels = self.adjust_channels(expanded_channels, width_mult)
        self.out_channels = self.adjust_channels(out_channels, width_mult)
        self.use_se = use_se
        self.use_hs = activation == "HS"
        self.stride = stride
        self.dilation = dilation

    @staticmethod
    def adjust_channels(channels: int, width_mult: float) -> int:
        """Returns the scaled number of channels."""
        return make_divisible(channels * width_mult, 8)


class InvertedResidual(nn.Module):
    """Wider, one convolution a channel, perhaps squeeze and excitation, narrow again.

    Raises:
        ValueError: a stride other than 1 and 2.
    """

    def __init__(
        self,
        cnf: InvertedResidualConfig,
        norm_layer: Layer,
        se_layer: Layer = _SQUEEZE,
    ) -> None:
        super().__init__()
        if cnf.stride not in (1, 2):
            raise ValueError("illegal stride value")
        self.use_res_connect = cnf.stride == 1 and cnf.input_channels == cnf.out_channels
        wide = cnf.expanded_channels
        common = {
            "norm_layer": norm_layer,
            "activation_layer": nn.Hardswish if cnf.use_hs else nn.ReLU,
        }
        layers: list[nn.Module] = []
        if wide != cnf.input_channels:
            layers.append(Conv2dNormActivation(cnf.input_channels, wide, kernel_size=1, **common))
        layers.append(
            Conv2dNormActivation(
                wide,
                wide,
                kernel_size=cnf.kernel,
                stride=1 if cnf.dilation > 1 else cnf.stride,
                dilation=cnf.dilation,
                groups=wide,
                **common,
            )
        )
        if cnf.use_se:
            layers.append(se_layer(wide, make_divisible(wide // 4, 8)))
        layers.append(
            Conv2dNormActivation(
                wide, cnf.out_channels, 1, norm_layer=norm_layer, activation_layer=None
            )
        )
        self.block = nn.Sequential(*layers)
        self.out_channels = cnf.out_channels
        self._is_cn = cnf.stride > 1

    def forward(self, input: Tensor) -> Tensor:
        """Returns f(x), or f(x) + x where the shapes are equal."""
        result = self.block(input)
        return result + input if self.use_res_connect else result


class MobileNetV3(nn.Module):
    """MobileNet v3. Input (N, 3, H, W).

    Raises:
        ValueError: the setting is empty.
        TypeError: it is no sequence of `InvertedResidualConfig`.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[InvertedResidualConfig],
        last_channel: int,
        num_classes: int = 1000,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        setting = inverted_residual_setting
        if not setting:
            raise ValueError("The inverted_residual_setting should not be empty")
        if not isinstance(setting, Sequence) or not all(
            isinstance(s, InvertedResidualConfig) for s in setting
        ):
            raise TypeError("The inverted_residual_setting should be List[InvertedResidualConfig]")
        block = block or InvertedResidual
        norm_layer = norm_layer or partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        common = {"norm_layer": norm_layer, "activation_layer": nn.Hardswish}
        first, last = setting[0].input_channels, setting[-1].out_channels
        self.features = nn.Sequential(
            Conv2dNormActivation(3, first, kernel_size=3, stride=2, **common),
            *[block(cnf, norm_layer) for cnf in setting],
            Conv2dNormActivation(last, 6 * last, kernel_size=1, **common),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, last_channel),
            nn.Hardswish(inplace=True),
            nn.Dropout(p=dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
        )
        initialise(self, he_normal(), normal(0.01))

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _settings(
    arch: str,
    width_mult: float = 1.0,
    reduced_tail: bool = False,
    dilated: bool = False,
    **kwargs: Any,
) -> tuple[list[InvertedResidualConfig], int]:
    """The blocks of a variant, and its second last number of channels.

    Args:
        reduced_tail: half the channels in the last stage.
        dilated: dilation in place of stride in the last stage.
    """
    half, dilation = 2 if reduced_tail else 1, 2 if dilated else 1
    make = partial(InvertedResidualConfig, width_mult=width_mult)
    if arch == "mobilenet_v3_large":
        tail, last = 160 // half, 1280 // half
        rows = [
            make(16, 3, 16, 16, False, "RE", 1, 1),
            make(16, 3, 64, 24, False, "RE", 2, 1),
            make(24, 3, 72, 24, False, "RE", 1, 1),
            make(24, 5, 72, 40, True, "RE", 2, 1),
            make(40, 5, 120, 40, True, "RE", 1, 1),
            make(40, 5, 120, 40, True, "RE", 1, 1),
            make(40, 3, 240, 80, False, "HS", 2, 1),
            make(80, 3, 200, 80, False, "HS", 1, 1),
            make(80, 3, 184, 80, False, "HS", 1, 1),
            make(80, 3, 184, 80, False, "HS", 1, 1),
            make(80, 3, 480, 112, True, "HS", 1, 1),
            make(112, 3, 672, 112, True, "HS", 1, 1),
            make(112, 5, 672, tail, True, "HS", 2, dilation),
            make(tail, 5, 6 * tail, tail, True, "HS", 1, dilation),
            make(tail, 5, 6 * tail, tail, True, "HS", 1, dilation),
        ]
    else:
        tail, last = 96 // half, 1024 // half
        rows = [
            make(16, 3, 16, 16, True, "RE", 2, 1),
            make(16, 3, 72, 24, False, "RE", 2, 1),
            make(24, 3, 88, 24, False, "RE", 1, 1),
            make(24, 5, 96, 40, True, "HS", 2, 1),
            make(40, 5, 240, 40, True, "HS", 1, 1),
            make(40, 5, 240, 40, True, "HS", 1, 1),
            make(40, 5, 120, 48, True, "HS", 1, 1),
            make(48, 5, 144, 48, True, "HS", 1, 1),
            make(48, 5, 288, tail, True, "HS", 2, dilation),
            make(tail, 5, 6 * tail, tail, True, "HS", 1, dilation),
            make(tail, 5, 6 * tail, tail, True, "HS", 1, dilation),
        ]
    return rows, InvertedResidualConfig.adjust_channels(last, width_mult)


@builder
def mobilenet_v3_large(**kwargs: Any) -> MobileNetV3:
    """MobileNet v3, large. Arguments of `MobileNetV3`, width_mult, reduced_tail and dilated."""
    return MobileNetV3(*_settings("mobilenet_v3_large", **kwargs), **kwargs)


@builder
def mobilenet_v3_small(**kwargs: Any) -> MobileNetV3:
    """MobileNet v3, small. Arguments as of `mobilenet_v3_large`."""
    return MobileNetV3(*_settings("mobilenet_v3_small", **kwargs), **kwargs)
