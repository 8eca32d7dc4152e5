"""Clipping of gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

from cupola.functional._register import write_into
from cupola.functional.joining import stack
from cupola.tensor import Tensor, no_grad, tensor
from cupola.tensor.composite import Composite

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def _listed(parameters: Any) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _gradients(parameters: Any) -> list[Tensor]:
    return [p.grad for p in _listed(parameters) if p.grad is not None]


def _total(*tensors: Tensor, order: float) -> tuple[Tensor]:
    norms = [t.norm(order).to(tensors[0].device) for t in tensors]
    return (norms[0] if len(norms) == 1 else stack(norms).norm(order),)


def _scaled(factor: Tensor, *grads: Tensor) -> tuple[Tensor, ...]:
    return tuple(grad.mul(factor) for grad in grads)


_TOTAL = Composite("norm", _total)
_SCALED = Composite("mul", _scaled)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all elements of several tensors together."""
    tensors = _listed(tensors)
    if not tensors:
        return tensor(0.0)
    with no_grad():
        if all(t.device == tensors[0].device for t in tensors):
            (total,) = _TOTAL(tuple(tensors), order=float(norm_type))
        else:
            (total,) = _total(*tensors, order=float(norm_type))
    if error_if_nonfinite and not math.isfinite(float(total)):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scale gradients in place so that a norm of ``total_norm`` becomes at most ``max_norm``."""
    with no_grad():
        # Always multiplied, by 1 if short enough: no value is waited for.
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        grads = _gradients(parameters)
        if any(grad.device != factor.device for grad in grads) or not grads:
            for grad in grads:
                grad.mul_(factor.to(grad.device))
            return
        for grad, scaled in zip(grads, _SCALED((factor, *grads)), strict=True):
            write_into(grad, scaled)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients in place to a common norm of at most ``max_norm``; returns the norm.

    Raises RuntimeError for an infinite or undefined norm, with ``error_if_nonfinite``.
    """
    parameters = _listed(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Deprecated name of :func:`clip_grad_norm_`."""
    warnings.warn(
        "`nn.utils.clip_grad_norm` is now deprecated in favor of `nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every gradient element to [-clip_value, clip_value], in place."""
    with no_grad():
        for grad in _gradients(parameters):
            grad.clamp_(min=-float(clip_value), max=float(clip_value))
