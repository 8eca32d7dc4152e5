"""Stochastic gradient descent."""

from __future__ import annotations

import functools
from typing import Any

from cupola.functional._register import write_into
from cupola.optim._formula import Update
from cupola.optim.optimizer import Optimizer, check_range, number
from cupola.tensor import Tensor

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov momentum and weight decay on demand."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_range("learning rate", lr)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        decay, momentum = number(group["weight_decay"]), group["momentum"]
        buffer = state.get("momentum_buffer")
        numbers = (number(group["lr"]),)
        if decay != 0:
            numbers = (*numbers, decay)
        if momentum == 0:
            update = _update("none", decay != 0)
            self._updates.add(update, (param,), (param, grad), numbers)
        elif buffer is None:
            kind = "first nesterov" if group["nesterov"] else "first"
            update = _update(kind, decay != 0)
            buffer, moved = update.one((param, grad), (*numbers, momentum))
            state["momentum_buffer"] = buffer
            write_into(param, moved)
        else:
            kind = "nesterov" if group["nesterov"] else "momentum"
            update = _update(kind, decay != 0)
            numbers = (*numbers, momentum, 1 - group["dampening"])
            self._updates.add(update, (buffer, param), (param, grad, buffer), numbers)


def _moved(param: Tensor, grad: Tensor, *rest: Any, kind: str, decayed: bool) -> tuple[Tensor, ...]:
    """The new momentum buffer, if there is one, and the new parameter."""
    numbers = list(rest)
    buffer = numbers.pop(0) if kind in ("momentum", "nesterov") else None
    lr = numbers.pop(0)
    if decayed:
        grad = grad + param * numbers.pop(0)
    if kind == "none":
        return (param - grad * lr,)
    momentum = numbers.pop(0)
    buffer = grad.clone() if buffer is None else buffer * momentum + grad * numbers.pop(0)
    direction = grad + buffer * momentum if kind.endswith("nesterov") else buffer
    return buffer, param - direction * lr


@functools.cache
def _update(kind: str, decayed: bool) -> Update:
    name = f"sgd_{kind}_decayed" if decayed else f"sgd_{kind}"
    return Update(functools.partial(_moved, kind=kind, decayed=decayed), name)
