"""Video Swin Transformer (Liu et al., "Video Swin Transformer", 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cupola import nn
from cupola.models._initial import initialise, truncated
from cupola.models._registry import builder
from cupola.models._windows import position_bias, relative_position_index
from cupola.models.swin_transformer import (
    BASE,
    SMALL,
    TINY,
    PatchMerging,
    ShiftedWindowAttention,
    SwinTransformerBlock,
    stages,
)
from cupola.nn import functional as F
from cupola.tensor import Tensor

__all__ = ["SwinTransformer3d", "swin3d_b", "swin3d_s", "swin3d_t"]
Layer = Callable[..., nn.Module]


class ShiftedWindowAttention3d(ShiftedWindowAttention):
    """`ShiftedWindowAttention` of grids (B, T, H, W, C); windows shrink to short or small ones.

    Raises:
        ValueError: windows or shifts that are not three numbers.
    """

    dims = 3

    def define_relative_position_index(self) -> None:
        """Keeps which offset each pair of cells has."""
        index = relative_position_index(self.window_size)
        self.register_buffer("relative_position_index", index)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, T, H, W, C)."""
        window = [min(size, w) for size, w in zip(x.shape[1:-1], self.window_size)]
        volume = window[0] * window[1] * window[2]
        index = self.relative_position_index[:volume, :volume]
        bias = position_bias(self.relative_position_bias_table, index, volume)
        return self._attend(x, bias, window)


class PatchEmbed3d(nn.Module):
    """Cuts videos (N, C, T, H, W) into patches: (N, T', H', W', embed_dim)."""

    def __init__(
        self,
        patch_size: Sequence[int],
        in_channels: int = 3,
        embed_dim: int = 96,
        norm_layer: Layer | None = None,
    ) -> None:
        super().__init__()
        self.tuple_patch_size = tuple(patch_size)
        self.proj = nn.Conv3d(
            in_channels,
            embed_dim,
            kernel_size=self.tuple_patch_size,
            stride=self.tuple_patch_size,
        )
        self.norm = nn.Identity() if norm_layer is None else norm_layer(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the grid; videos are padded with zeros to whole patches."""
        t, h, w = (-size % p for size, p in zip(x.shape[2:], self.tuple_patch_size))
        x = self.proj(F.pad(x, (0, w, 0, h, 0, t)))
        return self.norm(x.permute(0, 2, 3, 4, 1))


class SwinTransformer3d(nn.Module):
    """Patches as a grid, stages of window attention, one linear layer. Input (N, 3, T, H, W)."""

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
        num_classes: int = 400,
        norm_layer: Layer | None = None,
        block: Layer | None = None,
        downsample_layer: Layer = PatchMerging,
        patch_embed: Layer | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        norm_layer = norm_layer or partial(nn.LayerNorm, eps=1e-5)
        self.patch_embed = (patch_embed or PatchEmbed3d)(
            patch_size=patch_size, embed_dim=embed_dim, norm_layer=norm_layer
        )
        self.pos_drop = nn.Dropout(p=dropout)
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
            attn_layer=ShiftedWindowAttention3d,
        )
        self.features = nn.Sequential(*made)
        self.num_features = embed_dim * 2 ** (len(depths) - 1)
        self.norm = norm_layer(self.num_features)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.head = nn.Linear(self.num_features, num_classes)
        initialise(self, linear=truncated(0.02), norms=())

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        x = self.norm(self.features(self.pos_drop(self.patch_embed(x))))
        return self.head(self.avgpool(x.permute(0, 4, 1, 2, 3)).flatten(1))


def _swin3d(size: dict[str, Any], **kwargs: Any) -> SwinTransformer3d:
    return SwinTransformer3d(
        [2, 4, 4], **size, window_size=[8, 7, 7], stochastic_depth_prob=0.1, **kwargs
    )


@builder
def swin3d_t(**kwargs: Any) -> SwinTransformer3d:
    """Video Swin, tiny. Arguments of `SwinTransformer3d`."""
    return _swin3d(TINY, **kwargs)


@builder
def swin3d_s(**kwargs: Any) -> SwinTransformer3d:
    """Video Swin, small."""
    return _swin3d(SMALL, **kwargs)


@builder
def swin3d_b(**kwargs: Any) -> SwinTransformer3d:
    """Video Swin, base."""
    return _swin3d(BASE, **kwargs)
