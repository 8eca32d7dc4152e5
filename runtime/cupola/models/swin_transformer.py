"""Swin Transformer (Liu et al., 2021) and Swin Transformer v2 (Liu et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cupola import nn
from cupola.functional.creation import full, zeros
from cupola.functional.joining import cat
from cupola.fx import wrap
from cupola.models._initial import initialise, truncated
from cupola.models._registry import builder
from cupola.models._windows import (
    position_bias,
    relative_position_index,
    shifted_window_attention,
)
from cupola.models.vision_transformer import drawn_perceptron
from cupola.nn import functional as F
from cupola.tensor import Tensor, from_numpy
from cupola.vision.drop import StochasticDepth
from cupola.vision.misc import MLP, Permute

__all__ = [
    "PatchMerging",
    "PatchMergingV2",
    "ShiftedWindowAttention",
    "ShiftedWindowAttentionV2",
    "SwinTransformer",
    "SwinTransformerBlock",
    "SwinTransformerBlockV2",
    "swin_b",
    "swin_s",
    "swin_t",
    "swin_v2_b",
    "swin_v2_s",
    "swin_v2_t",
]
Layer = Callable[..., nn.Module]


# What looks at sizes is one node of a traced graph.
wrap("shifted_window_attention")
wrap("_neighbours")


def _neighbours(x: Tensor) -> Tensor:
    """Four neighbours as one cell: (…, H, W, C) to (…, H/2, W/2, 4C), zeros after an odd end."""
    height, width, _ = x.shape[-3:]
    x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
    corners = ((0, 0), (1, 0), (0, 1), (1, 1))
    return cat([x[..., row::2, column::2, :] for row, column in corners], -1)


class PatchMerging(nn.Module):
    """Joins four neighbours into one cell of twice the channels."""

    def __init__(self, dim: int, norm_layer: Layer = nn.LayerNorm) -> None:
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (…, H/2, W/2, 2C)."""
        return self.reduction(self.norm(_neighbours(x)))


class PatchMergingV2(nn.Module):
    """`PatchMerging` that normalises last."""

    def __init__(self, dim: int, norm_layer: Layer = nn.LayerNorm) -> None:
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (…, H/2, W/2, 2C)."""
        return self.norm(self.reduction(_neighbours(x)))


class ShiftedWindowAttention(nn.Module):
    """Attention within windows, with a learned bias for each offset. Grids (B, H, W, C).

    Raises:
        ValueError: windows or shifts that are not two numbers.
    """

    dims = 2

    def __init__(
        self,
        dim: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        num_heads: int,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(window_size) != self.dims or len(shift_size) != self.dims:
            raise ValueError(f"window_size and shift_size must be of length {self.dims}")
        self.window_size = window_size
        self.shift_size = shift_size
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim, bias=proj_bias)
        self.define_relative_position_bias_table()
        self.define_relative_position_index()

    def define_relative_position_bias_table(self) -> None:
        """Draws a bias for each offset and head."""
        offsets = math.prod(2 * size - 1 for size in self.window_size)
        self.relative_position_bias_table = nn.Parameter(zeros(offsets, self.num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def define_relative_position_index(self) -> None:
        """Keeps which offset each pair of cells has."""
        index = relative_position_index(self.window_size).reshape(-1)
        self.register_buffer("relative_position_index", index)

    def get_relative_position_bias(self) -> Tensor:
        """Returns the bias of each pair of cells, (1, heads, V, V)."""
        volume = math.prod(self.window_size)
        return position_bias(
            self.relative_position_bias_table, self.relative_position_index, volume
        )

    def _attend(self, x: Tensor, bias: Tensor, window: Sequence[int], **how: Any) -> Tensor:
        return shifted_window_attention(
            x,
            self.qkv.weight,
            self.proj.weight,
            bias,
            window,
            self.num_heads,
            shift_size=self.shift_size,
            attention_dropout=self.attention_dropout,
            dropout=self.dropout,
            qkv_bias=self.qkv.bias,
            proj_bias=self.proj.bias,
            training=self.training,
            **how,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, H, W, C)."""
        return self._attend(x, self.get_relative_position_bias(), self.window_size)


class ShiftedWindowAttentionV2(ShiftedWindowAttention):
    """Cosine attention; the bias is computed from the logarithm of the offset by a perceptron."""

    def __init__(
        self,
        dim: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        num_heads: int,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            window_size,
            shift_size,
            num_heads,
            qkv_bias=qkv_bias,
            proj_bias=proj_bias,
            attention_dropout=attention_dropout,
            dropout=dropout,
        )
        self.logit_scale = nn.Parameter(full((num_heads, 1, 1), 10.0).log())
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, 512, bias=True),
            nn.ReLU(inplace=True),
            nn.Linear(512, num_heads, bias=False),
        )
        if qkv_bias:
            length = self.qkv.bias.numel() // 3
            self.qkv.bias.data[length : 2 * length].zero_()

    def define_relative_position_bias_table(self) -> None:
        """Keeps the coordinates of each offset, logarithmic, from -1 to 1."""
        sides = [np.arange(1 - size, size, dtype=np.float32) for size in self.window_size]
        grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1)[None]
        grid = grid / np.array([size - 1 for size in self.window_size], np.float32) * 8
        grid = np.sign(grid) * np.log2(np.abs(grid) + 1) / np.float32(3)
        self.register_buffer("relative_coords_table", from_numpy(grid.astype(np.float32)))

    def get_relative_position_bias(self) -> Tensor:
        """Returns the bias of each pair of cells, (1, heads, V, V), from 0 to 16."""
        table = self.cpb_mlp(self.relative_coords_table).reshape(-1, self.num_heads)
        volume = math.prod(self.window_size)
        return 16 * position_bias(table, self.relative_position_index, volume).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, H, W, C)."""
        bias = self.get_relative_position_bias()
        return self._attend(x, bias, self.window_size, logit_scale=self.logit_scale)


class SwinTransformerBlock(nn.Module):
    """Attention and a perceptron, each normalised before and added after."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.0,
        norm_layer: Layer = nn.LayerNorm,
        attn_layer: Layer = ShiftedWindowAttention,
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.attn = attn_layer(
            dim,
            window_size,
            shift_size,
            num_heads,
            attention_dropout=attention_dropout,
            dropout=dropout,
        )
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.norm2 = norm_layer(dim)
        wide = int(dim * mlp_ratio)
        self.mlp = MLP(dim, [wide, dim], activation_layer=nn.GELU, inplace=None, dropout=dropout)
        drawn_perceptron(self.mlp)

    def forward(self, x: Tensor) -> Tensor:
        """Returns a grid of the same shape."""
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        return x + self.stochastic_depth(self.mlp(self.norm2(x)))


class SwinTransformerBlockV2(SwinTransformerBlock):
    """`SwinTransformerBlock` that normalises after attention and perceptron."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: Sequence[int],
        shift_size: Sequence[int],
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.0,
        norm_layer: Layer = nn.LayerNorm,
        attn_layer: Layer = ShiftedWindowAttentionV2,
    ) -> None:
        super().__init__(
            dim,
            num_heads,
            window_size,
            shift_size,
            mlp_ratio,
            dropout,
            attention_dropout,
            stochastic_depth_prob,
            norm_layer,
            attn_layer,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns a grid of the same shape."""
        x = x + self.stochastic_depth(self.norm1(self.attn(x)))
        return x + self.stochastic_depth(self.norm2(self.mlp(x)))


def stages(
    depths: Sequence[int],
    embed_dim: int,
    num_heads: Sequence[int],
    window_size: Sequence[int],
    block: Layer,
    downsample_layer: Layer,
    stochastic_depth_prob: float,
    norm_layer: Layer,
    **kwargs: Any,
) -> list[nn.Module]:
    """Returns the stages and, between them, what halves the grid.

    Every second block shifts its windows by half; deeper blocks are skipped more often.
    """
    layers: list[nn.Module] = []
    total, done = sum(depths), 0
    for number, (depth, heads) in enumerate(zip(depths, num_heads)):
        dim = embed_dim * 2**number
        blocks = []
        for i in range(depth):
            shift = [w // 2 if i % 2 else 0 for w in window_size]
            chance = stochastic_depth_prob * done / (total - 1)
            blocks.append(
                block(
                    dim,
                    heads,
                    window_size=window_size,
                    shift_size=shift,
                    stochastic_depth_prob=chance,
                    norm_layer=norm_layer,
                    **kwargs,
                )
            )
            done += 1
        layers.append(nn.Sequential(*blocks))
        if number < len(depths) - 1:
            layers.append(downsample_layer(dim, norm_layer))
    return layers


class SwinTransformer(nn.Module):
    """Patches as a grid, stages of window attention, one linear layer. Input (N, 3, H, W)."""

    def __init__(
        self,
        patch_size: Sequence[int],
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: Sequence[int],
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.1,
        num_classes: int = 1000,
        norm_layer: Layer | None = None,
        block: Layer | None = None,
        downsample_layer: Layer = PatchMerging,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        norm_layer = norm_layer or partial(nn.LayerNorm, eps=1e-5)
        patch = tuple(patch_size)
        patches = nn.Sequential(
            nn.Conv2d(3, embed_dim, kernel_size=patch, stride=patch),
            Permute([0, 2, 3, 1]),
            norm_layer(embed_dim),
        )
        made = stages(
            depths,
            embed_dim,
            num_heads,
            window_size,
            block or SwinTransformerBlock,
            downsample_layer,
            stochastic_depth_prob,
            norm_layer,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )
        self.features = nn.Sequential(patches, *made)
        last = embed_dim * 2 ** (len(depths) - 1)
        self.norm = norm_layer(last)
        self.permute = Permute([0, 3, 1, 2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten(1)
        self.head = nn.Linear(last, num_classes)
        initialise(self, linear=truncated(0.02), norms=())

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        x = self.permute(self.norm(self.features(x)))
        return self.head(self.flatten(self.avgpool(x)))


TINY = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]}
SMALL = {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]}
BASE = {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}


def _first(size: dict[str, Any], chance: float, **kwargs: Any) -> SwinTransformer:
    return SwinTransformer(
        [4, 4], **size, window_size=[7, 7], stochastic_depth_prob=chance, **kwargs
    )


def _second(size: dict[str, Any], chance: float, **kwargs: Any) -> SwinTransformer:
    return SwinTransformer(
        [4, 4],
        **size,
        window_size=[8, 8],
        stochastic_depth_prob=chance,
        block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
        **kwargs,
    )


@builder
def swin_t(**kwargs: Any) -> SwinTransformer:
    """Swin, tiny. Arguments of `SwinTransformer`."""
    return _first(TINY, 0.2, **kwargs)


@builder
def swin_s(**kwargs: Any) -> SwinTransformer:
    """Swin, small."""
    return _first(SMALL, 0.3, **kwargs)


@builder
def swin_b(**kwargs: Any) -> SwinTransformer:
    """Swin, base."""
    return _first(BASE, 0.5, **kwargs)


@builder
def swin_v2_t(**kwargs: Any) -> SwinTransformer:
    """Swin v2, tiny."""
    return _second(TINY, 0.2, **kwargs)


@builder
def swin_v2_s(**kwargs: Any) -> SwinTransformer:
    """Swin v2, small."""
    return _second(SMALL, 0.3, **kwargs)


@builder
def swin_v2_b(**kwargs: Any) -> SwinTransformer:
    """Swin v2, base."""
    return _second(BASE, 0.5, **kwargs)
