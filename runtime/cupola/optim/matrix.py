"""Optimizers for matrices: Adafactor and Muon; SparseAdam, for gradients with few rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import cupola.dtypes as dtypes
from cupola.functional._register import write_into
from cupola.optim.optimizer import Optimizer, check_betas, check_range, number, refuse_complex
from cupola.tensor import Tensor

__all__ = ["Adafactor", "Muon", "SparseAdam"]


class Adafactor(Optimizer):
    """Second moments factored into rows and columns (Shazeer and Stern, 2018)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not 0.0 <= eps[0]:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not 0.0 <= eps[1]:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_range("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if param.dim() > 1:
            rows = (*param.shape[:-1], 1)
            columns = (*param.shape[:-2], 1, param.shape[-1])
            return {
                "step": 0.0,
                "row_var": param.new_zeros(rows),
                "col_var": param.new_zeros(columns),
            }
        return {"step": 0.0, "variance": param.new_zeros(param.shape)}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        refuse_complex(param, "Adafactor")
        state["step"] += 1.0
        step, lr = state["step"], number(group["lr"])
        eps1, eps2 = group["eps"]
        if eps1 is None:
            eps1 = float(np.finfo(np.float64 if param.dtype.itemsize == 8 else np.float32).eps)
        weight = step ** group["beta2_decay"]
        rate = min(lr, 1 / math.sqrt(step))
        size = (param.norm(2) / math.sqrt(param.numel())).clamp(min=eps2) * rate
        value: Tensor = param
        if group["weight_decay"] != 0:
            value = value * (1 - lr * group["weight_decay"])
        square = grad * grad
        if grad.dim() > 1:
            rows, columns = state["row_var"], state["col_var"]
            write_into(rows, rows + (square.mean(-1, keepdim=True) - rows) * weight)
            write_into(columns, columns + (square.mean(-2, keepdim=True) - columns) * weight)
            estimate = rows.matmul(columns) / rows.mean(-2, keepdim=True).clamp(min=eps1)
        else:
            variance = state["variance"]
            estimate = write_into(variance, variance + (square - variance) * weight)
        update = estimate.clamp(min=eps1 * eps1).rsqrt() * grad
        scale = update.norm(2) / (math.sqrt(update.numel()) * group["d"])
        write_into(param, value - update * (size / scale.clamp(min=1.0)))


def orthogonalized(
    grad: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """The nearest (semi-)orthogonal matrix, roughly, by a Newton-Schulz iteration in bfloat16.

    Computed in float32 with a cast wherever PyTorch's operators round: a fused chain in bfloat16
    would round at its end only. Every sum of products is rounded once, as by PyTorch's addmm.
    """
    a, b, c = coefficients
    x = _rounded(grad.float())
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.t()
    x = _rounded(x / _rounded(x.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = _rounded(x.matmul(x.t()))
        update = _rounded(gram * b + gram.matmul(gram) * c)
        x = _rounded(x * a + update.matmul(x))
    return (x.t() if tall else x).to(dtypes.bfloat16)


def _rounded(x: Tensor) -> Tensor:
    """Values of bfloat16 in float32."""
    return x.to(dtypes.bfloat16).float()


class Muon(Optimizer):
    """Orthogonalised momentum for matrices (Jordan et al., 2024)."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (("learning rate", lr), ("momentum", momentum)):
            if not 0.0 <= number(value):
                raise ValueError(f"{name.capitalize()} should be >= 0 but is: {value}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.dim() != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{param.size()}"
                    )

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"momentum_buffer": param.new_zeros(param.shape)}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        refuse_complex(param, "Muon")
        lr, momentum = number(group["lr"]), group["momentum"]
        buffer = state["momentum_buffer"]
        write_into(buffer, buffer + (grad - buffer) * (1 - momentum))
        update = grad.lerp(buffer, momentum) if group["nesterov"] else buffer
        update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = param.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            adjusted = lr * 0.2 * math.sqrt(max(rows, columns))
        else:
            adjusted = lr * math.sqrt(max(1, rows / columns))
        decayed = param * (1 - lr * group["weight_decay"])
        write_into(param, decayed - update.to(param.dtype) * adjusted)


class SparseAdam(Optimizer):
    """Adam that only moves the rows for which a gradient is given.

    Sparse gradients are dense tensors here, in which the rows that are not given are zero: such
    rows keep their moments and their place.
    """

    _number_names = ()

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        for name, value in (("learning rate", lr), ("epsilon value", eps)):
            if not number(value):
                raise ValueError(f"Invalid {name}: {value}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        for index, group in enumerate(self.param_groups):
            for place, param in enumerate(group["params"]):
                if param.is_complex():
                    raise ValueError(
                        f"Complex params at indices {[[index, place]]}: SparseAdam does not "
                        "support complex parameters"
                    )

    def _init_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        zeros = [param.new_zeros(param.shape) for _ in range(2)]
        return {"step": 0, "exp_avg": zeros[0], "exp_avg_sq": zeros[1]}

    def _update(
        self, param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1
        step, (beta1, beta2) = state["step"], group["betas"]
        given = grad != 0
        if grad.dim() > 1:
            given = given.flatten(1).any(1).reshape(-1, *(1,) * (grad.dim() - 1))
        rows = given.to(param.dtype)
        average, square = state["exp_avg"], state["exp_avg_sq"]
        write_into(average, average + rows * (grad - average) * (1 - beta1))
        write_into(square, square + rows * (grad * grad - square) * (1 - beta2))
        size = number(group["lr"]) * math.sqrt(1 - beta2**step) / (1 - beta1**step)
        write_into(param, param - rows * average / (square.sqrt() + group["eps"]) * size)
