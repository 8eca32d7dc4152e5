"""Mixed precision on the CPU under its older names (torch.cpu.amp)."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.amp import GradScaler as _Scaler
from cupola.amp import autocast as _autocast


class autocast(_autocast):
    """``amp.autocast("cpu", …)``."""

    def __init__(
        self, enabled: bool = True, dtype: Any = dtypes.bfloat16, cache_enabled: bool = True
    ) -> None:
        super().__init__("cpu", dtype, enabled, cache_enabled)


class GradScaler(_Scaler):
    """``amp.GradScaler("cpu", …)``."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


__all__ = ["GradScaler", "autocast"]
