"""Tensor: a mutable handle on an immutable node."""

from cupola.tensor.core import Size, Tensor, apply, wrap
from cupola.tensor.create import as_tensor, from_numpy, tensor
from cupola.tensor.function import Function, once_differentiable
from cupola.tensor.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "Size",
    "Tensor",
    "apply",
    "as_tensor",
    "enable_grad",
    "from_numpy",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
    "tensor",
    "wrap",
]
