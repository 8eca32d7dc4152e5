"""Averages of models along training: SWA and EMA."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from cupola.nn.modules.batchnorm import _BatchNorm
from cupola.nn.modules.module import Module
from cupola.optim._cyclic import per_group
from cupola.optim._schedule import LRScheduler
from cupola.optim.optimizer import Optimizer
from cupola.tensor import Tensor, no_grad, tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """A function that moves averages towards parameters by ``1 - decay``."""
    _check_decay(decay)

    def update(averages: Any, params: Any, _: Any) -> None:
        with no_grad():
            for average, param in zip(averages, params, strict=True):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(param, 1 - decay)
                else:
                    average.copy_(average * decay + param * (1 - decay))

    return update


def get_swa_multi_avg_fn() -> Callable:
    """A function that keeps the equal average of all parameters seen."""

    def update(averages: Any, params: Any, count: Any) -> None:
        with no_grad():
            weight = 1 / (int(count) + 1)
            for average, param in zip(averages, params, strict=True):
                if average.is_floating_point() or average.is_complex():
                    average.lerp_(param, weight)
                else:
                    average.copy_(average + (param - average) * weight)

    return update


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """``get_ema_multi_avg_fn`` for one tensor at a time."""
    _check_decay(decay)

    def update(average: Tensor, param: Tensor, count: Any) -> Tensor:
        with no_grad():
            return average * decay + param * (1 - decay)

    return update


def get_swa_avg_fn() -> Callable:
    """``get_swa_multi_avg_fn`` for one tensor at a time."""

    def update(average: Tensor, param: Tensor, count: Any) -> Tensor:
        with no_grad():
            return average + (param - average) / (int(count) + 1)

    return update


def _by_type(own: list[Tensor], new: list[Tensor]) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Averages and parameters in groups of one dtype and device."""
    groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
    for o, n in zip(own, new, strict=True):
        averages, params = groups.setdefault((o.dtype, o.device), ([], []))
        averages.append(o)
        params.append(n)
    return list(groups.values())


class AveragedModel(Module):
    """A copy of a model whose parameters are averages (Izmailov et al., 2018)."""

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable | None = None,
        multi_avg_fn: Callable | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _tensors(self, module: Module) -> list[Tensor]:
        tensors = list(module.parameters())
        return tensors + list(module.buffers()) if self.use_buffers else tensors

    def update_parameters(self, model: Module) -> None:
        """Take the model's current parameters into the average."""
        own = [t.detach() for t in self._tensors(self.module)]
        new = [t.detach().to(o.device) for t, o in zip(self._tensors(model), own, strict=True)]
        if int(self.n_averaged) == 0:
            for o, n in zip(own, new, strict=True):
                o.copy_(n)
        elif self.multi_avg_fn is not None:
            for averages, params in _by_type(own, new):
                self.multi_avg_fn(averages, params, self.n_averaged)
        else:
            average = self.avg_fn or get_swa_avg_fn()
            for o, n in zip(own, new, strict=True):
                o.copy_(average(o, n, self.n_averaged))
        if not self.use_buffers:
            for o, n in zip(self.module.buffers(), model.buffers(), strict=True):
                o.detach().copy_(n.detach().to(o.device))
        self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the batch normalization statistics of ``model`` anew from a data loader."""
    momenta = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None
    with no_grad():
        for batch in loader:
            data = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(data if device is None else data.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Anneals to a constant rate in ``anneal_epochs`` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        rates = per_group(optimizer, swa_lr, "swa_lr")
        for rate, group in zip(rates, optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _weight(self, t: float) -> float:
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        """The rates of the current epoch."""
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        span = max(1, self.anneal_epochs)
        before = self._weight(max(0.0, min(1.0, (step - 1) / span)))
        now = self._weight(max(0.0, min(1.0, step / span)))
        rates = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            if before == 1:
                start = target
            else:
                start = (group["lr"] - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
