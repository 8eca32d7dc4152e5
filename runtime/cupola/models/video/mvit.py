"""Multiscale Vision Transformers (Fan et al., 2021), and their second version (Li et al., 2022)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cupola import nn
from cupola.functional.creation import zeros
from cupola.functional.joining import cat
from cupola.models._registry import builder
from cupola.nn import functional as F
from cupola.tensor import Tensor, from_numpy
from cupola.vision.drop import StochasticDepth
from cupola.vision.misc import MLP

__all__ = ["MSBlockConfig", "MViT", "mvit_v1_b", "mvit_v2_s"]
Layer = Callable[..., nn.Module]
Size = tuple[int, int, int]


@dataclasses.dataclass
class MSBlockConfig:
    """Heads, channels, and kernels and strides of the pooling of queries and of keys and values;
    empty lists for none.
    """

    num_heads: int
    input_channels: int
    output_channels: int
    kernel_q: list[int]
    kernel_kv: list[int]
    stride_q: list[int]
    stride_kv: list[int]


class Pool(nn.Module):
    """Pools tokens in time and space, all but the first, which is the class token."""

    def __init__(
        self,
        pool: nn.Module,
        norm: nn.Module | None,
        activation: nn.Module | None = None,
        norm_before_pool: bool = False,
    ) -> None:
        super().__init__()
        self.pool = pool
        layers = [layer for layer in (norm, activation) if layer is not None]
        self.norm_act = nn.Sequential(*layers) if layers else None
        self.norm_before_pool = norm_before_pool

    def forward(self, x: Tensor, thw: Size) -> tuple[Tensor, Size]:
        """Returns the tokens, (B, [heads,] L', C), and frames, height and width of their grid.

        Raises:
            ValueError: tokens of neither three nor four dimensions.
        """
        if x.dim() not in (3, 4):
            raise ValueError(f"Unsupported input dimension {x.shape}")
        flat = x.dim() == 3
        if flat:
            x = x.unsqueeze(1)
        first, x = x[:, :, :1], x[:, :, 1:].transpose(2, 3)
        batch, heads, channels = x.shape[:3]
        x = x.reshape(batch * heads, channels, *thw)
        if self.norm_before_pool and self.norm_act is not None:
            x = self.norm_act(x)
        x = self.pool(x)
        size = tuple(x.shape[2:])
        x = cat((first, x.reshape(batch, heads, channels, -1).transpose(2, 3)), 2)
        if not self.norm_before_pool and self.norm_act is not None:
            x = self.norm_act(x)
        return x.squeeze(1) if flat else x, size


def _distances(queries: int, keys: int) -> np.ndarray:
    """The number of the offset between each query and key on one axis, both scaled alike."""
    by_query = np.arange(queries)[:, None] * max(keys / queries, 1.0)
    by_key = (np.arange(keys)[None, :] + (1.0 - keys)) * max(queries / keys, 1.0)
    return (by_query - by_key).astype(np.int64)


def _offsets(table: Tensor, queries: int, keys: int) -> Tensor:
    """The embedding of each pair on one axis, (queries, keys, C)."""
    wanted = 2 * max(queries, keys) - 1
    if table.shape[0] != wanted:
        rows = table.permute(1, 0).unsqueeze(0)
        table = F.interpolate(rows, size=wanted, mode="linear").squeeze(0).permute(1, 0)
    return table[from_numpy(_distances(queries, keys)).to(table.device)]


def _relative(
    query: Tensor, q_thw: Size, k_thw: Size, tables: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """What offsets in time, height and width add to the attention of tokens: (B, heads, Q, K)."""
    batch, heads, count, channels = query.shape
    (qt, qh, qw), (kt, kh, kw) = q_thw, k_thw
    rt, rh, rw = (_offsets(t, q, k) for t, q, k in zip(tables, q_thw, k_thw))
    grid = query.reshape(batch * heads, qt, qh, qw, channels)
    # One product an axis: each query with the embeddings of its offsets.
    frames = (grid.permute(1, 0, 2, 3, 4).reshape(qt, -1, channels) @ rt.transpose(1, 2)).reshape(
        qt, batch * heads, qh, qw, kt
    )
    rows = (grid.permute(2, 0, 1, 3, 4).reshape(qh, -1, channels) @ rh.transpose(1, 2)).reshape(
        qh, batch * heads, qt, qw, kh
    )
    columns = (grid.permute(3, 0, 1, 2, 4).reshape(qw, -1, channels) @ rw.transpose(1, 2)).reshape(
        qw, batch * heads, qt, qh, kw
    )
    total = (
        rows.permute(1, 2, 0, 3, 4)[:, :, :, :, None, :, None]
        + columns.permute(1, 2, 3, 0, 4)[:, :, :, :, None, None, :]
        + frames.permute(1, 0, 2, 3, 4)[:, :, :, :, :, None, None]
    )
    return total.reshape(batch, heads, count, kt * kh * kw)


class MultiscaleAttention(nn.Module):
    """Attention of pooled queries to pooled keys and values."""

    def __init__(
        self,
        input_size: Sequence[int],
        embed_dim: int,
        output_dim: int,
        num_heads: int,
        kernel_q: Sequence[int],
        kernel_kv: Sequence[int],
        stride_q: Sequence[int],
        stride_kv: Sequence[int],
        residual_pool: bool,
        residual_with_cls_embed: bool,
        rel_pos_embed: bool,
        dropout: float = 0.0,
        norm_layer: Layer = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.output_dim = output_dim
        self.num_heads = num_heads
        self.head_dim = output_dim // num_heads
        self.scaler = 1.0 / math.sqrt(self.head_dim)
        self.residual_pool = residual_pool
        self.residual_with_cls_embed = residual_with_cls_embed
        self.qkv = nn.Linear(embed_dim, 3 * output_dim)
        layers: list[nn.Module] = [nn.Linear(output_dim, output_dim)]
        if dropout > 0.0:
            layers.append(nn.Dropout(dropout, inplace=True))
        self.project = nn.Sequential(*layers)

        def pool(kernel: Sequence[int], stride: Sequence[int]) -> Pool | None:
            if math.prod(kernel) == 1 and math.prod(stride) == 1:
                return None
            conv = nn.Conv3d(
                self.head_dim,
                self.head_dim,
                tuple(kernel),
                stride=tuple(stride),
                padding=tuple(k // 2 for k in kernel),
                groups=self.head_dim,
                bias=False,
            )
            return Pool(conv, norm_layer(self.head_dim))

        self.pool_q = pool(kernel_q, stride_q)
        self.pool_k = pool(kernel_kv, stride_kv)
        self.pool_v = pool(kernel_kv, stride_kv)
        self.rel_pos_h = self.rel_pos_w = self.rel_pos_t = None
        if rel_pos_embed:
            size = max(input_size[1:])
            pooled = [size // stride[1] if stride else size for stride in (stride_q, stride_kv)]
            places = 2 * max(pooled) - 1
            self.rel_pos_h = nn.Parameter(zeros(places, self.head_dim))
            self.rel_pos_w = nn.Parameter(zeros(places, self.head_dim))
            self.rel_pos_t = nn.Parameter(zeros(2 * input_size[0] - 1, self.head_dim))
            for table in (self.rel_pos_h, self.rel_pos_w, self.rel_pos_t):
                nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor, thw: Size) -> tuple[Tensor, Size]:
        """Returns tokens, (B, L', output_dim), and frames, height and width of their grid."""
        batch, count, _ = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.num_heads, self.head_dim)
        query, key, value = qkv.transpose(1, 3).unbind(2)
        k_thw = thw
        if self.pool_k is not None:
            key, k_thw = self.pool_k(key, thw)
        if self.pool_v is not None:
            value, _ = self.pool_v(value, thw)
        if self.pool_q is not None:
            query, thw = self.pool_q(query, thw)
        attention = (self.scaler * query) @ key.transpose(2, 3)
        if self.rel_pos_h is not None:
            tables = (self.rel_pos_t, self.rel_pos_h, self.rel_pos_w)
            added = _relative(query[:, :, 1:], thw, k_thw, tables)
            attention = attention + F.pad(added, (1, 0, 1, 0))  # the class token has no place
        x = attention.softmax(-1) @ value
        if self.residual_pool:
            shortcut = (
                query if self.residual_with_cls_embed else F.pad(query[:, :, 1:], (0, 0, 1, 0))
            )
            x = x + shortcut
        x = x.transpose(1, 2).reshape(batch, -1, self.output_dim)
        return self.project(x), thw


class MultiscaleBlock(nn.Module):
    """Pooled attention and a perceptron, each normalised before and added after."""

    def __init__(
        self,
        input_size: Sequence[int],
        cnf: MSBlockConfig,
        residual_pool: bool,
        residual_with_cls_embed: bool,
        rel_pos_embed: bool,
        proj_after_attn: bool,
        dropout: float = 0.0,
        stochastic_depth_prob: float = 0.0,
        norm_layer: Layer = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.proj_after_attn = proj_after_attn
        self.pool_skip = None
        if math.prod(cnf.stride_q) > 1:
            kernel = tuple(s + 1 if s > 1 else s for s in cnf.stride_q)
            padding = tuple(k // 2 for k in kernel)
            self.pool_skip = Pool(
                nn.MaxPool3d(kernel, stride=tuple(cnf.stride_q), padding=padding), None
            )
        attn_dim = cnf.output_channels if proj_after_attn else cnf.input_channels
        self.norm1 = norm_layer(cnf.input_channels)
        self.norm2 = norm_layer(attn_dim)
        self.needs_transposal = isinstance(self.norm1, nn.BatchNorm1d)
        self.attn = MultiscaleAttention(
            input_size,
            cnf.input_channels,
            attn_dim,
            cnf.num_heads,
            kernel_q=cnf.kernel_q,
            kernel_kv=cnf.kernel_kv,
            stride_q=cnf.stride_q,
            stride_kv=cnf.stride_kv,
            rel_pos_embed=rel_pos_embed,
            residual_pool=residual_pool,
            residual_with_cls_embed=residual_with_cls_embed,
            dropout=dropout,
            norm_layer=norm_layer,
        )
        self.mlp = MLP(
            attn_dim,
            [4 * attn_dim, cnf.output_channels],
            activation_layer=nn.GELU,
            dropout=dropout,
            inplace=None,
        )
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.project = None
        if cnf.input_channels != cnf.output_channels:
            self.project = nn.Linear(cnf.input_channels, cnf.output_channels)

    def _normalised(self, norm: nn.Module, x: Tensor) -> Tensor:
        return norm(x.transpose(1, 2)).transpose(1, 2) if self.needs_transposal else norm(x)

    def forward(self, x: Tensor, thw: Size) -> tuple[Tensor, Size]:
        """Returns tokens, (B, L', C), and frames, height and width of their grid."""
        first = self._normalised(self.norm1, x)
        attended, after = self.attn(first, thw)
        if self.project is not None and self.proj_after_attn:
            x = self.project(first)
        if self.pool_skip is not None:
            x, _ = self.pool_skip(x, thw)
        x = x + self.stochastic_depth(attended)
        second = self._normalised(self.norm2, x)
        if self.project is not None and not self.proj_after_attn:
            x = self.project(second)
        return x + self.stochastic_depth(self.mlp(second)), after


class PositionalEncoding(nn.Module):
    """Puts a class token first and adds learned places, unless attention knows offsets."""

    def __init__(
        self,
        embed_size: int,
        spatial_size: tuple[int, int],
        temporal_size: int,
        rel_pos_embed: bool,
    ) -> None:
        super().__init__()
        self.spatial_size = spatial_size
        self.temporal_size = temporal_size
        self.class_token = nn.Parameter(zeros(embed_size))
        self.spatial_pos = self.temporal_pos = self.class_pos = None
        if not rel_pos_embed:
            self.spatial_pos = nn.Parameter(zeros(math.prod(spatial_size), embed_size))
            self.temporal_pos = nn.Parameter(zeros(temporal_size, embed_size))
            self.class_pos = nn.Parameter(zeros(embed_size))

    def forward(self, x: Tensor) -> Tensor:
        """Returns tokens, (B, 1 + L, C)."""
        token = self.class_token.expand(x.shape[0], -1).unsqueeze(1)
        x = cat((token, x), 1)
        if self.class_pos is None:
            return x
        places = self.temporal_pos[:, None] + self.spatial_pos[None]
        return x + cat((self.class_pos.unsqueeze(0), places.flatten(0, 1)), 0).unsqueeze(0)


class MViT(nn.Module):
    """Patches as tokens, blocks whose attention pools, one linear layer. Input (N, 3, T, H, W).

    Args:
        spatial_size: height and width of the input.
        temporal_size: its frames.

    Raises:
        ValueError: the setting is empty.
    """

    def __init__(
        self,
        spatial_size: tuple[int, int],
        temporal_size: int,
        block_setting: Sequence[MSBlockConfig],
        residual_pool: bool,
        residual_with_cls_embed: bool,
        rel_pos_embed: bool,
        proj_after_attn: bool,
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.0,
        num_classes: int = 400,
        block: Layer | None = None,
        norm_layer: Layer | None = None,
        patch_embed_kernel: Size = (3, 7, 7),
        patch_embed_stride: Size = (2, 4, 4),
        patch_embed_padding: Size = (1, 3, 3),
    ) -> None:
        super().__init__()
        if not block_setting:
            raise ValueError("The configuration parameter can't be empty.")
        norm_layer = norm_layer or partial(nn.LayerNorm, eps=1e-6)
        first, last = block_setting[0].input_channels, block_setting[-1].output_channels
        self.conv_proj = nn.Conv3d(
            3, first, patch_embed_kernel, patch_embed_stride, patch_embed_padding
        )
        sizes = zip((temporal_size, *spatial_size), self.conv_proj.stride)
        size = [full // stride for full, stride in sizes]
        self.pos_encoding = PositionalEncoding(first, (size[1], size[2]), size[0], rel_pos_embed)
        self.blocks = nn.ModuleList()
        for number, cnf in enumerate(block_setting):
            chance = stochastic_depth_prob * number / (len(block_setting) - 1.0)
            made = (block or MultiscaleBlock)(
                input_size=size,
                cnf=cnf,
                residual_pool=residual_pool,
                residual_with_cls_embed=residual_with_cls_embed,
                rel_pos_embed=rel_pos_embed,
                proj_after_attn=proj_after_attn,
                dropout=attention_dropout,
                stochastic_depth_prob=chance,
                norm_layer=norm_layer,
            )
            self.blocks.append(made)
            if cnf.stride_q:
                size = [full // stride for full, stride in zip(size, cnf.stride_q)]
        self.norm = norm_layer(last)
        self.head = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(last, num_classes))
        self._draw()

    def _draw(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, PositionalEncoding):
                for parameter in module.parameters():
                    nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes); images (N, 3, H, W) count as videos of one frame."""
        if x.dim() == 4:
            x = x.unsqueeze(2)
        x = self.pos_encoding(self.conv_proj(x).flatten(2).transpose(1, 2))
        size = (self.pos_encoding.temporal_size, *self.pos_encoding.spatial_size)
        for block in self.blocks:
            x, size = block(x, size)
        return self.head(self.norm(x)[:, 0])


def _mvit(
    setting: list[MSBlockConfig],
    *,
    residual_pool: bool = False,
    residual_with_cls_embed: bool = True,
    rel_pos_embed: bool = False,
    proj_after_attn: bool = False,
    spatial_size: tuple[int, int] = (224, 224),
    temporal_size: int = 16,
    stochastic_depth_prob: float = 0.2,
    **kwargs: Any,
) -> MViT:
    return MViT(
        spatial_size,
        temporal_size,
        setting,
        residual_pool,
        residual_with_cls_embed,
        rel_pos_embed,
        proj_after_attn,
        stochastic_depth_prob=stochastic_depth_prob,
        **kwargs,
    )


# Blocks of each of the four stages, and their heads.
_DEPTHS, _HEADS = (1, 2, 11, 2), (1, 2, 4, 8)


def _setting(halving: set[int], wider_before: bool) -> list[MSBlockConfig]:
    """16 blocks, of which those in `halving` halve the grid; channels double from stage to stage,
    at the end of the stage before or at the beginning of the stage.
    """
    heads = [h for h, depth in zip(_HEADS, _DEPTHS) for _ in range(depth)]
    after = [96 * h for h in heads]
    if wider_before:
        before, after = after, [*after[1:], after[-1]]
    else:
        before = [after[0], *after[:-1]]
    rows = []
    for i, row in enumerate(zip(heads, before, after)):
        # Keys and values always come from a grid of the last stage's size.
        left = sum(1 for place in halving if place > i)
        stride = [1, 2**left, 2**left]
        rows.append(MSBlockConfig(*row, [3, 3, 3], [3, 3, 3], [1, 1, 1], stride))
        if i in halving:
            rows[-1].stride_q = [1, 2, 2]
    return rows


@builder
def mvit_v1_b(**kwargs: Any) -> MViT:
    """MViT v1, base. Arguments of `MViT`; 16 frames of 224 × 224 pixels."""
    setting = _setting({1, 3, 14}, wider_before=True)
    for row in setting:
        if row.stride_q == [1, 1, 1]:
            row.kernel_q, row.stride_q = [], []
    return _mvit(setting, **{"residual_with_cls_embed": False, **kwargs})


@builder
def mvit_v2_s(**kwargs: Any) -> MViT:
    """MViT v2, small."""
    own = {
        "residual_pool": True,
        "residual_with_cls_embed": False,
        "rel_pos_embed": True,
        "proj_after_attn": True,
    }
    return _mvit(_setting({1, 3, 14}, wider_before=False), **{**own, **kwargs})
