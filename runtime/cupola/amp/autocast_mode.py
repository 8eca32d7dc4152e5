"""``autocast``: regions of mixed precision. ``functional/autocast.py`` says what operators do."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

import cupola.dtypes as dtypes
from cupola import jit
from cupola.backends.cuda import available
from cupola.ir.mode import mode
from cupola.tensor import Tensor

__all__ = [
    "autocast",
    "custom_bwd",
    "custom_fwd",
    "is_autocast_available",
    "is_autocast_enabled",
]

_DEFAULT = {"cuda": dtypes.float16, "cpu": dtypes.bfloat16}
_FAST = (dtypes.bfloat16, dtypes.float16)


class _State(threading.local):
    """What is kept beside ``mode.casts``, which alone says where autocast is on.

    Attributes:
        dtypes: what was chosen for device types, on or off.
        depth: how many regions are open.
    """

    def __init__(self) -> None:
        self.dtypes: dict[str, Any] = {}
        self.depth = 0


_state = _State()


def is_autocast_available(device_type: str) -> bool:
    """Whether regions can be opened for a device type."""
    return device_type in _DEFAULT


def _checked(device_type: str) -> str:
    if not is_autocast_available(device_type):
        raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
    return device_type


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a device type."""
    return mode.casts is not None and _checked(device_type) in mode.casts


def get_autocast_dtype(device_type: str) -> Any:
    """The dtype that autocast casts to on a device type, on or off."""
    default = _DEFAULT[_checked(device_type)]
    return (mode.casts or {}).get(device_type) or _state.dtypes.get(device_type, default)


def set_state(device_type: str, enabled: bool, dtype: Any) -> None:
    """Switches autocast and chooses its dtype for a device type."""
    _state.dtypes[_checked(device_type)] = dtype
    casts = {kind: d for kind, d in (mode.casts or {}).items() if kind != device_type}
    if enabled:
        casts[device_type] = dtype
    mode.casts = casts or None


class autocast:  # noqa: N801 - PyTorch's name
    """Context manager and decorator that marks a mixed-precision region.

    A region for a GPU where there is none is disabled, with a warning.

    Args:
        device_type: ``"cpu"`` or ``"cuda"``: tensors on other devices are left alone.
        dtype: bfloat16 or float16; None: what holds outside, at first bfloat16 on the CPU and
            float16 on a GPU.
        enabled: False: switches autocast off inside.
        cache_enabled: whether the cast of a parameter is used again until the outermost region
            ends.

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
        self.device = _checked(device_type)
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = mode.cast_cached if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda" and not available():
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and device_type == "cpu" and self.fast_dtype not in _FAST:
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._before: list[tuple[Any, Any, bool]] = []

    def __enter__(self) -> autocast:
        self._before.append((mode.casts, _state.dtypes.get(self.device), mode.cast_cached))
        set_state(self.device, self._enabled, self.fast_dtype)
        mode.cast_cached = self._cache_enabled
        if _state.depth == 0:
            mode.cast_cache = {}
        _state.depth += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        _state.depth -= 1
        if _state.depth == 0:
            mode.cast_cache = None
        casts, dtype, mode.cast_cached = self._before.pop()
        mode.casts = casts
        if dtype is None:
            _state.dtypes.pop(self.device, None)
        else:
            _state.dtypes[self.device] = dtype

    def __call__(self, function: Callable) -> Callable:
        if not callable(function):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(function).__name__}. "
                "A region is opened by `with autocast(...):`"
            )

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper


def _cast(value: Any, device_type: str, dtype: Any) -> Any:
    """Floating tensors of a device type, but float64, in another dtype; containers rebuilt."""
    if isinstance(value, Tensor):
        fits = value.is_floating_point() and value.dtype is not dtypes.float64
        return value.to(dtype) if fits and value.device.type == device_type else value
    if isinstance(value, str | bytes | np.ndarray):
        return value
    if isinstance(value, Mapping):
        return {k: _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, Iterable):
        parts = (_cast(v, device_type, dtype) for v in value)
        return type(value)(parts) if isinstance(value, list | tuple) else parts
    return value


def _check_device(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(
    fwd: Callable | None = None, *, device_type: str, cast_inputs: Any = None
) -> Callable:
    """Decorates ``forward`` of an autograd function; ``cast_inputs`` casts floating tensors, and
    runs it with autocast off.
    """
    _check_device(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        ctx, enabled = args[0], is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if cast_inputs is None or not enabled:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            cast = [_cast(value, device_type, cast_inputs) for value in args[1:]]
            return fwd(ctx, *cast, **_cast(kwargs, device_type, cast_inputs))

    return wrapper


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorates ``backward`` of an autograd function: autocast is as it was in ``forward``."""
    _check_device(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, args[0]._dtype, args[0]._fwd_used_autocast):
            return bwd(*args, **kwargs)

    return wrapper


jit.switches.append(lambda: None if mode.casts is None else tuple(mode.casts.items()))
