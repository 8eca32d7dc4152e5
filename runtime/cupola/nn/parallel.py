"""Wrappers for several devices (``torch.nn.parallel``) as seen by one process."""

from __future__ import annotations

from typing import Any

from cupola.errors import UnsupportedError
from cupola.nn.modules.module import Module

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]


class DataParallel(Module):
    """Calls the wrapped module on one device; its state dict keys start with ``module.``."""

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.dim = dim
        self.module = module
        self.device_ids = [] if device_ids is None else list(device_ids)
        self.output_device = output_device

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Any = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict | None = None,
) -> Any:
    """``module(*inputs)`` on one device."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*inputs, **(module_kwargs or {}))


class DistributedDataParallel(Module):
    """Training in several processes, which raises UnsupportedError when constructed."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise UnsupportedError(
            "nn.parallel.DistributedDataParallel",
            "gradients are not exchanged between processes yet; train the module itself",
        )
