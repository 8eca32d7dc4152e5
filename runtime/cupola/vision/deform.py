"""Deformable convolution: every kernel element reads at a place that is moved by an offset."""

from __future__ import annotations

import math

from cupola import nn
from cupola.functional.creation import arange, empty
from cupola.nn.parameter import Parameter
from cupola.tensor import Tensor
from cupola.vision.misc import tuple_of

Pair = int | tuple[int, int]


def _bilinear(rows: Tensor, base: Tensor, y: Tensor, x: Tensor, size: tuple[int, int]) -> Tensor:
    """Values at places (…), zero outside the image: (…, C).

    `rows` are pixels, (images · H · W, C); `base` the number of each place's image.
    """
    height, width = size
    low_y, low_x = y.detach().floor(), x.detach().floor()
    total = None
    for dy in (0, 1):
        for dx in (0, 1):
            at_y, at_x = low_y + dy, low_x + dx
            inside = (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
            # A place a whole pixel outside counts nothing, though a corner's weight is not zero.
            inside = inside & (y > -1) & (y < height) & (x > -1) & (x < width)
            weight = (1 - (y - at_y).abs()) * (1 - (x - at_x).abs()) * inside.to(y.dtype)
            row = at_y.clamp(0, height - 1).long()
            column = at_x.clamp(0, width - 1).long()
            value = rows[(base * height + row) * width + column] * weight.unsqueeze(-1)
            total = value if total is None else total + value
    return total


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """Returns a convolution whose kernel elements are moved, and with a mask also weighted.

    Args:
        input: (N, C, H, W).
        offset: (N, 2 · G · KH · KW, OH, OW): for each of G groups of channels and each kernel
            element the shift in y, then in x, in pixels.
        weight: (out, C / groups, KH, KW).
        bias: (out,).
        mask: (N, G · KH · KW, OH, OW); None for all ones.

    Returns:
        (N, out, OH, OW).

    Raises:
        RuntimeError: an offset or a mask whose shape does not fit.

    Dai et al., "Deformable Convolutional Networks", 2017; with a mask Zhu et al., "Deformable
    ConvNets v2", 2018. torchvision.ops.deform_conv2d.
    """
    images, channels, height, width = input.shape
    out_channels, per_group, kh, kw = weight.shape
    elements = kh * kw
    moved = offset.shape[1] // (2 * elements)
    if moved == 0 or offset.shape[1] % (2 * elements) or channels % moved:
        raise RuntimeError(
            "the shape of the offset tensor at dimension 1 is not valid. It should be a multiple "
            "of 2 * weight.size[2] * weight.size[3].\n"
            f"Got offset.shape[1]={offset.shape[1]}, while 2 * weight.size[2] * weight.size[3]="
            f"{2 * elements}"
        )
    if mask is not None and mask.shape[1] != moved * elements:
        raise RuntimeError(
            f"mask.shape[1] is {mask.shape[1]}, and {moved * elements} are needed: one for each "
            "pair of offsets"
        )
    groups = channels // per_group
    (sy, sx), (py, px), (dy, dx) = (tuple_of(v, 2) for v in (stride, padding, dilation))
    oh, ow = offset.shape[2:]
    if (oh, ow) != (
        (height + 2 * py - dy * (kh - 1) - 1) // sy + 1,
        (width + 2 * px - dx * (kw - 1) - 1) // sx + 1,
    ):
        raise RuntimeError(f"offset output dims {(oh, ow)} do not match the convolution's")

    def number(count: int, dim: int, dtype: object = input.dtype) -> Tensor:
        shape = [-1 if d == dim else 1 for d in range(6)]
        return arange(count, dtype=dtype, device=input.device).reshape(shape)

    # Places of (image, moved group, kernel row, kernel column, output row, output column).
    shift = offset.reshape(images, moved, kh, kw, 2, oh, ow)
    y = number(oh, 4) * sy - py + number(kh, 2) * dy + shift[:, :, :, :, 0]
    x = number(ow, 5) * sx - px + number(kw, 3) * dx + shift[:, :, :, :, 1]
    index = number(images, 0, None) * moved + number(moved, 1, None)
    rows = input.reshape(images, moved, channels // moved, height, width)
    rows = rows.permute(0, 1, 3, 4, 2).reshape(-1, channels // moved)
    values = _bilinear(rows, index, y, x, (height, width))
    if mask is not None:
        values = values * mask.reshape(images, moved, kh, kw, oh, ow, 1)
    # As columns: (images, groups, channels of a group · elements, pixels).
    columns = values.permute(0, 1, 6, 2, 3, 4, 5)
    columns = columns.reshape(images, groups, per_group * elements, oh * ow)
    kernels = weight.reshape(1, groups, out_channels // groups, per_group * elements)
    out = (kernels @ columns).reshape(images, out_channels, oh, ow)
    return out if bias is None else out + bias.reshape(1, -1, 1, 1)


class DeformConv2d(nn.Module):
    """`deform_conv2d` as a layer; offsets and mask come with the input.

    Raises:
        ValueError: the groups do not divide the channels.

    torchvision.ops.DeformConv2d.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value % groups:
                raise ValueError(f"{name} must be divisible by groups")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple_of(kernel_size, 2)
        self.stride = tuple_of(stride, 2)
        self.padding = tuple_of(padding, 2)
        self.dilation = tuple_of(dilation, 2)
        self.groups = groups
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size))
        if bias:
            self.bias = Parameter(empty(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias as an ordinary convolution does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_channels // self.groups * math.prod(self.kernel_size))
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns (N, out_channels, OH, OW)."""
        return deform_conv2d(
            input,
            offset,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mask=mask,
        )

    def __repr__(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        for name, usual in (("padding", (0, 0)), ("dilation", (1, 1)), ("groups", 1)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return f"{type(self).__name__}({text}{'' if self.bias is not None else ', bias=False'})"
