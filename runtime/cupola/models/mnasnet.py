"""MNASNet (Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile", 2019)."""

from __future__ import annotations

from typing import Any

from cupola import nn
from cupola.models._initial import he_normal, initialise
from cupola.models._registry import builder
from cupola.tensor import Tensor

__all__ = ["MNASNet", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"]
_MOMENTUM = 1 - 0.9997
# Kernel, stride, expansion and depth of each stack of blocks.
_STACKS = ((3, 2, 3, 3), (5, 2, 3, 3), (5, 2, 6, 3), (3, 1, 6, 2), (5, 2, 6, 4), (3, 1, 6, 1))


def _conv(
    in_ch: int, out_ch: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True,
    momentum: float = _MOMENTUM,
) -> list[nn.Module]:  # fmt: skip
    """A convolution that keeps the size at stride 1, normalisation and perhaps an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(
            in_ch, out_ch, kernel, padding=kernel // 2, stride=stride, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_ch, momentum=momentum),
    ]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


class _InvertedResidual(nn.Module):
    """Wider by a 1×1 convolution, one convolution a channel, narrow again."""

    def __init__(
        self,
        in_ch: int,
        out_ch: int,
        kernel_size: int,
        stride: int,
        expansion_factor: int,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        if kernel_size not in (3, 5):
            raise ValueError(f"kernel_size should be 3 or 5 instead of {kernel_size}")
        mid = in_ch * expansion_factor
        self.apply_residual = in_ch == out_ch and stride == 1
        self.layers = nn.Sequential(
            *_conv(in_ch, mid, 1, momentum=bn_momentum),
            *_conv(mid, mid, kernel_size, stride, mid, momentum=bn_momentum),
            *_conv(mid, out_ch, 1, relu=False, momentum=bn_momentum),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Returns f(x), or f(x) + x where the shapes are equal."""
        out = self.layers(input)
        return out + input if self.apply_residual else out


def _stack(in_ch: int, out_ch: int, kernel: int, stride: int, expansion: int, depth: int) -> Any:
    blocks = [_InvertedResidual(in_ch, out_ch, kernel, stride, expansion, _MOMENTUM)]
    for _ in range(1, depth):
        blocks.append(_InvertedResidual(out_ch, out_ch, kernel, 1, expansion, _MOMENTUM))
    return nn.Sequential(*blocks)


def _round_to_multiple_of(val: float, divisor: int, round_up_bias: float = 0.9) -> int:
    """The nearest multiple of `divisor` that is not much smaller than `val`."""
    rounded = max(divisor, int(val + divisor / 2) // divisor * divisor)
    return rounded if rounded >= round_up_bias * val else rounded + divisor


def _depths(alpha: float) -> list[int]:
    return [_round_to_multiple_of(d * alpha, 8) for d in (32, 16, 24, 40, 80, 96, 192, 320)]


def _drawn_linear(layer: nn.Linear) -> None:
    nn.init.kaiming_uniform_(layer.weight, mode="fan_out", nonlinearity="sigmoid")


def _stem(first: int, second: int) -> list[nn.Module]:
    return [
        *_conv(3, first, 3, 2),
        *_conv(first, first, 3, groups=first),
        *_conv(first, second, 1, relu=False),
    ]


class MNASNet(nn.Module):
    """MNASNet-B1, `alpha` times as wide. Input (N, 3, H, W).

    Raises:
        ValueError: `alpha` is not greater than 0.
    """

    # Version 1 scaled the stem's channels by no alpha.
    _version = 2

    def __init__(self, alpha: float, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        if alpha <= 0.0:
            raise ValueError(f"alpha should be greater than 0.0 instead of {alpha}")
        self.alpha = alpha
        self.num_classes = num_classes
        widths = _depths(alpha)
        # Made in the order in which they are held: each draws from the random stream.
        layers = _stem(*widths[:2])
        for wide, wider, how in zip(widths[1:], widths[2:], _STACKS):
            layers.append(_stack(wide, wider, *how))
        self.layers = nn.Sequential(*layers, *_conv(widths[-1], 1280, 1))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout, inplace=True), nn.Linear(1280, num_classes)
        )
        initialise(self, he_normal(), _drawn_linear, norms=(nn.BatchNorm2d,))

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        if local_metadata.get("version") == 1 and self.alpha != 1.0:
            # Files of the first version keep their narrower stem.
            old = [*_stem(32, 16), _stack(16, _depths(self.alpha)[2], *_STACKS[0])]
            for number, layer in enumerate(old):
                self.layers[number] = layer
            self._version = 1
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        return self.classifier(self.layers(x).mean([2, 3]))


@builder
def mnasnet0_5(**kwargs: Any) -> MNASNet:
    """MNASNet, half as wide. Arguments of `MNASNet`."""
    return MNASNet(0.5, **kwargs)


@builder
def mnasnet0_75(**kwargs: Any) -> MNASNet:
    """MNASNet, 0.75 times as wide."""
    return MNASNet(0.75, **kwargs)


@builder
def mnasnet1_0(**kwargs: Any) -> MNASNet:
    """MNASNet."""
    return MNASNet(1.0, **kwargs)


@builder
def mnasnet1_3(**kwargs: Any) -> MNASNet:
    """MNASNet, 1.3 times as wide."""
    return MNASNet(1.3, **kwargs)
