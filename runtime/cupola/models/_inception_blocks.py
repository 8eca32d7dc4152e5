"""What GoogLeNet and Inception v3 share."""

from __future__ import annotations

from typing import Any

from cupola import nn
from cupola.functional.joining import stack
from cupola.nn import functional as F
from cupola.tensor import Tensor

# Mean and standard deviation of ImageNet's channels, from 0 to 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BasicConv2d(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, out_channels, H, W)."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


def from_imagenet(x: Tensor) -> Tensor:
    """Returns images normalised by ImageNet's mean and deviation normalised by 0.5 and 0.5.

    TensorFlow's weights expect the latter.
    """
    channels = [
        x[:, i] * (std / 0.5) + (mean - 0.5) / 0.5 for i, (mean, std) in enumerate(zip(_MEAN, _STD))
    ]
    return stack(channels, 1)
