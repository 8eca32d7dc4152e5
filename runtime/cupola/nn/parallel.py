"""Wrappers for several devices (``torch.nn.parallel``) as seen by one process."""

from __future__ import annotations

import importlib
from typing import Any

from cupola.nn.modules.module import Module

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]  # noqa: F822


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


def __getattr__(name: str) -> Any:
    if name == "DistributedDataParallel":  # loaded on demand: most programs have one process
        return importlib.import_module("cupola.distributed.ddp").DistributedDataParallel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
