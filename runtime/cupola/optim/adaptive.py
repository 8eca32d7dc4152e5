"""Optimizers that scale steps by the gradients' history: Adagrad, RMSprop, Adadelta, Adamax."""

from __future__ import annotations

import functools
from typing import Any

from cupola.functional._register import write_into
from cupola.functional.pointwise import maximum
from cupola.optim._formula import Update
from cupola.optim.optimizer import Optimizer, check_betas, check_range, number
from cupola.tensor import Tensor

__all__ = ["Adadelta", "Adagrad", "Adamax", "RMSprop"]


def decayed(param: Tensor, grad: Tensor, decay: float) -> Tensor:
    """The gradient with weight decay."""
    return grad + param * decay if decay != 0 else grad


class Adagrad(Optimizer):
    """Duchi et al. (2011)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_range("learning rate", lr)
        check_range("lr_decay value", lr_decay)
        check_range("weight_decay value", weight_decay)
        check_range("initial_accumulator_value value", initial_accumulator_value)
        check_range("epsilon value", eps)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        # PyTorch creates this state at once, not at the first step.
        for group in self.param_groups:
            for param in group["params"]:
                start = group["initial_accumulator_value"]
                self.state[param] = {"step": 0.0, "sum": param.new_full(param.shape, start)}

    def share_memory(self) -> None:
        """Move the sums to memory that other processes can map."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        start = group["initial_accumulator_value"]
        return {"step": 0.0, "sum": param.new_full(param.shape, start)}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        grad = decayed(param, grad, group["weight_decay"])
        rate = number(group["lr"]) / (1 + (state["step"] - 1) * group["lr_decay"])
        total = state["sum"]
        write_into(total, total + grad * grad)
        write_into(param, param - grad * rate / (total.sqrt() + group["eps"]))


class RMSprop(Optimizer):
    """Hinton's lecture (2012); ``centered`` normalises by the variance (Graves, 2013)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        check_range("alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        state: dict[str, Any] = {"step": 0.0, "square_avg": param.new_zeros(param.shape)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = param.new_zeros(param.shape)
        if group["centered"]:
            state["grad_avg"] = param.new_zeros(param.shape)
        return state

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        alpha, decay, momentum = group["alpha"], group["weight_decay"], group["momentum"]
        numbers = [number(group["lr"]), alpha, 1 - alpha, group["eps"]]
        tensors = [param, grad, state["square_avg"]]
        if group["centered"]:
            tensors.append(state["grad_avg"])
        if momentum > 0:
            tensors.append(state["momentum_buffer"])
            numbers.append(momentum)
        if decay != 0:
            numbers.append(decay)
        update = _rmsprop_update(group["centered"], momentum > 0, decay != 0)
        self._updates.add(update, (*tensors[2:], param), tuple(tensors), tuple(numbers))


def _rmsprop(
    param: Tensor,
    grad: Tensor,
    square: Tensor,
    *rest: Any,
    centered: bool,
    moving: bool,
    less: bool,
) -> tuple[Tensor, ...]:
    """The new averages, the new momentum buffer, if there is one, and the new parameter."""
    left = list(rest)
    mean = left.pop(0) if centered else None
    buffer = left.pop(0) if moving else None
    lr, alpha, new, eps = (left.pop(0) for _ in range(4))
    momentum = left.pop(0) if moving else None
    if less:
        grad = grad + param * left.pop(0)
    square = square * alpha + grad * grad * new
    results = [square]
    if mean is None:
        root = square.sqrt()
    else:
        mean = mean + (grad - mean) * new
        results.append(mean)
        root = (square - mean * mean).sqrt()
    update = grad / (root + eps)
    if buffer is not None:
        update = buffer * momentum + update
        results.append(update)
    return (*results, param - update * lr)


@functools.cache
def _rmsprop_update(centered: bool, moving: bool, less: bool) -> Update:
    function = functools.partial(_rmsprop, centered=centered, moving=moving, less=less)
    kinds = f"{'_centered' * centered}{'_moving' * moving}{'_decayed' * less}"
    return Update(function, f"rmsprop{kinds}")


class Adadelta(Optimizer):
    """Zeiler (2012)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_range("epsilon value", eps)
        check_range("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        zeros = param.new_zeros
        return {"step": 0.0, "square_avg": zeros(param.shape), "acc_delta": zeros(param.shape)}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        rho, eps = group["rho"], group["eps"]
        grad = decayed(param, grad, group["weight_decay"])
        square, deltas = state["square_avg"], state["acc_delta"]
        write_into(square, square * rho + grad * grad * (1 - rho))
        delta = (deltas + eps).sqrt() / (square + eps).sqrt() * grad
        write_into(deltas, deltas * rho + delta * delta * (1 - rho))
        write_into(param, param - delta * number(group["lr"]))


class Adamax(Optimizer):
    """Adam with the infinity norm (Kingma and Ba, 2015)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        check_betas(betas)
        check_range("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        zeros = param.new_zeros
        return {"step": 0.0, "exp_avg": zeros(param.shape), "exp_inf": zeros(param.shape)}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        beta1, beta2 = group["betas"]
        grad = decayed(param, grad, group["weight_decay"])
        average, largest = state["exp_avg"], state["exp_inf"]
        write_into(average, average + (grad - average) * (1 - beta1))
        write_into(largest, maximum(largest * beta2, grad.abs() + group["eps"]))
        rate = number(group["lr"]) / (1 - beta1 ** state["step"])
        write_into(param, param - average * rate / largest)
