"""VGG (Simonyan and Zisserman, "Very Deep Convolutional Networks", 2015), with and without batch
normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cupola import nn
from cupola.functional.shape import flatten
from cupola.models._initial import he_normal, initialise, normal
from cupola.models._registry import builder
from cupola.tensor import Tensor

__all__ = [
    "VGG",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
STAGES = (64, 128, 256, 512, 512)


def plan(depths: Sequence[int]) -> list[int | str]:
    """Returns the layers of a VGG: channels of a convolution, or "M" for a pooling.

    >>> plan([1, 1, 2, 2, 2])[:5]
    [64, 'M', 128, 'M', 256]
    """
    layers: list[int | str] = []
    for channels, depth in zip(STAGES, depths):
        layers += [channels] * depth + ["M"]
    return layers


# The paper's configurations A, B, D and E.
cfgs = {
    "A": plan([1, 1, 2, 2, 2]),
    "B": plan([2, 2, 2, 2, 2]),
    "D": plan([2, 2, 3, 3, 3]),
    "E": plan([2, 2, 4, 4, 4]),
}


def make_layers(cfg: Sequence[int | str], batch_norm: bool = False) -> nn.Sequential:
    """Returns the convolutions, activations and poolings of a configuration."""
    layers: list[nn.Module] = []
    channels = 3
    for item in cfg:
        if item == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(channels, item, kernel_size=3, padding=1))
        if batch_norm:
            layers.append(nn.BatchNorm2d(item))
        layers.append(nn.ReLU(inplace=True))
        channels = item
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """3×3 convolutions, then three linear layers. Input (N, 3, H, W), at least 32 pixels a side."""

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            initialise(self, he_normal(), normal(0.01))

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        return self.classifier(flatten(self.avgpool(self.features(x)), 1))


def _vgg(configuration: str, batch_norm: bool, **kwargs: Any) -> VGG:
    return VGG(make_layers(cfgs[configuration], batch_norm), **kwargs)


@builder
def vgg11(**kwargs: Any) -> VGG:
    """VGG-11, configuration A. Arguments of `VGG`."""
    return _vgg("A", False, **kwargs)


@builder
def vgg11_bn(**kwargs: Any) -> VGG:
    """VGG-11 with batch normalisation."""
    return _vgg("A", True, **kwargs)


@builder
def vgg13(**kwargs: Any) -> VGG:
    """VGG-13, configuration B."""
    return _vgg("B", False, **kwargs)


@builder
def vgg13_bn(**kwargs: Any) -> VGG:
    """VGG-13 with batch normalisation."""
    return _vgg("B", True, **kwargs)


@builder
def vgg16(**kwargs: Any) -> VGG:
    """VGG-16, configuration D."""
    return _vgg("D", False, **kwargs)


@builder
def vgg16_bn(**kwargs: Any) -> VGG:
    """VGG-16 with batch normalisation."""
    return _vgg("D", True, **kwargs)


@builder
def vgg19(**kwargs: Any) -> VGG:
    """VGG-19, configuration E."""
    return _vgg("E", False, **kwargs)


@builder
def vgg19_bn(**kwargs: Any) -> VGG:
    """VGG-19 with batch normalisation."""
    return _vgg("E", True, **kwargs)
