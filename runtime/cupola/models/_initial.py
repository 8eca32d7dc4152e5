"""Initial weights, drawn in the order in which a model holds its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola import nn

Draw = Callable[[Any], Any]
NORMS = (nn.BatchNorm2d, nn.GroupNorm)


def initialise(
    model: nn.Module,
    conv: Draw | None = None,
    linear: Draw | None = None,
    *,
    convs: tuple[type, ...] = (nn.Conv2d,),
    norms: tuple[type, ...] = NORMS,
    biases: bool = True,
) -> None:
    """Draws the weights of every convolution and linear layer, in the order of `modules()`.

    The order matters: it decides which numbers of the random stream a layer gets.

    Args:
        conv: called with each convolution, writes its weight; None leaves convolutions alone.
        linear: the same for linear layers.
        convs: the classes that count as convolutions.
        norms: the classes whose weights become 1 and whose biases become 0.
        biases: set the biases of what was drawn to zero.
    """
    for module in model.modules():
        draw = None
        if isinstance(module, convs):
            draw = conv
        elif isinstance(module, nn.Linear):
            draw = linear
        elif isinstance(module, norms):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if draw is None:
            continue
        draw(module)
        if biases and module.bias is not None:
            nn.init.zeros_(module.bias)


def he_normal(mode: str = "fan_out") -> Draw:
    """Normal, for ReLU (He et al., 2015); `mode` is "fan_in" or "fan_out"."""
    return lambda layer: nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")


def normal(std: float) -> Draw:
    """Normal with mean 0."""
    return lambda layer: nn.init.normal_(layer.weight, 0.0, std)


def truncated(std: float, a: float = -2.0, b: float = 2.0) -> Draw:
    """Normal with mean 0, limited to [a, b]."""
    return lambda layer: nn.init.trunc_normal_(layer.weight, 0.0, std, a, b)


def keep(layer: nn.Module) -> None:
    """Leaves the weight as the layer drew it."""
