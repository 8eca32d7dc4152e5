"""Variants of Adam and averaged gradient descent: NAdam, RAdam, ASGD, Rprop."""

from __future__ import annotations

from typing import Any

from cupola.functional._register import write_into
from cupola.optim.adaptive import decayed
from cupola.optim.optimizer import Optimizer, check_betas, check_range, number, rounded
from cupola.tensor import Tensor

__all__ = ["ASGD", "NAdam", "RAdam", "Rprop"]


class _Moments(Optimizer):
    """First and second moments, shared by NAdam and RAdam."""

    def _decay(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Parameter and gradient after weight decay of either kind."""
        decay = group["weight_decay"]
        if decay == 0:
            return param, grad
        if group["decoupled_weight_decay"]:
            return param * (1 - number(group["lr"]) * decay), grad
        return param, grad + param * decay

    def _moments(
        self, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        beta1, beta2 = group["betas"]
        average, square = state["exp_avg"], state["exp_avg_sq"]
        write_into(average, average + (grad - average) * (1 - beta1))
        write_into(square, square * beta2 + grad * grad * (1 - beta2))
        return average, square


class NAdam(_Moments):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    _number_names = ("step", "mu_product")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        check_betas(betas)
        check_range("weight_decay value", weight_decay)
        check_range("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        zeros = param.new_zeros
        return {
            "step": 0.0,
            "mu_product": 1.0,
            "exp_avg": zeros(param.shape),
            "exp_avg_sq": zeros(param.shape),
        }

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        step, lr = state["step"], number(group["lr"])
        beta1, beta2 = group["betas"]
        value, grad = self._decay(param, grad, group)
        mu = beta1 * (1.0 - 0.5 * (0.96 ** (step * group["momentum_decay"])))
        next_mu = beta1 * (1.0 - 0.5 * (0.96 ** ((step + 1) * group["momentum_decay"])))
        product = state["mu_product"] = rounded(state["mu_product"] * mu)
        average, square = self._moments(grad, state, group)
        denominator = (square / (1 - beta2**step)).sqrt() + group["eps"]
        value = value - grad * (lr * (1.0 - mu) / (1.0 - product)) / denominator
        factor = lr * next_mu / (1.0 - product * next_mu)
        write_into(param, value - average * factor / denominator)


class RAdam(_Moments):
    """Adam with rectified variance (Liu et al., 2020)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        zeros = param.new_zeros
        return {"step": 0.0, "exp_avg": zeros(param.shape), "exp_avg_sq": zeros(param.shape)}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        step, lr = state["step"], number(group["lr"])
        beta1, beta2 = group["betas"]
        value, grad = self._decay(param, grad, group)
        average, square = self._moments(grad, state, group)
        correction = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * (beta2**step) / correction
        update = average * (lr / (1 - beta1**step))
        if length > 5.0:
            rectified = (
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            ) ** 0.5
            update = update * (correction**0.5 * rectified) / (square.sqrt() + group["eps"])
        write_into(param, value - update)


class ASGD(Optimizer):
    """Averaged gradient descent (Polyak and Juditsky, 1992)."""

    _number_names = ("step", "eta", "mu")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        eta = rounded(number(group["lr"]))
        return {"step": 0.0, "eta": eta, "mu": 1.0, "ax": param.new_zeros(param.shape)}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        step, lr = state["step"], number(group["lr"])
        lambd, eta = group["lambd"], state["eta"]
        grad = decayed(param, grad, group["weight_decay"])
        value = write_into(param, param * (1 - lambd * eta) - grad * eta)
        average = state["ax"]
        if state["mu"] != 1:
            write_into(average, average + (value - average) * state["mu"])
        else:
            write_into(average, value.detach().clone())
        state["eta"] = rounded(lr / ((1 + lambd * lr * step) ** group["alpha"]))
        state["mu"] = rounded(1 / max(1, step - group["t0"]))


class Rprop(Optimizer):
    """Resilient backpropagation (Riedmiller and Braun, 1993)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "step": 0.0,
            "prev": param.new_zeros(param.shape),
            "step_size": param.new_full(param.shape, number(group["lr"])),
        }

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1.0
        shrink, grow = group["etas"]
        low, high = group["step_sizes"]
        size, previous = state["step_size"], state["prev"]
        agreement = grad * previous
        factor = agreement.new_full(agreement.shape, 1.0)
        factor = factor.masked_fill(agreement > 0, grow).masked_fill(agreement < 0, shrink)
        write_into(size, (size * factor).clamp(low, high))
        # After a change of sign the last step was too long: this one is skipped.
        grad = grad.masked_fill(agreement < 0, 0)
        write_into(param, param - grad.sign() * size)
        write_into(previous, grad.clone())
