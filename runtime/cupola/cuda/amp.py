"""Mixed precision under its older names (torch.cuda.amp)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola import dtypes
from cupola.amp import GradScaler as _Scaler
from cupola.amp import autocast as _autocast
from cupola.amp import custom_bwd as _custom_bwd
from cupola.amp import custom_fwd as _custom_fwd


class autocast(_autocast):
    """``amp.autocast("cuda", …)``."""

    def __init__(
        self, enabled: bool = True, dtype: Any = dtypes.float16, cache_enabled: bool = True
    ) -> None:
        super().__init__("cuda", dtype, enabled, cache_enabled)


class GradScaler(_Scaler):
    """``amp.GradScaler("cuda", …)``."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


def custom_fwd(fwd: Callable | None = None, *, cast_inputs: Any = None) -> Callable:
    """``amp.custom_fwd(…, device_type="cuda")``."""
    return _custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable) -> Callable:
    """``amp.custom_bwd(…, device_type="cuda")``."""
    return _custom_bwd(bwd, device_type="cuda")


__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
