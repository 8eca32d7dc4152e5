"""Blocks that vision models share: convolution with normalisation and activation, squeeze and
excitation, perceptrons (torchvision.ops.misc).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cupola import nn
from cupola.functional.creation import ones, zeros
from cupola.tensor import Tensor

Layer = Callable[..., nn.Module]
Sizes = int | tuple[int, ...]


def tuple_of(value: Any, length: int) -> tuple[Any, ...]:
    """Returns an iterable as a tuple, anything else repeated `length` times."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * length


def _same_padding(kernel_size: Any, dilation: Any, dims: int | None) -> Any:
    """The padding that keeps the size of what a stride of 1 and an odd kernel see."""
    if isinstance(kernel_size, int) and isinstance(dilation, int):
        return (kernel_size - 1) // 2 * dilation
    dims = len(kernel_size if isinstance(kernel_size, Sequence) else dilation)
    pairs = zip(tuple_of(kernel_size, dims), tuple_of(dilation, dims))
    return tuple((k - 1) // 2 * d for k, d in pairs)


class ConvNormActivation(nn.Sequential):
    """A convolution, then a normalisation, then an activation; the last two may be left out.

    Args:
        padding: None keeps the size at stride 1.
        norm_layer: called with the number of channels; None for no normalisation.
        activation_layer: called with `inplace`, or without where that is None.
        bias: None adds a bias where there is no normalisation.
        conv_layer: nn.Conv2d or another convolution.

    torchvision.ops.misc.ConvNormActivation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes = 3,
        stride: Sizes = 1,
        padding: Sizes | str | None = None,
        groups: int = 1,
        norm_layer: Layer | None = nn.BatchNorm2d,
        activation_layer: Layer | None = nn.ReLU,
        dilation: Sizes = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
        conv_layer: Layer = nn.Conv2d,
    ) -> None:
        if padding is None:
            padding = _same_padding(kernel_size, dilation, None)
        layers = [
            conv_layer(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding,
                dilation=dilation,
                groups=groups,
                bias=norm_layer is None if bias is None else bias,
            )
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**({} if inplace is None else {"inplace": inplace})))
        super().__init__(*layers)
        self.out_channels = out_channels


class Conv2dNormActivation(ConvNormActivation):
    """`ConvNormActivation` of images, (N, C, H, W). torchvision.ops.Conv2dNormActivation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes = 3,
        stride: Sizes = 1,
        padding: Sizes | str | None = None,
        groups: int = 1,
        norm_layer: Layer | None = nn.BatchNorm2d,
        activation_layer: Layer | None = nn.ReLU,
        dilation: Sizes = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            groups,
            norm_layer,
            activation_layer,
            dilation,
            inplace,
            bias,
            nn.Conv2d,
        )


class Conv3dNormActivation(ConvNormActivation):
    """`ConvNormActivation` of videos, (N, C, T, H, W). torchvision.ops.Conv3dNormActivation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes = 3,
        stride: Sizes = 1,
        padding: Sizes | str | None = None,
        groups: int = 1,
        norm_layer: Layer | None = nn.BatchNorm3d,
        activation_layer: Layer | None = nn.ReLU,
        dilation: Sizes = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            groups,
            norm_layer,
            activation_layer,
            dilation,
            inplace,
            bias,
            nn.Conv3d,
        )


class SqueezeExcitation(nn.Module):
    """Scales each channel by a number in [0, 1] that is computed from all channels' means.

    Hu et al., "Squeeze-and-Excitation Networks", 2018. torchvision.ops.SqueezeExcitation.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Layer = nn.ReLU,
        scale_activation: Layer = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input: Tensor) -> Tensor:
        """Returns the scaled input, (N, C, H, W)."""
        squeezed = self.activation(self.fc1(self.avgpool(input)))
        return self.scale_activation(self.fc2(squeezed)) * input


class MLP(nn.Sequential):
    """Linear layers with normalisation, activation and dropout between them.

    `hidden_channels` are the sizes after each linear layer; the last one is followed by dropout
    alone. torchvision.ops.MLP.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int],
        norm_layer: Layer | None = None,
        activation_layer: Layer | None = nn.ReLU,
        inplace: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        options = {} if inplace is None else {"inplace": inplace}
        layers: list[nn.Module] = []
        for number, size in enumerate(hidden_channels, 1):
            layers.append(nn.Linear(in_channels, size, bias=bias))
            if number < len(hidden_channels):
                if norm_layer is not None:
                    layers.append(norm_layer(size))
                layers.append(activation_layer(**options))
            layers.append(nn.Dropout(dropout, **options))
            in_channels = size
        super().__init__(*layers)


class Permute(nn.Module):
    """Reorders dimensions as a layer. torchvision.ops.Permute."""

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """Returns `x` with its dimensions in the order `dims`."""
        return x.permute(*self.dims)


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and weights are constants, all of them buffers.

    torchvision.ops.FrozenBatchNorm2d.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", ones(num_features))
        self.register_buffer("bias", zeros(num_features))
        self.register_buffer("running_mean", zeros(num_features))
        self.register_buffer("running_var", ones(num_features))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # Files saved from BatchNorm2d count their batches.
        state_dict.pop(prefix + "num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised input, (N, C, H, W)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight.shape[0]}, eps={self.eps})"
