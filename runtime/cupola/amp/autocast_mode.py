"""``autocast``: regions of mixed precision. ``functional/autocast.py`` says what operators do."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import cupola.dtypes as dtypes
from cupola import jit
from cupola.ir.mode import mode

__all__ = [
    "autocast",
    "custom_bwd",
    "custom_fwd",
    "is_autocast_available",
    "is_autocast_enabled",
]


class _State(threading.local):
    def __init__(self) -> None:
        self.regions: list[tuple[str, bool, Any]] = []

    def tell(self) -> None:
        """Tells operators what holds now."""
        innermost = {kind: dtype if enabled else None for kind, enabled, dtype in self.regions}
        mode.casts = {k: d for k, d in innermost.items() if d is not None} or None


_state = _State()
_DEVICES = ("cpu", "cuda")


def is_autocast_available(device_type: str) -> bool:
    """Whether regions can be opened for a device type."""
    return device_type in _DEVICES


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether the innermost region for a device type is enabled."""
    for kind, enabled, _ in reversed(_state.regions):
        if kind == device_type:
            return enabled
    return False


class autocast:  # noqa: N801 - PyTorch's name
    """Context manager and decorator that marks a mixed-precision region.

    Raises RuntimeError for an unknown device type.
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        default = dtypes.float16 if device_type == "cuda" else dtypes.bfloat16
        self.device = device_type
        self.fast_dtype = default if dtype is None else dtype
        self._enabled = enabled

    def __enter__(self) -> autocast:
        _state.regions.append((self.device, self._enabled, self.fast_dtype))
        _state.tell()
        return self

    def __exit__(self, *exc_info: object) -> None:
        _state.regions.pop()
        _state.tell()

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper


def custom_fwd(
    fwd: Callable | None = None, *, device_type: str = "cuda", cast_inputs: Any = None
) -> Callable:
    """Decorates ``forward`` of an autograd function; ``cast_inputs`` casts floating tensors."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if cast_inputs is None or not is_autocast_enabled(device_type):
            return fwd(*args, **kwargs)

        def cast(value: Any) -> Any:
            floating = getattr(value, "is_floating_point", None)
            return value.to(cast_inputs) if floating is not None and floating() else value

        with autocast(device_type, enabled=False):
            return fwd(*map(cast, args), **{key: cast(v) for key, v in kwargs.items()})

    return wrapper


def custom_bwd(bwd: Callable | None = None, *, device_type: str = "cuda") -> Callable:
    """Decorates ``backward`` of an autograd function."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    return bwd


jit.switches.append(lambda: None if mode.casts is None else tuple(mode.casts.items()))
