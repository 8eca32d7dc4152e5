"""Mixed precision under its older names (torch.cuda.amp)."""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.amp import GradScaler as _Scaler
from cupola.amp import autocast as _autocast
from cupola.amp import custom_bwd, custom_fwd


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
            "cuda",
            init_scale=init_scale,
            growth_factor=growth_factor,
            backoff_factor=backoff_factor,
            growth_interval=growth_interval,
            enabled=enabled,
        )


__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]
