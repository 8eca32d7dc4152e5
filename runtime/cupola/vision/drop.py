"""Regularisation by dropping: whole residual branches, and blocks of pixels."""

from __future__ import annotations

import math

from cupola import nn
from cupola.functional.creation import empty
from cupola.functional.pooling import max_pool2d, max_pool3d
from cupola.fx import wrap
from cupola.tensor import Tensor

wrap("stochastic_depth")


def _check(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"drop probability has to be between 0 and 1, but got {p}")


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Returns the input with whole samples dropped at random, the others scaled to keep the mean.

    Args:
        input: (N, …), floating point.
        p: the probability of dropping, in [0, 1].
        mode: "row" decides for each sample, "batch" for all of them at once.
        training: False returns the input.

    Raises:
        ValueError: another probability or mode.

    Huang et al., "Deep Networks with Stochastic Depth", 2016. torchvision.ops.stochastic_depth.
    """
    _check(p)
    if mode not in ("batch", "row"):
        raise ValueError(f"mode has to be either 'batch' or 'row', but got {mode}")
    if not training or p == 0.0:
        return input
    survival = 1.0 - p
    rows = input.shape[0] if mode == "row" else 1
    noise = empty((rows, *[1] * (input.dim() - 1)), dtype=input.dtype, device=input.device)
    noise = noise.bernoulli_(survival)
    if survival > 0.0:
        noise = noise / survival
    return input * noise


class StochasticDepth(nn.Module):
    """`stochastic_depth` as a layer. torchvision.ops.StochasticDepth."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p = p
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        """Returns the input, samples dropped in training."""
        return stochastic_depth(input, self.p, self.mode, self.training)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, mode={self.mode})"


def _drop_block(
    input: Tensor, p: float, size: int, inplace: bool, eps: float, training: bool, dims: int
) -> Tensor:
    _check(p)
    if input.dim() != dims + 2:
        raise ValueError(f"input should be {dims + 2} dimensional. Got {input.dim()} dimensions.")
    if not training or p == 0.0:
        return input
    sides = input.shape[2:]
    size = min(size, *sides)
    if size % 2 == 0:
        raise ValueError(f"block size should be odd. Got {size} which is even.")
    inner = [side - size + 1 for side in sides]
    chance = p * math.prod(sides) / (size**dims * math.prod(inner))
    centres = empty((*input.shape[:2], *inner), dtype=input.dtype, device=input.device)
    centres = centres.bernoulli_(chance)
    centres = nn.functional.pad(centres, [size // 2] * (2 * dims), value=0)
    pool = max_pool2d if dims == 2 else max_pool3d
    kept = 1 - pool(centres, stride=1, kernel_size=size, padding=size // 2)
    scale = kept.numel() / (eps + kept.sum())
    return input.mul_(kept).mul_(scale) if inplace else input * kept * scale


def drop_block2d(
    input: Tensor,
    p: float,
    block_size: int,
    inplace: bool = False,
    eps: float = 1e-06,
    training: bool = True,
) -> Tensor:
    """Returns images (N, C, H, W) with squares of `block_size` pixels set to zero at random.

    Raises:
        ValueError: a probability outside [0, 1], an even size, or another number of dimensions.

    Ghiasi et al., "DropBlock", 2018. torchvision.ops.drop_block2d.
    """
    return _drop_block(input, p, block_size, inplace, eps, training, 2)


def drop_block3d(
    input: Tensor,
    p: float,
    block_size: int,
    inplace: bool = False,
    eps: float = 1e-06,
    training: bool = True,
) -> Tensor:
    """Returns videos (N, C, T, H, W) with cubes of `block_size` set to zero at random.

    Raises:
        ValueError: a probability outside [0, 1], an even size, or another number of dimensions.

    torchvision.ops.drop_block3d.
    """
    return _drop_block(input, p, block_size, inplace, eps, training, 3)


class DropBlock2d(nn.Module):
    """`drop_block2d` as a layer. torchvision.ops.DropBlock2d."""

    _drop = staticmethod(drop_block2d)

    def __init__(self, p: float, block_size: int, inplace: bool = False, eps: float = 1e-06):
        super().__init__()
        self.p = p
        self.block_size = block_size
        self.inplace = inplace
        self.eps = eps

    def forward(self, input: Tensor) -> Tensor:
        """Returns the input, blocks dropped in training."""
        return self._drop(input, self.p, self.block_size, self.inplace, self.eps, self.training)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(p={self.p}, block_size={self.block_size}, "
            f"inplace={self.inplace})"
        )


class DropBlock3d(DropBlock2d):
    """`drop_block3d` as a layer. torchvision.ops.DropBlock3d."""

    _drop = staticmethod(drop_block3d)
