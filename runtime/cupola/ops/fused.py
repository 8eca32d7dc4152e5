"""Primitives that only the scheduler makes: library calls with their epilogue, channels innermost.

They appear after differentiation, so that they have no gradient rules; their references are the
compositions that they stand for. With ``last``, images are (N, *space, C) and weights
(O, *kernel, C / groups); else (N, C, *space) and (O, C / groups, *kernel).
"""

from __future__ import annotations

from typing import Any

from cupola.ir.op import Primitive
from cupola.ops import conv
from cupola.ops.matmul import matmul


def first(x: Any) -> Any:
    """A view with the channels, innermost so far, as dimension 1."""
    return x.transpose((0, x.ndim - 1, *range(1, x.ndim - 1)))


def last(x: Any) -> Any:
    """A view with the channels, dimension 1 so far, innermost."""
    return x.transpose((0, *range(2, x.ndim), 1))


def first_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of ``first`` of an array of this shape."""
    return (shape[0], shape[-1], *shape[1:-1])


def _never(*srcs: Any, **attrs: Any) -> Any:
    raise TypeError("this primitive is made by the scheduler, which knows the result's shape")


def _activated(xp: Any, y: Any, activation: str | None) -> Any:
    if activation is None:
        return y
    if activation == "relu":
        return xp.where(y <= 0, xp.zeros((), y.dtype), y)
    raise ValueError(f"unknown activation {activation!r}")


def _convolution(
    xp: Any,
    x: Any,
    w: Any,
    *extra: Any,
    bias: bool,
    residual: bool,
    activation: str | None,
    last: bool,
    **window: Any,
) -> Any:
    if last:
        x, w = first(x), first(w)
    assert conv.convolution.reference is not None
    y = conv.convolution.reference(xp, x, w, **window)
    if last:
        y = xp.moveaxis(y, 1, -1)
    if bias:
        y = y + (extra[0] if last else extra[0].reshape((-1,) + (1,) * (y.ndim - 2)))
    if residual:
        y = y + extra[-1]
    return _activated(xp, y, activation)


convolution = Primitive("convolution_fused", "library", _never, _convolution).register()
"""activation(conv(x, w) + bias + residual); the operands x, w, then bias (O,) and residual if any.

Attributes: those of ``ops.conv.convolution``, and ``bias``, ``residual``, ``activation``, ``last``.
"""


def _input_grad(xp: Any, g: Any, w: Any, x_shape: Any, **window: Any) -> Any:
    assert conv.convolution_input_grad.reference is not None
    shape = first_shape(x_shape)
    g, w = first(g), first(w)
    return last(conv.convolution_input_grad.reference(xp, g, w, x_shape=shape, **window))


input_grad = Primitive("convolution_input_grad_last", "library", _never, _input_grad).register()
"""``ops.conv.convolution_input_grad`` with channels innermost; ``x_shape`` (N, *space, C)."""


def _weight_grad(xp: Any, g: Any, x: Any, **window: Any) -> Any:
    assert conv.convolution_weight_grad.reference is not None
    return conv.convolution_weight_grad.reference(xp, first(g), first(x), **window)


weight_grad = Primitive("convolution_weight_grad_last", "library", _never, _weight_grad).register()
"""``ops.conv.convolution_weight_grad`` of channels-last operands; gives (O, C / g, *kernel)."""


def _product(
    xp: Any, a: Any, b: Any, *extra: Any, bias: bool, residual: bool, activation: str | None
) -> Any:
    assert matmul.reference is not None
    y = matmul.reference(xp, a, b)
    for x in extra:
        y = y + x
    return _activated(xp, y, activation)


product = Primitive("matmul_fused", "library", _never, _product).register()
"""activation(a (..., M, K) @ b (..., K, N) + bias + residual), equal leading dimensions.

Operands a, b, then bias (N,) and residual (..., M, N) if any; attributes: ``bias``, ``residual``,
``activation``.
"""
