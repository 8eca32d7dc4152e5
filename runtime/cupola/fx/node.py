"""Nodes of a graph (torch.fx.node)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cupola.functional import PUBLIC
from cupola.fx._names import qualified_name, snake_free
from cupola.fx.immutable_collections import immutable_dict, immutable_list

if TYPE_CHECKING:
    from cupola.fx.graph import Graph

__all__ = ["Argument", "Node", "Target", "has_side_effect", "map_aggregate", "map_arg"]

Argument = Any
Target = Any
OPERATIONS = (
    *("placeholder", "get_attr", "call_function", "call_method", "call_module", "output", "root"),
)
_side_effects: set[Any] = {PUBLIC["_assert"], setattr, operator.setitem}


def has_side_effect(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Calls of this function stay in a graph though nobody reads their results."""
    _side_effects.add(fn)
    return fn


def map_aggregate(a: Any, fn: Callable[[Any], Any]) -> Any:
    """Applies a function to everything inside tuples, lists, dicts and slices."""
    if isinstance(a, tuple):
        parts = [map_aggregate(x, fn) for x in a]
        return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
    if isinstance(a, list):
        return immutable_list(map_aggregate(x, fn) for x in a)
    if isinstance(a, dict):
        return immutable_dict((k, map_aggregate(v, fn)) for k, v in a.items())
    if isinstance(a, slice):
        return slice(*(map_aggregate(x, fn) for x in (a.start, a.stop, a.step)))
    return fn(a)


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """Applies a function to every node inside an argument."""
    return map_aggregate(a, lambda x: fn(x) if isinstance(x, Node) else x)


class Node:
    """One step of a graph.

    Attributes:
        op: "placeholder", "get_attr", "call_function", "call_method", "call_module" or "output".
        target: what is called or read: a function, else a name.
        name: of its result in the generated code; no two nodes share one.
        args, kwargs: arguments, with nodes among them; assign to them to change them.
        users: the nodes that read this one, as the keys of a dict.
        type: annotation of the result, if there is one.
        meta: what passes note; free to use.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        op: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        return_type: Any = None,
    ) -> None:
        if op not in OPERATIONS:
            raise AssertionError(f"{op!r} is no operation of a graph; there are {OPERATIONS}")
        if op == "call_function":
            if not callable(target):
                raise ValueError(f"the target of {name} has to be callable, got {target!r}")
        elif not isinstance(target, str):
            raise ValueError(f"the target of {name} has to be a str, got {target!r}")
        self.graph, self.name, self.op, self.target = graph, name, op, target
        self.type, self.meta = return_type, {}
        self.users: dict[Node, None] = {}
        self._input_nodes: dict[Node, None] = {}
        self._prev = self._next = self
        self._erased = False
        self._repr_fn: Callable[[Node], str] | None = None
        self._args: tuple[Any, ...] = ()
        self._kwargs: dict[str, Any] = {}
        self._take(args, kwargs)

    def _take(self, args: Any, kwargs: Any) -> None:
        for old in self._input_nodes:
            old.users.pop(self, None)
        self._input_nodes = {}

        def note(x: Any) -> Any:
            if isinstance(x, Node):
                self._input_nodes[x] = None
                x.users[self] = None
            return x

        self._args = map_aggregate(tuple(args), note)
        self._kwargs = map_aggregate(dict(kwargs), note)

    @property
    def args(self) -> tuple[Any, ...]:
        return self._args

    @args.setter
    def args(self, args: tuple[Any, ...]) -> None:
        self._take(args, self._kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._kwargs

    @kwargs.setter
    def kwargs(self, kwargs: dict[str, Any]) -> None:
        self._take(self._args, kwargs)

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes among the arguments, each once."""
        return list(self._input_nodes)

    @property
    def next(self) -> Node:
        return self._next

    @property
    def prev(self) -> Node:
        return self._prev

    @property
    def stack_trace(self) -> str | None:
        """Where the program recorded this node, if the tracer kept that."""
        return self.meta.get("stack_trace")

    @stack_trace.setter
    def stack_trace(self, trace: str | None) -> None:
        self.meta["stack_trace"] = trace

    def prepend(self, x: Node) -> None:
        """Moves a node of the same graph in front of this one."""
        if self.graph is not x.graph:
            raise AssertionError("a node can only be moved inside its own graph")
        if self is x:
            return
        x._unlink()
        before = self._prev
        before._next, x._prev, x._next, self._prev = x, before, self, x

    def append(self, x: Node) -> None:
        """Moves a node of the same graph behind this one."""
        if self is not x:
            self._next.prepend(x)

    def _unlink(self) -> None:
        self._prev._next, self._next._prev = self._next, self._prev

    def update_arg(self, idx: int, arg: Any) -> None:
        """Sets one positional argument."""
        self.args = (*self.args[:idx], arg, *self.args[idx + 1 :])

    def insert_arg(self, idx: int, arg: Any) -> None:
        """Puts a positional argument in front of the one at ``idx``."""
        if not 0 <= idx <= len(self.args):
            raise AssertionError(f"there is no place {idx} among {len(self.args)} arguments")
        self.args = (*self.args[:idx], arg, *self.args[idx:])

    def update_kwarg(self, key: str, arg: Any) -> None:
        """Sets one keyword argument."""
        self.kwargs = {**self.kwargs, key: arg}

    def replace_all_uses_with(
        self,
        replace_with: Node,
        delete_user_cb: Callable[[Node], bool] = lambda user: True,
        *,
        propagate_meta: bool = False,
    ) -> list[Node]:
        """Lets other nodes read ``replace_with`` instead of this one.

        Args:
            delete_user_cb: which of them do.
            propagate_meta: copy ``meta`` to a replacement that has none.

        Returns:
            The nodes that read this one before, as far as they were changed.
        """
        if propagate_meta:
            replace_with.meta.update(self.meta)
        changed = [user for user in list(self.users) if delete_user_cb(user)]
        for user in changed:
            user.replace_input_with(self, replace_with)
        return changed

    def replace_input_with(self, old_input: Node, new_input: Node) -> None:
        """Reads another node wherever this one reads ``old_input``."""
        change = lambda n: new_input if n is old_input else n
        self._take(map_arg(self._args, change), map_arg(self._kwargs, change))

    def is_impure(self, impure_random: bool = True) -> bool:
        """Whether the node does more than give its result, so that it stays though nobody reads
        it.
        """
        if self.op in ("placeholder", "output"):
            return True
        if self.op == "call_function":
            return self.target in _side_effects or snake_free(self.target).startswith("_assert")
        if self.op == "call_module":
            owner = self.graph.owning_module
            if owner is None:
                raise AssertionError("the graph belongs to no module, so its calls are unknown")
            return bool(getattr(owner.get_submodule(self.target), "is_impure", False))
        return False

    def __repr__(self) -> str:
        return self.name if self._repr_fn is None else self._repr_fn(self)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__.copy()

    def _rename(self, candidate: str) -> None:
        if candidate != self.name:
            self.name = self.graph._namespace.create_name(candidate, None)

    def _pretty_print_target(self, target: Any) -> str:
        return target if isinstance(target, str) else qualified_name(target)

    def format_node(
        self,
        placeholder_names: list[str] | None = None,
        maybe_return_typename: list[str] | None = None,
        *,
        include_tensor_metadata: bool = False,
    ) -> str | None:
        """The node as a line of ``str(graph)``."""
        annotated = f"{_type_name(self.type)} " if self.type else ""
        head = f"%{self.name} : {annotated}[num_users={len(self.users)}] = {self.op}"
        if self.op == "placeholder":
            if placeholder_names is not None:
                kind = f": {_type_name(self.type)}" if self.type else ""
                placeholder_names.append(f"{self.target}{kind}")
            default = f"(default={self.args[0]})" if self.args else ""
            return f"{head}[target={self.target}]{default}"
        if self.op == "get_attr":
            return f"{head}[target={self.target}]"
        if self.op == "output":
            if self.type and maybe_return_typename is not None:
                maybe_return_typename[0] = f" -> {_type_name(self.type)}"
            return f"return {self.args[0]}"
        args, kwargs = _marked(self.args), _marked(self.kwargs)
        target = self._pretty_print_target(self.target)
        return f"{head}[target={target}](args = {args}, kwargs = {kwargs})"


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _marked(a: Any) -> str:
    """An argument with its nodes written as %name, and other text without quotes."""
    if isinstance(a, tuple):
        inner = ", ".join(map(_marked, a))
        return f"({inner},)" if len(a) == 1 else f"({inner})"
    if isinstance(a, list):
        return f"[{', '.join(map(_marked, a))}]"
    if isinstance(a, dict):
        return "{" + ", ".join(f"{k}: {_marked(v)}" for k, v in a.items()) + "}"
    return f"%{a}" if isinstance(a, Node) else str(a)
