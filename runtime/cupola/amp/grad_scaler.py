"""Scaling of losses, so that small gradients survive in half precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from cupola import dtypes
from cupola.backends.cuda import available
from cupola.tensor import Tensor, no_grad

__all__ = ["GradScaler"]

_READY, _UNSCALED, _STEPPED = range(3)


def _single(value: float) -> float:
    """Rounded to float32: PyTorch keeps the scale in one."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


class GradScaler:
    """Scales losses, skips steps with infinite gradients, adapts the scale (Micikevicius, 2018)."""

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device == "cuda" and not available():
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            enabled = False
        if enabled and growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if enabled and backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._device = device
        self._enabled = enabled
        self._scale = _single(init_scale)
        self._used = False
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._stages: dict[int, int] = {}
        self._infinite: dict[int, bool] = {}

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def scale(self, outputs: Tensor | Iterable[Tensor]) -> Any:
        """Multiply a loss, or several, by the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._used = True
            return outputs * self._scale
        if isinstance(outputs, Iterable):
            scaled = [self.scale(output) for output in outputs]
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else iter(scaled)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _check_used(self, what: str) -> None:
        if not self._used:
            raise AssertionError(
                f"Attempted {what} but _scale is None.  Was scaler.scale(loss) called before?"
            )

    def unscale_(self, optimizer: Any) -> None:
        """Divide the optimizer's gradients by the scale, once a step.

        Raises:
            RuntimeError: called twice, or after ``step()``.
            ValueError: a gradient is float16.
        """
        if not self._enabled:
            return
        self._check_used("unscale_")
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if stage == _STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        params = [param for group in optimizer.param_groups for param in group["params"]]
        grads = [param.grad for param in params if param.grad is not None]
        if any(grad.dtype is dtypes.float16 for grad in grads):
            raise ValueError("Attempting to unscale FP16 gradients.")
        inverse = _single(1.0 / self._scale) if self._scale else float("inf")
        infinite: Any = None
        with no_grad():
            for grad in grads:
                bad = grad.isfinite().all().logical_not()
                grad.mul_(inverse)
                infinite = bad if infinite is None else infinite | bad
        if infinite is not None:
            self._infinite[id(optimizer)] = bool(infinite)
        self._stages[id(optimizer)] = _UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Unscale if that was not done, then step unless a gradient is infinite or undefined."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_used("step")
        if self._stages.get(id(optimizer)) == _STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if self._stages.get(id(optimizer), _READY) == _READY:
            self.unscale_(optimizer)
        if id(optimizer) not in self._infinite:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        skipped = self._infinite[id(optimizer)]
        result = None if skipped else optimizer.step(*args, **kwargs)
        self._stages[id(optimizer)] = _STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to what happened in the step."""
        if not self._enabled:
            return
        self._check_used("update")
        if new_scale is not None:
            self._scale = _single(float(new_scale))
        else:
            if not self._infinite:
                raise AssertionError("No inf checks were recorded prior to update.")
            if any(self._infinite.values()):
                self._scale = _single(self._scale * self._backoff_factor)
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    grown = _single(self._scale * self._growth_factor)
                    self._scale = grown if np.isfinite(grown) else self._scale
                    self._growth_tracker = 0
        self._stages.clear()
        self._infinite.clear()

    def get_scale(self) -> float:
        """The current scale; 1 if disabled."""
        return self._scale if self._enabled else 1.0

    def _get_growth_tracker(self) -> int:
        """Steps without an infinite gradient since the scale changed; 0 if disabled."""
        return self._growth_tracker if self._enabled else 0

    def get_growth_factor(self) -> float:
        """By how much the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by how much the scale grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By how much the scale shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set by how much the scale shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the scale grows."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """The scale and its settings; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._scale = _single(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
