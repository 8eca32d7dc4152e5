"""Automatic differentiation as users call it (torch.autograd)."""

from __future__ import annotations

from typing import Any

from cupola.autograd import forward_ad, function, graph
from cupola.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from cupola.tensor import (
    Function,
    Tensor,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    protocol,
    set_grad_enabled,
)
from cupola.tensor.backward import backward, grad
from cupola.tensor.modes import _Decorator

Variable = Tensor


class _Switch(_Decorator):
    """A mode that changes nothing here: cupola has no anomaly tracing or profiler of this kind
    yet.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


detect_anomaly = set_detect_anomaly = _Switch


def __getattr__(name: str) -> Any:
    """What needs layers above this one is loaded when it is asked for."""
    if name in ("functional", "profiler"):
        import importlib

        return importlib.import_module(f"cupola.autograd.{name}")
    raise AttributeError(f"module 'cupola.autograd' has no attribute {name!r}")


__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "function",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]

protocol.publish("autograd", {"backward": backward, "grad": grad})
