"""Moving modules between devices and dtypes, and switching modes on whole trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import cupola.dtypes as dtypes
from cupola.ir.device import device as Device
from cupola.tensor import Tensor, no_grad


def _parse_to(args: tuple, kwargs: dict) -> tuple[Any, Any, bool, Any]:
    """``(device, dtype, non_blocking, memory_format)`` from the overloads of ``to``."""
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    non_blocking = kwargs.pop("non_blocking", False)
    memory_format = kwargs.pop("memory_format", None)
    other = kwargs.pop("tensor", kwargs.pop("other", None))
    kwargs.pop("copy", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for value in args:
        if isinstance(value, bool):
            non_blocking = value
        elif isinstance(value, (dtypes.dtype, type, np.dtype)):
            dtype = value
        elif isinstance(value, Tensor):
            other = value
        elif value is not None:
            device = value
    if other is not None:
        device, dtype = other.device, other.dtype
    return device, dtypes.asked(dtype), non_blocking, memory_format


def parse_to_arguments(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """What a ``to`` is asked for: ``(device, dtype, non_blocking, memory_format)``.

    Subclasses of Module that override ``to`` ask PyTorch's core by the name of _nn._parse_to.
    """
    where, dtype, non_blocking, memory_format = _parse_to(args, dict(kwargs))
    if where is not None and not isinstance(where, Device):
        where = Device(where)
    return where, dtype, non_blocking, memory_format


class ConvertMixin:
    """The part of ``Module`` that converts parameters and buffers in place."""

    def _apply(self, fn: Callable, recurse: bool = True) -> Any:
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                applied = fn(param)
            if applied is not param:
                param.data = applied
            if param.grad is not None:
                with no_grad():
                    grad = fn(param.grad)
                if grad is not param.grad:
                    param.grad = grad.requires_grad_(param.grad.requires_grad)
        for name, buf in self._buffers.items():
            if buf is not None:
                self._buffers[name] = fn(buf)
        return self

    def apply(self, fn: Callable) -> Any:
        """Call ``fn(module)`` on every submodule, then on the module itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Convert to a device, a dtype, or both; integer tensors keep their dtype.

        Overloads: ``to(device, dtype, non_blocking)``, ``to(dtype, non_blocking)``,
        ``to(tensor, non_blocking)``, ``to(memory_format=...)``. Raises TypeError for a dtype that
        is neither floating-point nor complex.
        """
        device, dtype, non_blocking, memory_format = _parse_to(args, kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            target = dtype if tensor.is_floating_point() or tensor.is_complex() else None
            if memory_format is not None and tensor.dim() in (4, 5):
                return tensor.to(device, target, non_blocking, memory_format=memory_format)
            if device is None:
                return tensor if target is None else tensor.to(target)
            return tensor.to(device, target, non_blocking)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Any:
        """Move to ``device`` without copying values."""
        return self._apply(lambda t: t.new_empty(t.shape, device=device), recurse=recurse)

    def cpu(self) -> Any:
        """Move to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Any:
        """Move to a GPU, the current one unless ``device`` is given."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type: Any) -> Any:
        """Cast all parameters and buffers to ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def _cast(self, dtype: Any) -> Any:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self) -> Any:
        """Cast floating-point parameters and buffers to float32."""
        return self._cast(dtypes.float32)

    def double(self) -> Any:
        """Cast floating-point parameters and buffers to float64."""
        return self._cast(dtypes.float64)

    def half(self) -> Any:
        """Cast floating-point parameters and buffers to float16."""
        return self._cast(dtypes.float16)

    def bfloat16(self) -> Any:
        """Cast floating-point parameters and buffers to bfloat16."""
        return self._cast(dtypes.bfloat16)

    def share_memory(self) -> Any:
        """Move parameters and buffers to memory that other processes can map."""
        return self._apply(lambda t: t.share_memory_())

    # -- modes ---------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Any:
        """Set training (True) or evaluation (False) mode on the whole tree."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Any:
        """Set evaluation mode on the whole tree."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Switch gradients of all parameters on or off."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters: None, or zeros without ``set_to_none``."""
        for param in self.parameters():
            if param.grad is None:
                continue
            if set_to_none:
                param.grad = None
            elif param.grad.grad_fn is not None:
                param.grad.detach_().zero_()
            else:
                param.grad.requires_grad_(False)
                param.grad.zero_()
