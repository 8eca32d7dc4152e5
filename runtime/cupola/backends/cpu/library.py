"""Primitives that run in a library: a table by primitive name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.backends.cpu.blas import Products
from cupola.backends.cpu.heavy import HeavyOps
from cupola.backends.cpu.pool import Pool
from cupola.backends.cpu.winograd import Winograd
from cupola.ops import fused


def calls(
    heavy: HeavyOps, winograd: Winograd, products: Products, pool: Pool
) -> dict[str, Callable[..., Any]]:
    """``name -> function(*arrays, **attrs)``; results need not be contiguous."""

    def convolution(
        x: Any,
        w: Any,
        *,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        weight_key: Any = None,
    ) -> Any:
        return heavy.convolution(
            x, w, None, stride, padding, dilation, groups, weight_key=weight_key
        )

    def convolution_fused(
        x: Any,
        w: Any,
        *extra: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
        residual: bool,
        activation: str | None,
        last: bool,
        weight_key: Any = None,
    ) -> Any:
        added = extra[-1] if residual else None
        offset = extra[0] if bias else None
        if last and x.ndim == 4 and weight_key is not None and weight_key.fixed:
            window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            tile = winograd.tile(x, w, window, activation)
            if tile:
                return winograd(tile, x, w, offset, added, padding, activation, weight_key)
        if last:
            x, w = fused.first(x), fused.first(w)
        y = heavy.convolution(
            x,
            w,
            offset,
            stride,
            padding,
            dilation,
            groups,
            activation=activation,
            residual=fused.first(added) if residual and last else added,
            channels_last=last,
            weight_key=weight_key,
        )
        return fused.last(y) if last else y

    def input_grad(
        g: Any,
        w: Any,
        *,
        x_shape: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        weight_key: Any = None,
    ) -> Any:
        return heavy.convolution_input_grad(
            g, w, x_shape, stride, padding, dilation, groups, weight_key=weight_key
        )

    def input_grad_last(g: Any, w: Any, *, x_shape: Any, weight_key: Any = None, **at: Any) -> Any:
        shape = fused.first_shape(x_shape)
        y = heavy.convolution_input_grad(
            fused.first(g), fused.first(w), shape, **at, channels_last=True, weight_key=weight_key
        )
        return fused.last(y)

    def weight_grad(
        g: Any, x: Any, *, w_shape: Any, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Any:
        return heavy.convolution_weight_grad(g, x, w_shape, stride, padding, dilation, groups)

    def weight_grad_last(g: Any, x: Any, **at: Any) -> Any:
        return weight_grad(fused.first(g), fused.first(x), **at)

    def matmul(a: Any, b: Any, *, weight_key: Any = None) -> Any:
        if products.suits(a, b):
            out = pool.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
            if products.matmul(a, b, out):
                return out
        return heavy.matmul(a, b, weight_key=_fixed(weight_key))

    def matmul_fused(
        a: Any,
        b: Any,
        added: Any,
        *,
        bias: bool,
        residual: bool,
        activation: str | None,
        weight_key: Any = None,
    ) -> Any:
        assert bias and not residual  # a residual is added on GPUs only (schedule/epilogue.py)
        return heavy.matmul(a, b, added, activation=activation, weight_key=_fixed(weight_key))

    return {
        "matmul": matmul,
        "matmul_fused": matmul_fused,
        "convolution": convolution,
        "convolution_fused": convolution_fused,
        "convolution_input_grad": input_grad,
        "convolution_input_grad_last": input_grad_last,
        "convolution_weight_grad": weight_grad,
        "convolution_weight_grad_last": weight_grad_last,
    }


def _fixed(key: Any) -> Any:
    """The key of a weight that stays; a product with a packed weight rounds otherwise than without,
    and a single call has to give what it gave before.
    """
    return key if key is not None and key.fixed else None
