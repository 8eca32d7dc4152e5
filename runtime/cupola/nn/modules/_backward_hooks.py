"""Backward hooks of one module call, as identity functions around its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.tensor import Function, Tensor


class _Gate(Function):
    """Identity on several tensors whose backward pass shows all their gradients to a function."""

    @staticmethod
    def forward(ctx: Any, on_backward: Callable, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.on_backward = on_backward
        ctx.set_materialize_grads(False)
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        return (None, *ctx.on_backward(grads))


def _watch(values: tuple, on_backward: Callable) -> tuple | None:
    """``values`` with its differentiable tensors behind one gate; None if there are none."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
    if not any(values[i].requires_grad for i in places):
        return None

    def spread(grads: tuple) -> tuple:
        full = [None] * len(values)
        for i, grad in zip(places, grads, strict=True):
            full[i] = grad
        full = on_backward(tuple(full))
        return tuple(full[i] for i in places)

    watched = list(values)
    for i, tensor in zip(places, _Gate.apply(spread, *(values[i] for i in places)), strict=True):
        watched[i] = tensor
    return tuple(watched)


class BackwardHooks:
    """Runs a module's backward hooks for one call of the module."""

    def __init__(self, module: Any, hooks: list[Callable], pre_hooks: list[Callable]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple | None = None
        self.input_count = 0
        self.inputs_watched = False

    def watch_inputs(self, args: tuple) -> tuple:
        """The arguments, their gradients now reported to the hooks."""
        self.input_count = len(args)
        watched = _watch(args, self._on_grad_inputs)
        self.inputs_watched = watched is not None
        return args if watched is None else watched

    def watch_outputs(self, result: Any) -> Any:
        """The result, its gradients now reported to the hooks."""
        single = not isinstance(result, tuple)
        watched = _watch((result,) if single else result, self._on_grad_outputs)
        if watched is None:
            return result
        if single:
            return watched[0]
        return type(result)(*watched) if hasattr(result, "_fields") else watched

    def _on_grad_outputs(self, grads: tuple) -> tuple:
        for hook in self.pre_hooks:
            replaced = hook(self.module, grads)
            if replaced is not None:
                grads = replaced if isinstance(replaced, tuple) else (replaced,)
        self.grad_outputs = grads
        if not self.inputs_watched:
            # No input needs a gradient, so that nothing would call the hooks later.
            for hook in self.hooks:
                if hook(self.module, (None,) * self.input_count, grads) is not None:
                    raise RuntimeError(
                        "backward hook for Modules where no input requires gradient should "
                        "always return None or None for all gradients."
                    )
        return grads

    def _on_grad_inputs(self, grads: tuple) -> tuple:
        if self.grad_outputs is None:
            return grads
        for hook in self.hooks:
            replaced = hook(self.module, grads, self.grad_outputs)
            if replaced is not None:
                grads = replaced if isinstance(replaced, tuple) else (replaced,)
        self.grad_outputs = None
        return grads
