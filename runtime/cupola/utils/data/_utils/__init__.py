"""What a worker knows about itself, and page-locked batches; ``collate`` makes the batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cupola.tensor import Tensor
from cupola.utils.data._utils import collate
from cupola.utils.data._utils.collate import default_collate, default_convert

__all__ = [
    "WorkerInfo",
    "collate",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "gpu_present",
    "pin",
]


@dataclass
class WorkerInfo:
    """What :func:`get_worker_info` tells a data set in a worker process."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """The worker that calls; None in the main process."""
    return _worker_info


def pin(data: Any) -> Any:
    """Tensors inside nested containers in page-locked memory."""
    if isinstance(data, Tensor):
        return data.pin_memory()
    if isinstance(data, Mapping):
        return collate.like_mapping(data, {key: pin(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(pin(value) for value in data))
    if isinstance(data, tuple):
        return [pin(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [pin(value) for value in data]
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    return data


def gpu_present() -> bool:
    """Whether page-locked memory makes sense."""
    from cupola.cuda import is_available

    return is_available()
