"""What users see of the tape: ``grad_fn`` objects and hooks."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from cupola.ir.node import Node
from cupola.ir.source import ITEM
from cupola.tensor.gradnames import gradient_name
from cupola.tensor.history import past

_ids = itertools.count()


class RemovableHandle:
    """Removes a hook from the table that holds it."""

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self.id = next(_ids)
        self._hooks = hooks
        hooks[self.id] = hook

    def remove(self) -> None:
        """Takes the hook out; calling it twice is harmless."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def hook_node(node: Node, hook: Callable[[Node], Any]) -> RemovableHandle:
    """Runs ``hook`` on the gradient of a node when the backward walk reaches it."""
    node = past(node)
    if node.meta is None:
        node.meta = {}
    return RemovableHandle(node.meta.setdefault("hooks", {}), hook)


class GradFn:
    """A recorded operator as the user sees it (torch.autograd.graph.Node)."""

    _made: weakref.WeakKeyDictionary[Node, GradFn] = weakref.WeakKeyDictionary()

    def __init__(self, node: Node) -> None:
        self._node = weakref.ref(node)
        self._op = node.op.name
        self.metadata: dict[Any, Any] = {}

    @classmethod
    def of(cls, node: Node) -> GradFn:
        """The one object that stands for a node."""
        node = past(node)
        found = cls._made.get(node)
        if found is None:
            named = type(_class_name(node), (cls,), {})
            found = cls._made[node] = named(node)
        return found

    def name(self) -> str:
        """PyTorch's name of the operator's gradient, such as ``MulBackward0``."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]:
        node = self._node()
        if node is None:
            return ()
        if _of_formula(node):
            node = node.srcs[0]
        return tuple((GradFn.of(s) if s.requires_grad else None, 0) for s in node.srcs)

    @property
    def variable(self) -> Any:
        node = self._node()
        if node is None or node.meta is None or "leaf" not in node.meta:
            raise AttributeError("variable")
        return node.meta["leaf"]()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {hex(id(self))}>"


def _class_name(node: Node) -> str:
    if node.op.name == "leaf":
        return "AccumulateGrad"
    if node.meta is not None and "name" in node.meta:
        return str(node.meta["name"])
    if _of_formula(node):
        node = node.srcs[0]
    return gradient_name(node)


def _of_formula(node: Node) -> bool:
    """Whether the node is a result of operators that were recorded as one."""
    return node.op is ITEM and node.srcs != () and node.srcs[0].op.kind == "formula"
