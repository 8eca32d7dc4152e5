"""Adam and AdamW."""

from __future__ import annotations

from functools import partial
from typing import Any

from cupola.functional.pointwise import maximum
from cupola.optim._formula import Update
from cupola.optim.optimizer import Optimizer, check_betas, check_range, number
from cupola.tensor import Tensor

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba, 2015); decoupled decay as in AdamW on demand."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        fixed = bool(foreach) and not capturable
        if isinstance(lr, Tensor) and fixed:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        check_betas(betas)
        tensors = [isinstance(b, Tensor) for b in betas]
        if any(tensors) and not all(tensors):
            raise ValueError("betas must be either both floats or both Tensors")
        if any(tensors) and fixed:
            raise ValueError(
                "betas as Tensors are not supported for capturable=False and foreach=True"
            )
        check_range("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": tuple(number(b) for b in betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {"step": 0.0}
        state["exp_avg"] = param.new_zeros(param.shape)
        state["exp_avg_sq"] = param.new_zeros(param.shape)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = param.new_zeros(param.shape)
        return state

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        step, lr, decay = state["step"], number(group["lr"]), group["weight_decay"]
        beta1, beta2 = number(group["betas"][0]), number(group["betas"][1])
        numbers = (1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**step), (1 - beta2**step) ** 0.5)
        tensors = (param, grad, state["exp_avg"], state["exp_avg_sq"])
        if group["amsgrad"]:
            tensors = (*tensors, state["max_exp_avg_sq"])
        if decay == 0:
            update, more = _UPDATES["plain"], ()
        elif group["decoupled_weight_decay"]:
            update, more = _UPDATES["decoupled"], (1 - lr * decay,)
        else:
            update, more = _UPDATES["coupled"], (decay,)
        chosen = update[len(tensors) > 4]
        numbers = (*numbers, group["eps"], *more)
        self._updates.add(chosen, (*tensors[2:], param), tensors, numbers)


def _moments(
    param: Tensor,
    grad: Tensor,
    average: Tensor,
    square: Tensor,
    *rest: Any,
    largest: bool,
    decay: str,
) -> tuple[Tensor, ...]:
    """The new averages and the new parameter."""
    if largest:
        before, *rest = rest
    new1, keep2, new2, size, scale, eps, *more = rest
    if decay == "coupled":
        grad = grad + param * more[0]
    elif decay == "decoupled":
        param = param * more[0]
    average = average + (grad - average) * new1
    square = square * keep2 + grad * grad * new2
    used = (maximum(before, square),) if largest else ()
    denominator = (*used, square)[0].sqrt() / scale + eps
    return (average, square, *used, param - average * size / denominator)


_UPDATES = {
    kind: (
        Update(partial(_moments, largest=False, decay=kind), f"adam_{kind}"),
        Update(partial(_moments, largest=True, decay=kind), f"amsgrad_{kind}"),
    )
    for kind in ("plain", "coupled", "decoupled")
}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
