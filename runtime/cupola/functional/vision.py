"""Rearranging pixels, sliding patches and sampling on grids."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from cupola.functional._plane import take_from_plane
from cupola.functional._register import operator, settled
from cupola.functional._sizes import add_batch, ntuple
from cupola.functional.creation import linspace
from cupola.functional.interpolation import as_is, cubic_weights
from cupola.functional.joining import stack
from cupola.ops import movement
from cupola.tensor import Tensor, apply, wrap
from cupola.tensor.history import tied


@operator(method=False)
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels to space: (*, C * r * r, H, W) -> (*, C, H * r, W * r) (Shi et al., 2016)."""
    r = upscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
        )
    n = len(lead)
    split = input.reshape((*lead, channels // (r * r), r, r, height, width))
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return split.permute(order).reshape((*lead, channels // (r * r), height * r, width * r))


@operator(method=False)
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Space to channels: (*, C, H * r, W * r) -> (*, C * r * r, H, W)."""
    r = downscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    for name, place, size in (("height", -2, height), ("width", -1, width)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({place})={size} is not divisible by {r}"
            )
    n = len(lead)
    split = input.reshape((*lead, channels, height // r, r, width // r, r))
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return split.permute(order).reshape((*lead, channels * r * r, height // r, width // r))


@operator(method=False)
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave ``groups`` groups of channels of (N, C, *) (Zhang et al., 2018)."""
    if input.dim() <= 2:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    batch, channels, *rest = input.shape
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and "
            f"{groups} groups."
        )
    split = input.reshape((batch, groups, channels // groups, *rest))
    return split.transpose(1, 2).reshape(input.shape)


@operator(method=False)
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Same as :func:`channel_shuffle`."""
    return channel_shuffle(input, groups)


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Patches as columns: (N, C, H, W) -> (N, C * prod(kernel), L), also known as im2col."""
    kernel, dilation = ntuple(kernel_size, 2), ntuple(dilation, 2)
    padding, stride = ntuple(padding, 2), ntuple(stride, 2)
    input, batched = add_batch(input, 2, "unfold")
    places = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, d, p, s in zip(input.shape[2:], kernel, dilation, padding, stride, strict=True)
    ]
    if min(places) < 1:
        raise RuntimeError(
            f"Given input with spatial size {list(input.shape[2:])}, kernel_size={list(kernel)}, "
            f"dilation={list(dilation)}, padding={list(padding)}, stride={list(stride)}, "
            f"calculated shape of the array of sliding blocks as {places}, but its components "
            "must be at least one."
        )
    if any(padding):
        pairs = ((0, 0), (0, 0), *((p, p) for p in padding))
        input = apply(movement.pad, input, pairs=pairs, value=0)
    windows = apply(movement.window, input, size=kernel, stride=stride, dilation=dilation)
    columns = windows.permute(0, 1, 4, 5, 2, 3).reshape(
        (input.shape[0], input.shape[1] * math.prod(kernel), math.prod(places))
    )
    return columns if batched else columns.squeeze(0)


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Sum columns back into an image: (N, C * prod(kernel), L) -> (N, C, *output_size)."""
    size, kernel, dilation = ntuple(output_size, 2), ntuple(kernel_size, 2), ntuple(dilation, 2)
    padding, stride = ntuple(padding, 2), ntuple(stride, 2)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(input.shape)}"
        )
    batched = input.dim() == 3
    columns = input if batched else input.unsqueeze(0)
    count = math.prod(kernel)
    if columns.shape[1] % count:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={columns.shape[1]} and kernel_size={kernel}."
        )
    places = [
        (s + 2 * p - d * (k - 1) - 1) // st + 1
        for s, k, d, p, st in zip(size, kernel, dilation, padding, stride, strict=True)
    ]
    if columns.shape[2] != math.prod(places):
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, stride={stride}, expected size of input's dimension 2 to match "
            f"the calculated number of sliding blocks {places[0]} * {places[1]} = "
            f"{math.prod(places)}, but got input.size(2)={columns.shape[2]}."
        )
    channels = columns.shape[1] // count
    windows = columns.reshape((columns.shape[0], channels, *kernel, *places))
    padded = tuple(s + 2 * p for s, p in zip(size, padding, strict=True))
    image = apply(
        movement.fold,
        windows.permute(0, 1, 4, 5, 2, 3),
        shape=(columns.shape[0], channels, *padded),
        size=kernel,
        stride=stride,
        dilation=dilation,
    )
    for dim, (p, s) in enumerate(zip(padding, size, strict=True), start=2):
        if p:
            image = image.narrow(dim, p, s)
    return image if batched else image.squeeze(0)


# -- grids -------------------------------------------------------------------------------------


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Sampling grid of affine maps: theta (N, 2, 3) or (N, 3, 4), size (N, C, *space)."""
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False "
            "since 1.3.0. Please specify align_corners=True if the old behavior is desired.",
            stacklevel=2,
        )
        align_corners = False
    if not theta.dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    if theta.dim() != 3 or tuple(theta.shape[-2:]) != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. "
            f"Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    space = tuple(size[2:])
    axes = []
    for i in reversed(range(n)):  # x first
        steps = linspace(-1, 1, space[i], dtype=theta.dtype, device=theta.device)
        if space[i] == 1:
            steps = steps * 0
        elif not align_corners:
            steps = steps * ((space[i] - 1) / space[i])
        shape = [1] * n
        shape[i] = space[i]
        axes.append(steps.reshape(shape).expand(space))
    axes.append(theta.new_ones(space))
    base = stack(axes, -1).reshape(1, -1, n + 1).expand(theta.shape[0], math.prod(space), n + 1)
    return base.matmul(theta.transpose(1, 2)).reshape((theta.shape[0], *space, n))


@operator(method=False)
def affine_grid_generator(theta: Tensor, size: Any, align_corners: bool) -> Tensor:
    """``torch.affine_grid_generator``."""
    return affine_grid(theta, size, align_corners)


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Sample (N, C, *space) at grid (N, *out, n), whose coordinates run from -1 to 1, x first."""
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False "
            "since 1.3.0. Please specify align_corners=True if the old behavior is desired. See "
            "the documentation of grid_sample for details.",
            stacklevel=2,
        )
        align_corners = False
    n = input.dim() - 2
    if input.dim() not in (4, 5) or grid.dim() != input.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but "
            f"got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with "
            f"sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != n:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {n} in last dimension, but got grid with "
            f"sizes {list(grid.shape)}"
        )
    if mode == "bicubic" and n != 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    r = settled if input.device.type == "cpu" else as_is  # PyTorch rounds each step there
    space = input.shape[2:]
    places = []
    for i in range(n):  # along each spatial dimension, first one first
        coordinate, size = grid.select(-1, n - 1 - i), space[i]
        if align_corners:
            place = r(r(coordinate + 1) * ((size - 1) / 2))
        else:
            place = r(r(r(coordinate + 1) * size) - 1) / 2
        if mode != "bicubic":
            place = _into_range(place, size, padding_mode, align_corners, r)
        places.append(place)
    if mode == "nearest":
        found = _fetch(input, [p.detach().round() for p in places])
        return wrap(tied(found.node, grid.node))
    if mode == "bilinear":
        taps = []
        for place in places:
            low = place.detach().floor()
            fraction = r(place - low)
            taps.append([(low, r(1 - fraction)), (low + 1, fraction)])
        return _linear(input, taps, r)
    taps = []
    for place, size in zip(places, space, strict=True):
        base = place.detach().floor()
        weights = cubic_weights(r(place - base), r)
        around = [r(base + (k - 1)) for k in range(4)]
        around = [_into_range(p, size, padding_mode, align_corners, r) for p in around]
        taps.append(list(zip(around, weights, strict=True)))
    rows = [
        _total([(_fetch(input, [y, x]), weight) for x, weight in taps[1]], r) for y, _ in taps[0]
    ]
    return _total([(row, weight) for row, (_, weight) in zip(rows, taps[0], strict=True)], r)


Rounding = Callable[[Tensor], Tensor]


def _into_range(
    place: Tensor, size: int, padding_mode: str, align_corners: bool, r: Rounding
) -> Tensor:
    """Apply the padding mode to coordinates."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, span = (0.0, float(size - 1)) if align_corners else (-0.5, float(size))
        if span <= 0:
            return place * 0
        offset = r(place - low).abs()
        flips = r(offset.detach() / span).floor()
        extra = r(offset - r(flips * span))
        place = r(Tensor.where(extra, flips % 2 == 0, r(span - extra)) + low)
    inside = (place > 0) & (place < size - 1)  # no gradient passes at the borders themselves
    return Tensor.where(place, inside, place.detach().clamp(0, size - 1))


def _fetch(input: Tensor, places: list[Tensor]) -> Tensor:
    """Elements at whole coordinates, 0 outside; (N, C, *space) -> (N, C, *out)."""
    n, space = len(places), input.shape[2:]
    index: Any = None
    inside: Any = None
    for place, size in zip(places, space, strict=True):
        place = place.detach()
        within = (place >= 0) & (place <= size - 1)
        inside = within if inside is None else inside & within
        whole = place.clamp(0, size - 1).long()
        index = whole if index is None else index * size + whole
    shape = (*input.shape[:2], *index.shape[1:])
    values = take_from_plane(input, index.unsqueeze(1).expand(shape), n)
    return values.masked_fill(inside.logical_not().unsqueeze(1), 0)


def _linear(input: Tensor, taps: list[list[tuple[Tensor, Tensor]]], r: Rounding) -> Tensor:
    """Weighted sum over the corners, the product of the taps of each dimension."""
    corners: list[tuple[list[Tensor], list[Tensor]]] = [([], [])]
    for choices in taps:
        corners = [
            ([*places, place], [weight, *weights])
            for places, weights in corners
            for place, weight in choices
        ]
    terms = []
    for places, weights in corners:
        weight = weights[0]
        for w in weights[1:]:
            weight = r(weight * w)
        terms.append((_fetch(input, places), weight))
    return _total(terms, r)


def _total(terms: list[tuple[Tensor, Tensor]], r: Rounding) -> Tensor:
    """The sum of values times weights, one after the other."""
    result: Any = None
    for values, weight in terms:
        term = r(values * weight.unsqueeze(1))
        result = term if result is None else r(result + term)
    return result
