"""The state of autocast as functions (torch.is_autocast_enabled and its neighbours)."""

from __future__ import annotations

from typing import Any

from cupola.amp.autocast_mode import get_autocast_dtype, is_autocast_enabled, set_state
from cupola.ir.mode import mode


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
    set_state(device_type, enabled, get_autocast_dtype(device_type))


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Chooses the dtype of a device type."""
    set_state(device_type, is_autocast_enabled(device_type), dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether a parameter's cast is used again inside a region."""
    return mode.cast_cached


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Chooses whether a parameter's cast is used again inside a region."""
    mode.cast_cached = enabled


def clear_autocast_cache() -> None:
    """Forgets the casts of parameters."""
    if mode.cast_cache is not None:
        mode.cast_cache.clear()


__all__ = [
    "clear_autocast_cache",
    "get_autocast_cpu_dtype",
    "get_autocast_dtype",
    "get_autocast_gpu_dtype",
    "is_autocast_cache_enabled",
    "is_autocast_cpu_enabled",
    "is_autocast_enabled",
    "set_autocast_cache_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
]
