"""GoogLeNet (Szegedy et al., "Going Deeper with Convolutions", 2015)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cupola import nn
from cupola.functional.joining import cat
from cupola.functional.shape import flatten
from cupola.models._inception_blocks import BasicConv2d, from_imagenet
from cupola.models._initial import initialise, truncated
from cupola.models._registry import builder
from cupola.nn import functional as F
from cupola.tensor import Tensor

__all__ = ["GoogLeNet", "GoogLeNetOutputs", "googlenet"]
Block = Callable[..., nn.Module]


class GoogLeNetOutputs(NamedTuple):
    """Scores in training: the network's, and the two inner classifiers', the last one first."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


_GoogLeNetOutputs = GoogLeNetOutputs


class Inception(nn.Module):
    """Four branches side by side: 1×1, 3×3 and (in place of 5×5) 3×3 convolutions, and pooling."""

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        conv_block: Block | None = None,
    ) -> None:
        super().__init__()
        conv = conv_block or BasicConv2d

        def narrow_then_wide(narrow: int, wide: int) -> nn.Sequential:
            return nn.Sequential(
                conv(in_channels, narrow, kernel_size=1),
                conv(narrow, wide, kernel_size=3, padding=1),
            )

        self.branch1 = conv(in_channels, ch1x1, kernel_size=1)
        self.branch2 = narrow_then_wide(ch3x3red, ch3x3)
        self.branch3 = narrow_then_wide(ch5x5red, ch5x5)
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=True),
            conv(in_channels, pool_proj, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns the branches' channels."""
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A classifier on an intermediate result, (N, C, H, W) to (N, num_classes)."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        conv_block: Block | None = None,
        dropout: float = 0.7,
    ) -> None:
        super().__init__()
        self.conv = (conv_block or BasicConv2d)(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores."""
        x = flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNet(nn.Module):
    """Nine inception blocks. Input (N, 3, H, W).

    Args:
        aux_logits: also classify two intermediate results in training; the result is then a
            `GoogLeNetOutputs`.
        transform_input: the images are normalised for ImageNet, the weights are TensorFlow's.
        init_weights: draw the weights as the paper does; None counts as True.
        blocks: the three classes to build from.

    Raises:
        ValueError: `blocks` has not three elements.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = None,
        blocks: Sequence[Block] | None = None,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        blocks = blocks or (BasicConv2d, Inception, InceptionAux)
        if len(blocks) != 3:
            raise ValueError(f"blocks length should be 3 instead of {len(blocks)}")
        conv, inception, auxiliary = blocks
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        self.conv1 = conv(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = auxiliary(512, num_classes, dropout=dropout_aux) if aux_logits else None
        self.aux2 = auxiliary(528, num_classes, dropout=dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights is None or init_weights:
            draw = truncated(0.01)
            initialise(self, draw, draw, norms=(nn.BatchNorm2d,), biases=False)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        """Returns scores, (N, num_classes); in training with `aux_logits`, all three of them."""
        if self.transform_input:
            x = from_imagenet(x)
        x = self.conv3(self.conv2(self.maxpool1(self.conv1(x))))
        x = self.inception3b(self.inception3a(self.maxpool2(x)))
        x = self.inception4a(self.maxpool3(x))
        first = self.aux1(x) if self.training and self.aux1 is not None else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        second = self.aux2(x) if self.training and self.aux2 is not None else None
        x = self.inception5a(self.maxpool4(self.inception4e(x)))
        x = flatten(self.avgpool(self.inception5b(x)), 1)
        x = self.fc(self.dropout(x))
        return GoogLeNetOutputs(x, second, first) if self.training and self.aux_logits else x


@builder(published={"transform_input": True, "aux_logits": False}, optional=("aux1.", "aux2."))
def googlenet(**kwargs: Any) -> GoogLeNet:
    """GoogLeNet. Arguments of `GoogLeNet`; published weights set transform_input and no aux."""
    return GoogLeNet(**kwargs)
