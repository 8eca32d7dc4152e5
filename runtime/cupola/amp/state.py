"""The state of autocast as functions (torch.is_autocast_enabled and its neighbours)."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.amp.autocast_mode import _state, is_autocast_enabled

_DEFAULT = {"cuda": dtypes.float16, "cpu": dtypes.bfloat16}


def get_autocast_dtype(device_type: str) -> Any:
    """The dtype that the innermost region of a device type asks for."""
    for kind, _, dtype in reversed(_state.regions):
        if kind == device_type:
            return dtype
    return _DEFAULT[device_type]


def get_autocast_gpu_dtype() -> Any:
    """``get_autocast_dtype("cuda")``."""
    return get_autocast_dtype("cuda")


def get_autocast_cpu_dtype() -> Any:
    """``get_autocast_dtype("cpu")``."""
    return get_autocast_dtype("cpu")


def is_autocast_cpu_enabled() -> bool:
    """``is_autocast_enabled("cpu")``."""
    return is_autocast_enabled("cpu")


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switches autocast for a device type, or for the GPU if only a bool is given."""
    if enabled is None:
        device_type, enabled = "cuda", bool(device_type)
    _state.regions.append((device_type, enabled, get_autocast_dtype(device_type)))
    _state.tell()


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Chooses the dtype of a device type."""
    _state.regions.append((device_type, is_autocast_enabled(device_type), dtype))
    _state.tell()


def is_autocast_cache_enabled() -> bool:
    """Whether cast weights are kept: casts are recorded once a graph anyway."""
    return True


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Nothing is kept between graphs."""


def clear_autocast_cache() -> None:
    """Nothing is kept between graphs."""
