"""Bias, residual and activation as separate passes, where a library could not fuse them."""

from __future__ import annotations

from typing import Any

from cupola.backends.cuda.device import require


def finish(y: Any, bias: Any, residual: Any, activation: str, axis: int) -> Any:
    """activation(y + bias + residual), the bias along ``axis``."""
    if bias is not None:
        shape = [1] * y.ndim
        shape[axis] = -1
        y = y + bias.reshape(shape)
    if residual is not None:
        y = y + residual
    return _activate(y, activation) if activation else y


def _activate(y: Any, name: str) -> Any:
    xp = require()
    kept = y.dtype
    y = y.astype(xp.float32) if y.dtype.itemsize < 4 else y
    if name == "relu":
        y = xp.maximum(y, 0)
    elif name == "tanh":
        y = xp.tanh(y)
    elif name == "gelu_tanh":
        y = 0.5 * y * (1 + xp.tanh(0.7978845608028654 * (y + 0.044715 * y * y * y)))
    elif name == "gelu":
        from cupyx.scipy.special import erf

        y = 0.5 * y * (1 + erf(y * 0.7071067811865476))
    elif name in ("sigmoid", "silu"):
        gate = 1 / (1 + xp.exp(-y))
        y = gate if name == "sigmoid" else y * gate
    else:
        raise ValueError(f"unknown activation {name!r}")
    return y.astype(kept, copy=False)
