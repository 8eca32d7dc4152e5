"""Building modules without drawing their parameters."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = [
    "convert_conv2d_weight_memory_format",
    "convert_conv3d_weight_memory_format",
    "skip_init",
]


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """``module_cls(*args, **kwargs)`` whose parameters are left uninitialised."""
    from cupola.nn.modules.module import Module

    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=device)


def _convert_weights(module: Any, memory_format: Any, dims: int) -> Any:
    for layer in module.modules():
        weight = getattr(layer, "weight", None)
        if hasattr(layer, "kernel_size") and weight is not None and weight.dim() == dims:
            weight.data = weight.detach().contiguous(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """Lay out the weights of two-dimensional convolutions in ``memory_format``."""
    return _convert_weights(module, memory_format, 4)


def convert_conv3d_weight_memory_format(module: Any, memory_format: Any) -> Any:
    """Lay out the weights of three-dimensional convolutions in ``memory_format``."""
    return _convert_weights(module, memory_format, 5)
