"""Which modules a program is in, forward and backward (torch.utils.module_tracker)."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from cupola import autodiff
from cupola.autograd.graph import register_multi_grad_hook
from cupola.nn import Module
from cupola.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from cupola.tensor import Tensor
from cupola.utils._pytree import tree_leaves

__all__ = ["ModuleTracker"]


def _differentiable(values: Any) -> list[Tensor]:
    return [v for v in tree_leaves(values) if isinstance(v, Tensor) and v.requires_grad]


class ModuleTracker:
    """Context manager that knows the modules being called, or whose gradients are being computed
    (torch.utils.module_tracker.ModuleTracker).

    """

    def __init__(self) -> None:
        self._parents = {"Global"}
        self._names: weakref.WeakKeyDictionary[Module, str] = weakref.WeakKeyDictionary()
        self._backward = False
        self._handles: list[Any] = []

    @property
    def parents(self) -> set[str]:
        """Names of these modules, in the words of a state dict after the class of the outermost
        (``"Net"``, ``"Net.layer"``), and always ``"Global"``.
        """
        if self._backward and not self.is_bw:
            # Modules whose inputs ask for no gradient are never left on the way back.
            self._parents, self._backward = {"Global"}, False
        return self._parents

    @property
    def is_bw(self) -> bool:
        """Whether a backward pass is running."""
        return autodiff.running() is not None

    def __enter__(self) -> ModuleTracker:
        self._handles = [
            register_module_forward_pre_hook(self._before),
            register_module_forward_hook(self._after),
        ]
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _name(self, module: Module) -> str:
        name = self._names.setdefault(module, type(module).__name__)
        for child, inner in module.named_children():
            if inner not in self._names:
                self._names[inner] = f"{name}.{child}"
                self._name(inner)
        return name

    def _watch(self, values: Any, then: Callable[[], None]) -> None:
        tensors = _differentiable(values)
        if tensors:
            self._handles.append(register_multi_grad_hook(tensors, lambda _: then()))

    def _before(self, module: Module, args: Any) -> None:
        name = self._name(module)
        self.parents.add(name)
        self._watch(args, lambda: self.parents.discard(name))

    def _after(self, module: Module, args: Any, output: Any) -> None:
        name = self._name(module)
        self.parents.discard(name)
        self._watch(output, lambda: self._enter_backward(name))

    def _enter_backward(self, name: str) -> None:
        self._backward = True
        self.parents.add(name)
