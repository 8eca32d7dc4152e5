"""MaxViT (Tu et al., "MaxViT: Multi-Axis Vision Transformer", 2022)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cupola import nn
from cupola.functional.creation import zeros
from cupola.models._initial import initialise, normal
from cupola.models._registry import builder
from cupola.models._windows import (
    from_windows,
    position_bias,
    relative_position_index,
    to_windows,
)
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.drop import StochasticDepth
from cupola.vision.misc import Conv2dNormActivation, SqueezeExcitation

__all__ = ["MaxVit", "maxvit_t"]
Layer = Callable[..., nn.Module]
Size = tuple[int, int]


def _halved(size: Size) -> Size:
    """The size after a 3×3 convolution of stride 2."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


class MBConv(nn.Module):
    """An inverted residual with squeeze and excitation, normalised first."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion_ratio: float,
        squeeze_ratio: float,
        stride: int,
        activation_layer: Layer,
        norm_layer: Layer,
        p_stochastic_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.proj: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            smaller = [nn.AvgPool2d(kernel_size=3, stride=2, padding=1)] if stride == 2 else []
            conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=1, bias=True)
            self.proj = nn.Sequential(*smaller, conv)
        self.stochastic_depth: nn.Module = nn.Identity()
        if p_stochastic_dropout:
            self.stochastic_depth = StochasticDepth(p_stochastic_dropout, mode="row")
        wide = int(out_channels * expansion_ratio)
        common = {"activation_layer": activation_layer, "norm_layer": norm_layer, "inplace": None}
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["pre_norm"] = norm_layer(in_channels)
        layers["conv_a"] = Conv2dNormActivation(in_channels, wide, 1, 1, 0, **common)
        layers["conv_b"] = Conv2dNormActivation(wide, wide, 3, stride, 1, wide, **common)
        layers["squeeze_excitation"] = SqueezeExcitation(
            wide, int(out_channels * squeeze_ratio), activation=nn.SiLU
        )
        layers["conv_c"] = nn.Conv2d(wide, out_channels, kernel_size=1, bias=True)
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Returns proj(x) + f(x), (N, out_channels, H/stride, W/stride)."""
        return self.proj(x) + self.stochastic_depth(self.layers(x))


class RelativePositionalMultiHeadAttention(nn.Module):
    """Attention among the cells of each group, with a learned bias for each offset.

    Raises:
        ValueError: `head_dim` does not divide `feat_dim`.
    """

    def __init__(self, feat_dim: int, head_dim: int, max_seq_len: int) -> None:
        super().__init__()
        if feat_dim % head_dim != 0:
            raise ValueError(f"feat_dim: {feat_dim} must be divisible by head_dim: {head_dim}")
        self.n_heads = feat_dim // head_dim
        self.head_dim = head_dim
        self.size = int(max_seq_len**0.5)
        self.max_seq_len = max_seq_len
        self.to_qkv = nn.Linear(feat_dim, feat_dim * 3)
        self.scale_factor = feat_dim**-0.5
        self.merge = nn.Linear(feat_dim, feat_dim)
        offsets = (2 * self.size - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(zeros(offsets, self.n_heads))
        self.register_buffer("relative_position_index", relative_position_index([self.size] * 2))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def get_relative_positional_bias(self) -> Tensor:
        """Returns the bias of each pair of cells, (1, heads, P, P)."""
        return position_bias(
            self.relative_position_bias_table, self.relative_position_index, self.max_seq_len
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, groups, P, C) for cells of that shape."""
        batch, groups, cells, channels = x.shape
        qkv = self.to_qkv(x).reshape(batch, groups, cells, 3, self.n_heads, self.head_dim)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        attention = query @ (key * self.scale_factor).transpose(-2, -1)
        attention = F.softmax(attention + self.get_relative_positional_bias(), dim=-1)
        out = (attention @ value).permute(0, 1, 3, 2, 4)
        return self.merge(out.reshape(batch, groups, cells, channels))


class PartitionAttentionLayer(nn.Module):
    """Attention and a perceptron, within windows or among the cells at equal places of a grid.

    Raises:
        ValueError: a `partition_type` other than "grid" and "window".
        AssertionError: the partitions do not fill the image.
    """

    def __init__(
        self,
        in_channels: int,
        head_dim: int,
        partition_size: int,
        partition_type: str,
        grid_size: Size,
        mlp_ratio: int,
        activation_layer: Layer,
        norm_layer: Layer,
        attention_dropout: float,
        mlp_dropout: float,
        p_stochastic_dropout: float,
    ) -> None:
        super().__init__()
        if partition_type not in ("grid", "window"):
            raise ValueError("partition_type must be either 'grid' or 'window'")
        self.partition_type = partition_type
        self.grid_size = grid_size
        count = grid_size[0] // partition_size
        self.p = partition_size if partition_type == "window" else count
        self.attn_layer = nn.Sequential(
            norm_layer(in_channels),
            RelativePositionalMultiHeadAttention(in_channels, head_dim, partition_size**2),
            nn.Dropout(attention_dropout),
        )
        wide = in_channels * mlp_ratio
        self.mlp_layer = nn.Sequential(
            nn.LayerNorm(in_channels),
            nn.Linear(in_channels, wide),
            activation_layer(),
            nn.Linear(wide, in_channels),
            nn.Dropout(mlp_dropout),
        )
        self.stochastic_dropout = StochasticDepth(p_stochastic_dropout, mode="row")

    def forward(self, x: Tensor) -> Tensor:
        """Returns images of the same shape, (N, C, H, W)."""
        if any(side % self.p for side in self.grid_size):
            raise AssertionError(
                "Grid size must be divisible by partition size. Got grid size of "
                f"{self.grid_size} and partition size of {self.p}"
            )
        grid, window = self.partition_type == "grid", (self.p, self.p)
        x = to_windows(x.permute(0, 2, 3, 1), window)
        x = x.swapaxes(-2, -3) if grid else x
        x = x + self.stochastic_dropout(self.attn_layer(x))
        x = x + self.stochastic_dropout(self.mlp_layer(x))
        x = x.swapaxes(-2, -3) if grid else x
        return from_windows(x, window, self.grid_size).permute(0, 3, 1, 2)


class MaxVitLayer(nn.Module):
    """An `MBConv`, attention within windows, attention on a grid."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        squeeze_ratio: float,
        expansion_ratio: float,
        stride: int,
        norm_layer: Layer,
        activation_layer: Layer,
        head_dim: int,
        mlp_ratio: int,
        mlp_dropout: float,
        attention_dropout: float,
        p_stochastic_dropout: float,
        partition_size: int,
        grid_size: Size,
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["MBconv"] = MBConv(
            in_channels,
            out_channels,
            expansion_ratio,
            squeeze_ratio,
            stride,
            activation_layer,
            norm_layer,
            p_stochastic_dropout,
        )
        for kind in ("window", "grid"):
            layers[f"{kind}_attention"] = PartitionAttentionLayer(
                out_channels,
                head_dim,
                partition_size,
                kind,
                grid_size,
                mlp_ratio,
                activation_layer,
                nn.LayerNorm,
                attention_dropout,
                mlp_dropout,
                p_stochastic_dropout,
            )
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, out_channels, H/stride, W/stride)."""
        return self.layers(x)


class MaxVitBlock(nn.Module):
    """Layers of one size; the first halves the input's.

    Raises:
        ValueError: not one probability for each layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        squeeze_ratio: float,
        expansion_ratio: float,
        norm_layer: Layer,
        activation_layer: Layer,
        head_dim: int,
        mlp_ratio: int,
        mlp_dropout: float,
        attention_dropout: float,
        partition_size: int,
        input_grid_size: Size,
        n_layers: int,
        p_stochastic: Sequence[float],
    ) -> None:
        super().__init__()
        if len(p_stochastic) != n_layers:
            raise ValueError(
                f"p_stochastic must have length n_layers={n_layers}, got {p_stochastic}."
            )
        self.layers = nn.ModuleList()
        self.grid_size = _halved(input_grid_size)
        for number, chance in enumerate(p_stochastic):
            self.layers.append(
                MaxVitLayer(
                    out_channels if number else in_channels,
                    out_channels,
                    squeeze_ratio,
                    expansion_ratio,
                    1 if number else 2,
                    norm_layer,
                    activation_layer,
                    head_dim,
                    mlp_ratio,
                    mlp_dropout,
                    attention_dropout,
                    chance,
                    partition_size,
                    self.grid_size,
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, out_channels, H/2, W/2)."""
        for layer in self.layers:
            x = layer(x)
        return x


class MaxVit(nn.Module):
    """A stem, blocks of convolution and attention, a classifier. Input (N, 3, *input_size).

    Raises:
        ValueError: the partitions do not fill the image at every block.
    """

    def __init__(
        self,
        input_size: Size,
        stem_channels: int,
        partition_size: int,
        block_channels: Sequence[int],
        block_layers: Sequence[int],
        head_dim: int,
        stochastic_depth_prob: float,
        norm_layer: Layer | None = None,
        activation_layer: Layer = nn.GELU,
        squeeze_ratio: float = 0.25,
        expansion_ratio: float = 4,
        mlp_ratio: int = 4,
        mlp_dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        norm_layer = norm_layer or partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
        size = inner = _halved(input_size)
        for number in range(len(block_channels)):
            inner = _halved(inner)
            if any(side % partition_size for side in inner):
                raise ValueError(
                    f"Input size {inner} of block {number} is not divisible by partition size "
                    f"{partition_size}. Consider changing the partition size or the input size."
                )
        self.stem = nn.Sequential(
            Conv2dNormActivation(
                3,
                stem_channels,
                3,
                stride=2,
                norm_layer=norm_layer,
                activation_layer=activation_layer,
                bias=False,
                inplace=None,
            ),
            Conv2dNormActivation(
                stem_channels, stem_channels, 3, norm_layer=None, activation_layer=None, bias=True
            ),
        )
        self.partition_size = partition_size
        self.blocks = nn.ModuleList()
        chances = np.linspace(0, stochastic_depth_prob, sum(block_layers)).tolist()
        channels = stem_channels
        for width, depth in zip(block_channels, block_layers):
            own, chances = chances[:depth], chances[depth:]
            block = MaxVitBlock(
                channels,
                width,
                squeeze_ratio,
                expansion_ratio,
                norm_layer,
                activation_layer,
                head_dim,
                mlp_ratio,
                mlp_dropout,
                attention_dropout,
                partition_size,
                size,
                depth,
                own,
            )
            self.blocks.append(block)
            size, channels = block.grid_size, width
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.LayerNorm(channels),
            nn.Linear(channels, channels),
            nn.Tanh(),
            nn.Linear(channels, num_classes, bias=False),
        )
        initialise(self, normal(0.02), normal(0.02), norms=(nn.BatchNorm2d,))

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x)


@builder
def maxvit_t(**kwargs: Any) -> MaxVit:
    """MaxViT, tiny. Arguments of `MaxVit`; input_size is (224, 224)."""
    return MaxVit(
        kwargs.pop("input_size", (224, 224)),
        stem_channels=64,
        partition_size=7,
        block_channels=[64, 128, 256, 512],
        block_layers=[2, 2, 5, 2],
        head_dim=32,
        stochastic_depth_prob=0.2,
        **kwargs,
    )
