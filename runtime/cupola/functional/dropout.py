"""Dropout: random zeros in training."""

from __future__ import annotations

import math

from cupola.functional._register import operator, settled, write_into
from cupola.functional.creation import empty_like
from cupola.tensor import Tensor

_ALPHA = 1.7580993408473766  # the negative saturation value of SELU, as in torch


def _check(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _finish(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    return write_into(input, result) if inplace else result


def _noise(input: Tensor, channels: bool) -> Tensor:
    """What is filled with random numbers: like the input in memory, or one number a channel."""
    if channels:
        return input.new_empty((*input.shape[:2], *(1,) * (input.dim() - 2)))
    return empty_like(input.detach())


def _drop(input: Tensor, p: float, train: bool, inplace: bool, channels: bool = False) -> Tensor:
    _check(p)
    if p == 0 or not train or input.numel() == 0:
        return input
    if p == 1:
        return _finish(input, input * 0.0, inplace)
    noise = settled(_noise(input, channels).bernoulli_(1 - p) / (1 - p))
    return _finish(input, input * noise, inplace)


@operator(method=False, inplace=True)
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements with probability ``p`` and scale the rest by ``1 / (1 - p)``."""
    return _drop(input, p, training, inplace)


def _alpha(input: Tensor, p: float, train: bool, inplace: bool, channels: bool) -> Tensor:
    _check(p)
    if p == 0 or not train or input.numel() == 0:
        return input
    if p == 1:
        return _finish(input, input * 0.0, inplace)
    noise = _noise(input, channels).bernoulli_(1 - p)
    # Scale and shift that keep mean and variance (Klambauer et al., 2017).
    a = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    shift = settled(settled((noise - 1) * (_ALPHA * a)) + _ALPHA * a * p)
    return _finish(input, settled(input * settled(noise * a)) + shift, inplace)


@operator(method=False, inplace=True)
def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps the mean and variance of SELU activations."""
    return _alpha(input, p, training, inplace, channels=False)


@operator(method=False, inplace=True)
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """``alpha_dropout`` of whole channels of (N, C, *)."""
    return _alpha(input, p, training, inplace, channels=True)


@operator(method=False, inplace=True)
def feature_dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """``dropout`` of whole channels of (N, C, *)."""
    return _drop(input, p, training, inplace, channels=True)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, L) or (C, L)."""
    _check(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. "
            "Note that dropout1d exists to provide channel-wise dropout on inputs with 1 "
            "spatial dimension, a channel dimension, and an optional batch dimension "
            "(i.e. 2D or 3D inputs)."
        )
    return _by_channel(input, p, training, inplace, batched=input.dim() == 3)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, H, W)."""
    _check(p)
    return _drop(input, p, training, inplace, channels=True)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    _check(p)
    return _by_channel(input, p, training, inplace, batched=input.dim() != 4)


def _by_channel(input: Tensor, p: float, train: bool, inplace: bool, batched: bool) -> Tensor:
    if batched:
        return _drop(input, p, train, inplace, channels=True)
    result = _drop(input.unsqueeze(0), p, train, False, channels=True).squeeze(0)
    return _finish(input, result, inplace)
