"""RAFT (Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cupola import nn
from cupola.functional.joining import cat
from cupola.models._initial import he_normal, initialise
from cupola.models._registry import builder
from cupola.nn import functional as F
from cupola.tensor import Tensor, from_numpy
from cupola.vision.misc import Conv2dNormActivation

__all__ = ["RAFT", "raft_large", "raft_small"]
Norm = Callable[..., nn.Module] | None


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around which the input is added."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm_layer: Norm,
        stride: int = 1,
        always_project: bool = False,
    ) -> None:
        super().__init__()
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, bias=True)
        self.convnormrelu1 = conv(in_channels, out_channels, kernel_size=3, stride=stride)
        self.convnormrelu2 = conv(out_channels, out_channels, kernel_size=3)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or always_project:
            self.downsample = conv(
                in_channels, out_channels, kernel_size=1, stride=stride, activation_layer=None
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Returns relu(x + f(x)); where shapes change, x is projected first."""
        y = self.convnormrelu2(self.convnormrelu1(x))
        return self.relu(self.downsample(x) + y)


class BottleneckBlock(nn.Module):
    """1×1, 3×3 and 1×1 convolutions around which the input is added."""

    def __init__(
        self, in_channels: int, out_channels: int, *, norm_layer: Norm, stride: int = 1
    ) -> None:
        super().__init__()
        conv = partial(Conv2dNormActivation, norm_layer=norm_layer, bias=True)
        inner = out_channels // 4
        self.convnormrelu1 = conv(in_channels, inner, kernel_size=1)
        self.convnormrelu2 = conv(inner, inner, kernel_size=3, stride=stride)
        self.convnormrelu3 = conv(inner, out_channels, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = conv(
                in_channels, out_channels, kernel_size=1, stride=stride, activation_layer=None
            )

    def forward(self, x: Tensor) -> Tensor:
        """Returns relu(x + f(x)); where shapes change, x is projected first."""
        y = self.convnormrelu3(self.convnormrelu2(self.convnormrelu1(x)))
        return self.relu(self.downsample(x) + y)


class FeatureEncoder(nn.Module):
    """Features of an image at an eighth of its size.

    Raises:
        ValueError: not five numbers of channels.
    """

    def __init__(
        self,
        *,
        block: Callable[..., nn.Module] = ResidualBlock,
        layers: Sequence[int] = (64, 64, 96, 128, 256),
        strides: Sequence[int] = (2, 1, 2, 2),
        norm_layer: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if len(layers) != 5:
            raise ValueError(f"The expected number of layers is 5, instead got {len(layers)}")
        self.convnormrelu = Conv2dNormActivation(
            3, layers[0], norm_layer=norm_layer, kernel_size=7, stride=strides[0], bias=True
        )
        for i in (1, 2, 3):
            first = block(layers[i - 1], layers[i], norm_layer=norm_layer, stride=strides[i])
            second = block(layers[i], layers[i], norm_layer=norm_layer, stride=1)
            setattr(self, f"layer{i}", nn.Sequential(first, second))
        self.conv = nn.Conv2d(layers[3], layers[4], kernel_size=1)
        # Instance normalisation has no weights here.
        initialise(self, he_normal(), norms=(nn.BatchNorm2d,), biases=False)
        self.output_dim = layers[-1]
        self.downsample_factor = 2 ** sum(stride == 2 for stride in strides)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, layers[4], H/8, W/8)."""
        x = self.layer3(self.layer2(self.layer1(self.convnormrelu(x))))
        return self.conv(x)


class MotionEncoder(nn.Module):
    """Joins the flow so far and the correlations around where it points.

    Raises:
        ValueError: not two layers for the flow, or not one or two for correlations.
    """

    def __init__(
        self,
        *,
        in_channels_corr: int,
        corr_layers: Sequence[int] = (256, 192),
        flow_layers: Sequence[int] = (128, 64),
        out_channels: int = 128,
    ) -> None:
        super().__init__()
        if len(flow_layers) != 2:
            raise ValueError(
                f"The expected number of flow_layers is 2, instead got {len(flow_layers)}"
            )
        if len(corr_layers) not in (1, 2):
            raise ValueError(
                f"The number of corr_layers should be 1 or 2, instead got {len(corr_layers)}"
            )
        conv = partial(Conv2dNormActivation, norm_layer=None)
        self.convcorr1 = conv(in_channels_corr, corr_layers[0], kernel_size=1)
        self.convcorr2: nn.Module = nn.Identity()
        if len(corr_layers) == 2:
            self.convcorr2 = conv(corr_layers[0], corr_layers[1], kernel_size=3)
        self.convflow1 = conv(2, flow_layers[0], kernel_size=7)
        self.convflow2 = conv(flow_layers[0], flow_layers[1], kernel_size=3)
        # The flow itself makes up the last two channels.
        self.conv = conv(corr_layers[-1] + flow_layers[-1], out_channels - 2, kernel_size=3)
        self.out_channels = out_channels

    def forward(self, flow: Tensor, corr_features: Tensor) -> Tensor:
        """Returns (N, out_channels, H, W)."""
        near = self.convcorr2(self.convcorr1(corr_features))
        moved = self.convflow2(self.convflow1(flow))
        return cat([self.conv(cat([near, moved], 1)), flow], 1)


class ConvGRU(nn.Module):
    """A gated recurrent unit whose products are convolutions."""

    def __init__(
        self, *, input_size: int, hidden_size: int, kernel_size: Any, padding: Any
    ) -> None:
        super().__init__()
        both = hidden_size + input_size
        for gate in ("convz", "convr", "convq"):
            conv = nn.Conv2d(both, hidden_size, kernel_size=kernel_size, padding=padding)
            setattr(self, gate, conv)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """Returns the new state, (N, hidden_size, H, W)."""
        hx = cat([h, x], 1)
        z, r = self.convz(hx).sigmoid(), self.convr(hx).sigmoid()
        q = self.convq(cat([r * h, x], 1)).tanh()
        return (1 - z) * h + z * q


class RecurrentBlock(nn.Module):
    """One or two `ConvGRU` one after another.

    Raises:
        ValueError: not one or two kernels, or not as many paddings.
    """

    def __init__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        kernel_size: Sequence[Any] = ((1, 5), (5, 1)),
        padding: Sequence[Any] = ((0, 2), (2, 0)),
    ) -> None:
        super().__init__()
        if len(kernel_size) != len(padding) or len(kernel_size) not in (1, 2):
            raise ValueError(
                "kernel_size and padding should both have one or two elements, got "
                f"{len(kernel_size)} and {len(padding)}"
            )
        for number, (kernel, pad) in enumerate(zip(kernel_size, padding), 1):
            unit = ConvGRU(
                input_size=input_size, hidden_size=hidden_size, kernel_size=kernel, padding=pad
            )
            setattr(self, f"convgru{number}", unit)
        self.hidden_size = hidden_size

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        """Returns the new state, (N, hidden_size, H, W)."""
        for unit in self.children():
            h = unit(h, x)
        return h


class FlowHead(nn.Module):
    """How the flow changes, from the state."""

    def __init__(self, *, in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, hidden_size, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden_size, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 2, H, W)."""
        return self.conv2(self.relu(self.conv1(x)))


class UpdateBlock(nn.Module):
    """One step: a new state, and how the flow changes."""

    def __init__(
        self, *, motion_encoder: nn.Module, recurrent_block: nn.Module, flow_head: nn.Module
    ) -> None:
        super().__init__()
        self.motion_encoder = motion_encoder
        self.recurrent_block = recurrent_block
        self.flow_head = flow_head
        self.hidden_state_size = recurrent_block.hidden_size

    def forward(
        self, hidden_state: Tensor, context: Tensor, corr_features: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns the state and the change, (N, 2, H, W)."""
        x = cat([context, self.motion_encoder(flow, corr_features)], 1)
        hidden_state = self.recurrent_block(hidden_state, x)
        return hidden_state, self.flow_head(hidden_state)


class MaskPredictor(nn.Module):
    """Weights with which neighbours are mixed when the flow is enlarged eightfold."""

    def __init__(self, *, in_channels: int, hidden_size: int, multiplier: float = 0.25) -> None:
        super().__init__()
        self.convrelu = Conv2dNormActivation(
            in_channels, hidden_size, norm_layer=None, kernel_size=3
        )
        self.conv = nn.Conv2d(hidden_size, 8 * 8 * 9, 1, padding=0)
        self.multiplier = multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, 576, H, W)."""
        return self.multiplier * self.conv(self.convrelu(x))


class CorrBlock(nn.Module):
    """Products of every pixel's features with every other's, at several sizes."""

    def __init__(self, *, num_levels: int = 4, radius: int = 4) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.radius = radius
        self.corr_pyramid: list[Tensor] = []
        self.out_channels = num_levels * (2 * radius + 1) ** 2

    def build_pyramid(self, fmap1: Tensor, fmap2: Tensor) -> None:
        """Keeps the products of two feature maps (N, C, H, W).

        Raises:
            ValueError: maps of different shapes, or too small for the levels.
        """
        if fmap1.shape != fmap2.shape:
            raise ValueError(
                "Input feature maps should have the same shape, instead got "
                f"{fmap1.shape} (fmap1.shape) != {fmap2.shape} (fmap2.shape)"
            )
        least = 2 * 2 ** (self.num_levels - 1)
        if min(fmap1.shape[-2:]) < least:
            raise ValueError(
                "Feature maps are too small to be down-sampled by the correlation pyramid: their "
                f"height and width should be at least {least}, got {fmap1.shape[-2:]}. Images are "
                f"8 times as large: at least {8 * least}."
            )
        images, channels, height, width = fmap1.shape
        volume = fmap1.flatten(2).transpose(1, 2) @ fmap2.flatten(2) / math.sqrt(channels)
        volume = volume.reshape(images * height * width, 1, height, width)
        self.corr_pyramid = [volume]
        for _ in range(self.num_levels - 1):
            volume = F.avg_pool2d(volume, kernel_size=2, stride=2)
            self.corr_pyramid.append(volume)

    def index_pyramid(self, centroids_coords: Tensor) -> Tensor:
        """Returns the products around places (N, 2, H, W), as (N, out_channels, H, W)."""
        images, _, height, width = centroids_coords.shape
        steps = np.arange(-self.radius, self.radius + 1, dtype=np.float32)
        around = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)[None]
        delta = from_numpy(around).to(centroids_coords.device)
        places = centroids_coords.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
        found = []
        for volume in self.corr_pyramid:
            x, y = (places + delta).split([1, 1], -1)
            h, w = volume.shape[-2:]
            grid = cat([2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1 if h > 1 else y], -1)
            near = F.grid_sample(volume, grid.to(volume.dtype), align_corners=True)
            found.append(near.reshape(images, height, width, -1))
            places = places / 2
        return cat(found, -1).permute(0, 3, 1, 2).contiguous()


def _grid(images: int, height: int, width: int, device: Any) -> Tensor:
    """The place (x, y) of each pixel: (N, 2, H, W), float32."""
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    one = from_numpy(np.stack([x, y]).astype(np.float32)).to(device)
    return one[None].repeat(images, 1, 1, 1)


def enlarged(flow: Tensor, mask: Tensor | None, factor: int = 8) -> Tensor:
    """Returns a flow (N, 2, H, W) of `factor` times the size, and as many times as long.

    With a mask (N, 9 · factor², H, W), each pixel mixes its nine neighbours.
    """
    images, channels, h, w = flow.shape
    if mask is None:
        size = (h * factor, w * factor)
        return factor * F.interpolate(flow, size=size, mode="bilinear", align_corners=True)
    mask = mask.reshape(images, 1, 9, factor, factor, h, w).softmax(2)
    nine = F.unfold(factor * flow, kernel_size=3, padding=1)
    mixed = (mask * nine.reshape(images, channels, 9, 1, 1, h, w)).sum(2)
    return mixed.permute(0, 1, 4, 2, 5, 3).reshape(images, channels, h * factor, w * factor)


class RAFT(nn.Module):
    """Optical flow between two images, improved step by step.

    Raises:
        ValueError: an update block without hidden_state_size.
    """

    def __init__(
        self,
        *,
        feature_encoder: nn.Module,
        context_encoder: nn.Module,
        corr_block: nn.Module,
        update_block: nn.Module,
        mask_predictor: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.feature_encoder = feature_encoder
        self.context_encoder = context_encoder
        self.corr_block = corr_block
        self.update_block = update_block
        self.mask_predictor = mask_predictor
        if not hasattr(update_block, "hidden_state_size"):
            raise ValueError(
                "The update_block parameter should expose a 'hidden_state_size' attribute."
            )

    def forward(self, image1: Tensor, image2: Tensor, num_flow_updates: int = 12) -> list[Tensor]:
        """Returns the flow after each step, (N, 2, H, W) in pixels.

        Args:
            image1, image2: (N, 3, H, W), from -1 to 1, sides multiples of 8, at least 128.

        Raises:
            ValueError: images of other or of different sizes.
        """
        images, _, h, w = image1.shape
        if tuple(image2.shape[-2:]) != (h, w):
            raise ValueError(
                f"input images should have the same shape, instead got ({h}, {w}) != "
                f"{tuple(image2.shape[-2:])}"
            )
        if h % 8 or w % 8:
            raise ValueError(
                f"input image H and W should be divisible by 8, instead got {h} (h) and {w} (w)"
            )
        first, second = self.feature_encoder(cat([image1, image2])).chunk(2, 0)
        self.corr_block.build_pyramid(first, second)
        state, context = self._state(self.context_encoder(image1))
        start = place = _grid(images, h // 8, w // 8, first.device)
        flows = []
        for _ in range(num_flow_updates):
            place = place.detach()  # gradients stay within one step
            near = self.corr_block.index_pyramid(centroids_coords=place)
            flow = (place - start).to(near.dtype)
            state, change = self.update_block(state, context, near, flow)
            place = place + change
            mask = None if self.mask_predictor is None else self.mask_predictor(state)
            flows.append(enlarged(place - start, mask))
        return flows

    def _state(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size = self.update_block.hidden_state_size
        if x.shape[1] <= size:
            raise ValueError(
                f"The context encoder outputs {x.shape[1]} channels, but it should have at "
                f"strictly more than hidden_state={size} channels"
            )
        return x[:, :size].tanh(), F.relu(x[:, size:])


def _raft(
    *,
    features: Sequence[int],
    context: Sequence[int],
    block: Callable[..., nn.Module],
    context_norm: Norm,
    radius: int,
    correlations: Sequence[int],
    flows: Sequence[int],
    motion: int,
    hidden: int,
    kernels: Sequence[Any],
    paddings: Sequence[Any],
    head: int,
    mask: bool,
    **kwargs: Any,
) -> RAFT:
    norm = nn.InstanceNorm2d
    # Made in this order, which is the order of the random draws.
    feature_encoder = kwargs.pop("feature_encoder", None) or FeatureEncoder(
        block=block, layers=features, norm_layer=norm
    )
    context_encoder = kwargs.pop("context_encoder", None) or FeatureEncoder(
        block=block, layers=context, norm_layer=context_norm
    )
    corr_block = kwargs.pop("corr_block", None) or CorrBlock(num_levels=4, radius=radius)
    update_block = kwargs.pop("update_block", None)
    if update_block is None:
        encoder = MotionEncoder(
            in_channels_corr=corr_block.out_channels,
            corr_layers=correlations,
            flow_layers=flows,
            out_channels=motion,
        )
        recurrent = RecurrentBlock(
            input_size=encoder.out_channels + context[-1] - hidden,
            hidden_size=hidden,
            kernel_size=kernels,
            padding=paddings,
        )
        flow_head = FlowHead(in_channels=hidden, hidden_size=head)
        update_block = UpdateBlock(
            motion_encoder=encoder, recurrent_block=recurrent, flow_head=flow_head
        )
    predictor = kwargs.pop("mask_predictor", None)
    if predictor is None and mask:
        predictor = MaskPredictor(in_channels=hidden, hidden_size=256, multiplier=0.25)
    return RAFT(
        feature_encoder=feature_encoder,
        context_encoder=context_encoder,
        corr_block=corr_block,
        update_block=update_block,
        mask_predictor=predictor,
        **kwargs,
    )


@builder
def raft_large(**kwargs: Any) -> RAFT:
    """RAFT, the paper's. Arguments of `RAFT`, none of them needed."""
    return _raft(
        features=(64, 64, 96, 128, 256),
        context=(64, 64, 96, 128, 256),
        block=ResidualBlock,
        context_norm=nn.BatchNorm2d,
        radius=4,
        correlations=(256, 192),
        flows=(128, 64),
        motion=128,
        hidden=128,
        kernels=((1, 5), (5, 1)),
        paddings=((0, 2), (2, 0)),
        head=256,
        mask=True,
        **kwargs,
    )


@builder
def raft_small(**kwargs: Any) -> RAFT:
    """RAFT, small."""
    return _raft(
        features=(32, 32, 64, 96, 128),
        context=(32, 32, 64, 96, 160),
        block=BottleneckBlock,
        context_norm=None,
        radius=3,
        correlations=(96,),
        flows=(64, 32),
        motion=82,
        hidden=96,
        kernels=(3,),
        paddings=(1,),
        head=128,
        mask=False,
        **kwargs,
    )
