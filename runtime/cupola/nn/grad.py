"""Gradients of convolutions as functions of their own (``torch.nn.grad``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.functional._sizes import ntuple
from cupola.ops import conv as ops
from cupola.tensor import Tensor, apply

__all__ = [
    "conv1d_input",
    "conv1d_weight",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_input",
    "conv3d_weight",
]


def _options(n: int, stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    return {
        "stride": ntuple(stride, n),
        "padding": tuple((p, p) for p in ntuple(padding, n)),
        "dilation": ntuple(dilation, n),
        "groups": groups,
    }


def _input_gradient(n: int) -> Callable:
    def function(
        input_size: Any,
        weight: Tensor,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        options = _options(n, stride, padding, dilation, groups)
        size = tuple(input_size)
        return apply(ops.convolution_input_grad, grad_output, weight, x_shape=size, **options)

    function.__name__ = function.__qualname__ = f"conv{n}d_input"
    function.__doc__ = f"Gradient of ``conv{n}d`` with respect to its input, of ``input_size``."
    return function


def _weight_gradient(n: int) -> Callable:
    def function(
        input: Tensor,
        weight_size: Any,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        options = _options(n, stride, padding, dilation, groups)
        size = tuple(weight_size)
        return apply(ops.convolution_weight_grad, grad_output, input, w_shape=size, **options)

    function.__name__ = function.__qualname__ = f"conv{n}d_weight"
    function.__doc__ = f"Gradient of ``conv{n}d`` with respect to its weight, of ``weight_size``."
    return function


conv1d_input, conv2d_input, conv3d_input = (_input_gradient(n) for n in (1, 2, 3))
conv1d_weight, conv2d_weight, conv3d_weight = (_weight_gradient(n) for n in (1, 2, 3))
