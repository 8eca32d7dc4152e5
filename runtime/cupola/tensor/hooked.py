"""What is called with the gradient of a tensor, and where it is kept."""

from __future__ import annotations

import weakref
from typing import Any

from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ops import elementwise, movement
from cupola.tensor.described import Described
from cupola.tensor.gradfn import RemovableHandle, hook_node


def _tensor(node: Node) -> Any:
    from cupola.tensor.core import wrap

    return wrap(node)


class Hooked(Described):
    """The part of a tensor that hooks and ``retain_grad`` need."""

    _grad: Any = None
    _retains = False
    _retaining: Any = None
    _backward_hooks: Any = None

    def register_hook(self, hook: Any) -> Any:
        """Calls ``hook(grad)`` when the gradient of this tensor has been computed; a result
        replaces it.
        """
        node = self.node
        if not node.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")

        def on_node(g: Node) -> Node | None:
            result = hook(_tensor(g))
            return None if result is None else result.node

        handle = hook_node(node, on_node)
        self._moved_on()  # what is kept is what the hooks leave
        return handle

    def register_post_accumulate_grad_hook(self, hook: Any) -> Any:
        """Calls ``hook(self)`` after a gradient was added to ``self.grad``."""
        if not (self.requires_grad and self.is_leaf):
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        hooks = self.__dict__.setdefault("_post_hooks", {})
        return RemovableHandle(hooks, hook)

    def retain_grad(self) -> None:
        """Keeps the gradient of a tensor that is not a leaf in ``grad``."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._broken and self._origin == "quiet" or self.is_leaf or self._retains:
            return
        node = self.node
        self._retains = True
        self._retaining = hook_node(node, self._keeper())

    def _keeper(self) -> Any:
        owner = weakref.ref(self)

        def keep(g: Node) -> None:
            tensor = owner()
            if tensor is not None:
                old = tensor._grad
                tensor._grad = _tensor(g if old is None else elementwise.add(old.node, g))

        return keep

    @property
    def retains_grad(self) -> bool:
        return self._retains

    def accumulate_grad(self, g: Node) -> None:
        """Adds a gradient to ``grad`` and runs the hooks that wait for it."""
        if not self._n.requires_grad:  # it was switched off after the recording
            return
        if self._grad is None:
            if g.order != self._n.order and not mode.grad:
                g = movement.copy(g)  # gradients lie in memory as their tensor does
                g.order = self._n.order
            self._grad = _tensor(g)
        elif mode.grad:
            self._grad = _tensor(elementwise.add(self._grad.node, g))
        else:
            self._grad.assign(elementwise.add(self._grad.node, g))
        for hook in tuple(self.__dict__.get("_post_hooks", {}).values()):
            hook(self)

    def _moved_on(self) -> None:
        """Lets ``retain_grad`` follow the tensor to its new value."""
        if self._retains and self._n.requires_grad and self._n.op is not source.LEAF:
            self._retaining.remove()
            self._retaining = hook_node(self._n, self._keeper())
