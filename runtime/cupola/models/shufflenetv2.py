"""ShuffleNet v2 (Ma et al., "ShuffleNet V2: Practical Guidelines", 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola import nn
from cupola.functional.joining import cat
from cupola.models._registry import builder
from cupola.tensor import Tensor

__all__ = [
    "ShuffleNetV2",
    "shufflenet_v2_x0_5",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_5",
    "shufflenet_v2_x2_0",
]


def _conv(inp: int, oup: int, kernel: int = 1, stride: int = 1, relu: bool = True) -> list:
    """A convolution with normalisation and perhaps an activation, 1×1 or 3×3."""
    layers = [
        nn.Conv2d(inp, oup, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(oup),
    ]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


def _channelwise(channels: int, stride: int) -> list:
    """One 3×3 convolution a channel, with normalisation."""
    conv = nn.Conv2d(channels, channels, 3, stride, 1, bias=False, groups=channels)
    return [conv, nn.BatchNorm2d(channels)]


class InvertedResidual(nn.Module):
    """Half of the channels pass, half go through three convolutions; then the halves are mixed.

    With a stride, both halves are computed from all channels.

    Raises:
        ValueError: a stride outside 1 to 3, or stride 1 where the channels change.
    """

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__()
        if not 1 <= stride <= 3:
            raise ValueError("illegal stride value")
        half = oup // 2
        if stride == 1 and inp != 2 * half:
            raise ValueError(
                f"Invalid combination of stride {stride}, inp {inp} and oup {oup} values. If "
                "stride == 1 then inp should be equal to oup // 2 << 1."
            )
        self.stride = stride
        passing = [*_channelwise(inp, stride), *_conv(inp, half)] if stride > 1 else []
        self.branch1 = nn.Sequential(*passing)
        self.branch2 = nn.Sequential(
            *_conv(inp if stride > 1 else half, half),
            *_channelwise(half, stride),
            *_conv(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, oup, H, W), the channels of the halves alternating."""
        first, second = x.chunk(2, dim=1) if self.stride == 1 else (self.branch1(x), x)
        return nn.functional.channel_shuffle(cat((first, self.branch2(second)), 1), 2)


class ShuffleNetV2(nn.Module):
    """ShuffleNet v2. Input (N, 3, H, W).

    Raises:
        ValueError: not three `stages_repeats` or not five `stages_out_channels`.
    """

    def __init__(
        self,
        stages_repeats: Sequence[int],
        stages_out_channels: Sequence[int],
        num_classes: int = 1000,
        inverted_residual: Callable[..., nn.Module] = InvertedResidual,
    ) -> None:
        super().__init__()
        if len(stages_repeats) != 3:
            raise ValueError("expected stages_repeats as list of 3 positive ints")
        if len(stages_out_channels) != 5:
            raise ValueError("expected stages_out_channels as list of 5 positive ints")
        self._stage_out_channels = stages_out_channels
        first, *stages, last = stages_out_channels
        self.conv1 = nn.Sequential(*_conv(3, first, 3, 2))
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = first
        for number, (repeats, width) in enumerate(zip(stages_repeats, stages), 2):
            blocks = [inverted_residual(channels, width, 2)]
            blocks += [inverted_residual(width, width, 1) for _ in range(repeats - 1)]
            setattr(self, f"stage{number}", nn.Sequential(*blocks))
            channels = width
        self.conv5 = nn.Sequential(*_conv(channels, last))
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean([2, 3]))


@builder
def shufflenet_v2_x0_5(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNet v2, half as wide. Arguments of `ShuffleNetV2`."""
    return ShuffleNetV2([4, 8, 4], [24, 48, 96, 192, 1024], **kwargs)


@builder
def shufflenet_v2_x1_0(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNet v2."""
    return ShuffleNetV2([4, 8, 4], [24, 116, 232, 464, 1024], **kwargs)


@builder
def shufflenet_v2_x1_5(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNet v2, 1.5 times as wide."""
    return ShuffleNetV2([4, 8, 4], [24, 176, 352, 704, 1024], **kwargs)


@builder
def shufflenet_v2_x2_0(**kwargs: Any) -> ShuffleNetV2:
    """ShuffleNet v2, twice as wide."""
    return ShuffleNetV2([4, 8, 4], [24, 244, 488, 976, 2048], **kwargs)
