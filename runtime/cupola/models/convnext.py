"""ConvNeXt (Liu et al., "A ConvNet for the 2020s", 2022)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cupola import nn
from cupola.functional.creation import ones
from cupola.models._initial import initialise, truncated
from cupola.models._registry import builder
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.drop import StochasticDepth
from cupola.vision.misc import Conv2dNormActivation, Permute

__all__ = [
    "CNBlock",
    "CNBlockConfig",
    "ConvNeXt",
    "convnext_base",
    "convnext_large",
    "convnext_small",
    "convnext_tiny",
]
Layer = Callable[..., nn.Module]


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel, (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised input."""
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class CNBlock(nn.Module):
    """A 7×7 convolution a channel and a two-layer perceptron a pixel, scaled and added."""

    def __init__(
        self,
        dim: int,
        layer_scale: float,
        stochastic_depth_prob: float,
        norm_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim, bias=True),
            Permute([0, 2, 3, 1]),
            (norm_layer or partial(nn.LayerNorm, eps=1e-6))(dim),
            nn.Linear(dim, 4 * dim, bias=True),
            nn.GELU(),
            nn.Linear(4 * dim, dim, bias=True),
            Permute([0, 3, 1, 2]),
        )
        self.layer_scale = nn.Parameter(ones(dim, 1, 1) * layer_scale)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, input: Tensor) -> Tensor:
        """Returns x + scale · f(x)."""
        return self.stochastic_depth(self.layer_scale * self.block(input)) + input


@dataclasses.dataclass
class CNBlockConfig:
    """Channels of a stage, channels after it (None for the last stage), number of blocks."""

    input_channels: int
    out_channels: int | None
    num_layers: int


class ConvNeXt(nn.Module):
    """A stem, stages of `CNBlock`, one linear layer. Input (N, 3, H, W).

    Raises:
        ValueError: the setting is empty.
        TypeError: it is no sequence of `CNBlockConfig`.
    """

    def __init__(
        self,
        block_setting: Sequence[CNBlockConfig],
        stochastic_depth_prob: float = 0.0,
        layer_scale: float = 1e-6,
        num_classes: int = 1000,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if not block_setting:
            raise ValueError("The block_setting should not be empty")
        if not isinstance(block_setting, Sequence) or not all(
            isinstance(s, CNBlockConfig) for s in block_setting
        ):
            raise TypeError("The block_setting should be List[CNBlockConfig]")
        norm_layer = norm_layer or partial(LayerNorm2d, eps=1e-6)
        layers: list[nn.Module] = [
            Conv2dNormActivation(
                3,
                block_setting[0].input_channels,
                kernel_size=4,
                stride=4,
                padding=0,
                norm_layer=norm_layer,
                activation_layer=None,
                bias=True,
            )
        ]
        total, done = sum(cnf.num_layers for cnf in block_setting), 0
        for cnf in block_setting:
            stage = []
            for _ in range(cnf.num_layers):
                chance = stochastic_depth_prob * done / (total - 1.0)
                stage.append((block or CNBlock)(cnf.input_channels, layer_scale, chance))
                done += 1
            layers.append(nn.Sequential(*stage))
            if cnf.out_channels is not None:
                smaller = nn.Conv2d(cnf.input_channels, cnf.out_channels, kernel_size=2, stride=2)
                layers.append(nn.Sequential(norm_layer(cnf.input_channels), smaller))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = block_setting[-1].out_channels or block_setting[-1].input_channels
        self.classifier = nn.Sequential(
            norm_layer(last), nn.Flatten(1), nn.Linear(last, num_classes)
        )
        initialise(self, truncated(0.02), truncated(0.02), norms=())

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        return self.classifier(self.avgpool(self.features(x)))


def _convnext(
    widths: Sequence[int], depths: Sequence[int], chance: float, **kwargs: Any
) -> ConvNeXt:
    rows = zip(widths, [*widths[1:], None], depths)
    setting = [CNBlockConfig(*row) for row in rows]
    chance = kwargs.pop("stochastic_depth_prob", chance)
    return ConvNeXt(setting, stochastic_depth_prob=chance, **kwargs)


@builder
def convnext_tiny(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt, tiny. Arguments of `ConvNeXt`."""
    return _convnext((96, 192, 384, 768), (3, 3, 9, 3), 0.1, **kwargs)


@builder
def convnext_small(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt, small."""
    return _convnext((96, 192, 384, 768), (3, 3, 27, 3), 0.4, **kwargs)


@builder
def convnext_base(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt, base."""
    return _convnext((128, 256, 512, 1024), (3, 3, 27, 3), 0.5, **kwargs)


@builder
def convnext_large(**kwargs: Any) -> ConvNeXt:
    """ConvNeXt, large."""
    return _convnext((192, 384, 768, 1536), (3, 3, 27, 3), 0.5, **kwargs)
