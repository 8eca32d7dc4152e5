"""Primitives that run in a library: a table by primitive name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.backends.cpu.heavy import heavy_ops


def calls() -> dict[str, Callable[..., Any]]:
    """``name -> function(*arrays, **attrs)``; results need not be contiguous."""
    heavy = heavy_ops()

    def convolution(
        x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Any:
        return heavy.convolution(x, w, None, stride, padding, dilation, groups)

    def input_grad(
        g: Any, w: Any, *, x_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Any:
        return heavy.convolution_input_grad(g, w, x_shape, stride, padding, dilation, groups)

    def weight_grad(
        g: Any, x: Any, *, w_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Any:
        return heavy.convolution_weight_grad(g, x, w_shape, stride, padding, dilation, groups)

    return {
        "matmul": heavy.matmul,
        "convolution": convolution,
        "convolution_input_grad": input_grad,
        "convolution_weight_grad": weight_grad,
    }
