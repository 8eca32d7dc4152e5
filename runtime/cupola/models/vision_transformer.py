"""Vision Transformer (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from cupola import nn
from cupola.functional.checks import _assert
from cupola.functional.creation import empty, zeros
from cupola.functional.joining import cat
from cupola.models._registry import builder
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.misc import MLP, Conv2dNormActivation

__all__ = [
    "ConvStemConfig",
    "Encoder",
    "EncoderBlock",
    "VisionTransformer",
    "interpolate_embeddings",
    "vit_b_16",
    "vit_b_32",
    "vit_h_14",
    "vit_l_16",
    "vit_l_32",
]
Layer = Callable[..., nn.Module]
_NORM = partial(nn.LayerNorm, eps=1e-6)


class ConvStemConfig(NamedTuple):
    """One convolution of a stem that replaces the cutting into patches."""

    out_channels: int
    kernel_size: int
    stride: int
    norm_layer: Layer = nn.BatchNorm2d
    activation_layer: Layer = nn.ReLU


def drawn_perceptron(module: nn.Module) -> None:
    """Draws the linear layers of a transformer's perceptron: Glorot's weights, tiny biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=1e-6)


class MLPBlock(MLP):
    """A transformer's perceptron: wider, GELU, back."""

    _version = 2

    def __init__(self, in_dim: int, mlp_dim: int, dropout: float) -> None:
        super().__init__(
            in_dim, [mlp_dim, in_dim], activation_layer=nn.GELU, inplace=None, dropout=dropout
        )
        drawn_perceptron(self)

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        # Files of the first version call the layers linear_1 and linear_2.
        for old, new in (("linear_1", 0), ("linear_2", 3)):
            for kind in ("weight", "bias"):
                if (key := f"{prefix}{old}.{kind}") in state_dict:
                    state_dict[f"{prefix}{new}.{kind}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class EncoderBlock(nn.Module):
    """Self-attention and a perceptron, each normalised before and added after."""

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Layer = _NORM,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(
            hidden_dim, num_heads, dropout=attention_dropout, batch_first=True
        )
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout)

    def forward(self, input: Tensor) -> Tensor:
        """Returns tokens, (N, L, hidden_dim), of the same shape."""
        _check_tokens(input)
        x = self.ln_1(input)
        x, _ = self.self_attention(x, x, x, need_weights=False)
        x = self.dropout(x) + input
        return x + self.mlp(self.ln_2(x))


def _check_tokens(x: Tensor) -> None:
    _assert(x.dim() == 3, f"Expected (batch_size, seq_length, hidden_dim) got {x.shape}")


class Encoder(nn.Module):
    """Tokens with learned positions through `num_layers` blocks."""

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
        norm_layer: Layer = _NORM,
    ) -> None:
        super().__init__()
        # Draws at once: it comes before the layers in the random stream.
        self.pos_embedding = nn.Parameter(empty(1, seq_length, hidden_dim).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        blocks = OrderedDict(
            (
                f"encoder_layer_{i}",
                EncoderBlock(
                    num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer
                ),
            )
            for i in range(num_layers)
        )
        self.layers = nn.Sequential(blocks)
        self.ln = norm_layer(hidden_dim)

    def forward(self, input: Tensor) -> Tensor:
        """Returns tokens, (N, L, hidden_dim), of the same shape."""
        _check_tokens(input)
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))


class VisionTransformer(nn.Module):
    """Patches as tokens, a class token, a transformer, a linear layer.

    Args:
        image_size: pixels a side; input is (N, 3, image_size, image_size).
        representation_size: size of a layer with tanh before the last; None for none.
        conv_stem_configs: convolutions in place of the cutting into patches.

    Raises:
        AssertionError: patches do not fill the image, or an image of another size.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        representation_size: int | None = None,
        norm_layer: Layer = _NORM,
        conv_stem_configs: Sequence[ConvStemConfig] | None = None,
    ) -> None:
        super().__init__()
        if image_size % patch_size != 0:
            raise AssertionError("Input shape indivisible by patch size!")
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.mlp_dim = mlp_dim
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.num_classes = num_classes
        self.representation_size = representation_size
        self.norm_layer = norm_layer
        self.conv_proj = self._projection(conv_stem_configs)
        self.class_token = nn.Parameter(zeros(1, 1, hidden_dim))
        self.seq_length = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(
            self.seq_length,
            num_layers,
            num_heads,
            hidden_dim,
            mlp_dim,
            dropout,
            attention_dropout,
            norm_layer,
        )
        heads: OrderedDict[str, nn.Module] = OrderedDict()
        if representation_size is not None:
            heads["pre_logits"] = nn.Linear(hidden_dim, representation_size)
            heads["act"] = nn.Tanh()
        heads["head"] = nn.Linear(representation_size or hidden_dim, num_classes)
        self.heads = nn.Sequential(heads)
        self._draw()

    def _projection(self, stem: Sequence[ConvStemConfig] | None) -> nn.Module:
        if stem is None:
            return nn.Conv2d(3, self.hidden_dim, self.patch_size, stride=self.patch_size)
        layers, channels = nn.Sequential(), 3
        for i, row in enumerate(stem):
            layers.add_module(
                f"conv_bn_relu_{i}",
                Conv2dNormActivation(
                    channels,
                    row.out_channels,
                    kernel_size=row.kernel_size,
                    stride=row.stride,
                    norm_layer=row.norm_layer,
                    activation_layer=row.activation_layer,
                ),
            )
            channels = row.out_channels
        layers.add_module("conv_last", nn.Conv2d(channels, self.hidden_dim, kernel_size=1))
        return layers

    def _draw(self) -> None:
        projection = self.conv_proj
        if isinstance(projection, nn.Conv2d):
            inputs = projection.in_channels * projection.kernel_size[0] * projection.kernel_size[1]
            nn.init.trunc_normal_(projection.weight, std=math.sqrt(1 / inputs))
        else:
            projection = projection.conv_last
            std = math.sqrt(2.0 / projection.out_channels)
            nn.init.normal_(projection.weight, mean=0.0, std=std)
        nn.init.zeros_(projection.bias)
        if self.representation_size is not None:
            layer = self.heads.pre_logits
            nn.init.trunc_normal_(layer.weight, std=math.sqrt(1 / layer.in_features))
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.heads.head.weight)
        nn.init.zeros_(self.heads.head.bias)

    def _process_input(self, x: Tensor) -> Tensor:
        """Images as tokens, (N, L, hidden_dim)."""
        for side, size in (("height", x.shape[2]), ("width", x.shape[3])):
            what = f"Wrong image {side}! Expected {self.image_size} but got {size}!"
            _assert(size == self.image_size, what)
        return self.conv_proj(x).flatten(2).permute(0, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores, (N, num_classes)."""
        x = self._process_input(x)
        x = cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.heads(self.encoder(x)[:, 0])


def _vit(
    patch_size: int, num_layers: int, num_heads: int, hidden_dim: int, **kwargs: Any
) -> VisionTransformer:
    size = kwargs.pop("image_size", 224)
    return VisionTransformer(
        size, patch_size, num_layers, num_heads, hidden_dim, 4 * hidden_dim, **kwargs
    )


@builder
def vit_b_16(**kwargs: Any) -> VisionTransformer:
    """ViT base, patches of 16 pixels. Arguments of `VisionTransformer`; image_size is 224."""
    return _vit(16, 12, 12, 768, **kwargs)


@builder
def vit_b_32(**kwargs: Any) -> VisionTransformer:
    """ViT base, patches of 32 pixels."""
    return _vit(32, 12, 12, 768, **kwargs)


@builder
def vit_l_16(**kwargs: Any) -> VisionTransformer:
    """ViT large, patches of 16 pixels."""
    return _vit(16, 24, 16, 1024, **kwargs)


@builder
def vit_l_32(**kwargs: Any) -> VisionTransformer:
    """ViT large, patches of 32 pixels."""
    return _vit(32, 24, 16, 1024, **kwargs)


@builder
def vit_h_14(**kwargs: Any) -> VisionTransformer:
    """ViT huge, patches of 14 pixels."""
    return _vit(14, 32, 16, 1280, **kwargs)


def interpolate_embeddings(
    image_size: int,
    patch_size: int,
    model_state: OrderedDict[str, Tensor],
    interpolation_mode: str = "bicubic",
    reset_heads: bool = False,
) -> OrderedDict[str, Tensor]:
    """Returns a state dict whose positions fit images of another size; the input is changed too.

    Args:
        reset_heads: leave out the classifier, if the size changed.

    Raises:
        ValueError: the state's positions are not those of a square image.

    torchvision.models.vision_transformer.interpolate_embeddings.
    """
    key = "encoder.pos_embedding"
    positions = model_state[key]
    if positions.shape[0] != 1:
        raise ValueError(f"Unexpected position embedding shape: {positions.shape}")
    new, old = image_size // patch_size, math.isqrt(positions.shape[1] - 1)
    if new * new == positions.shape[1] - 1:
        return model_state
    if old * old != positions.shape[1] - 1:
        raise ValueError(f"{positions.shape[1] - 1} positions do not make a square image")
    grid = positions[:, 1:].permute(0, 2, 1).reshape(1, -1, old, old)
    grid = F.interpolate(grid, size=new, mode=interpolation_mode, align_corners=True)
    grid = grid.flatten(2).permute(0, 2, 1)
    model_state[key] = cat([positions[:, :1], grid], dim=1)
    if reset_heads:
        kept = ((k, v) for k, v in model_state.items() if not k.startswith("heads"))
        return OrderedDict(kept)
    return model_state
