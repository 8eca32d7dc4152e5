"""Pickling of graph modules: nodes as plain values, functions by the name that the public has for
them.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from cupola.fx._names import qualified_name
from cupola.fx.graph import Graph
from cupola.fx.node import Node, map_aggregate
from cupola.nn import Module

if TYPE_CHECKING:
    from cupola.fx.graph_module import GraphModule


class _Read:
    """A node, by its place in the graph."""

    def __init__(self, place: int) -> None:
        self.place = place


class _Function:
    """A function, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def found(self) -> Any:
        parts = self.name.split(".")
        if parts[0] == "torch":
            parts[0] = "cupola"
        for k in range(len(parts) - 1, 0, -1):
            try:
                found: Any = importlib.import_module(".".join(parts[:k]))
            except ModuleNotFoundError:
                continue
            for part in parts[k:]:
                found = getattr(found, part)
            return found
        return getattr(sys.modules["builtins"], self.name)


class _Step(NamedTuple):
    op: str
    name: str
    target: Any
    args: Any
    kwargs: Any
    type: Any
    wrapped: bool


def _named(value: Any) -> Any:
    if callable(value) and hasattr(value, "__name__") and not isinstance(value, type):
        return _Function(qualified_name(value))
    return value


def reduce_module(module: GraphModule) -> Any:
    """What pickle keeps of a graph module."""
    places = {node: k for k, node in enumerate(module.graph.nodes)}

    def kept(x: Any) -> Any:
        return _Read(places[x]) if isinstance(x, Node) else _named(x)

    steps = [
        _Step(
            *(n.op, n.name, _named(n.target), map_aggregate(n.args, kept)),
            *(map_aggregate(n.kwargs, kept), n.type, n.meta.get("is_wrapped", False)),
        )
        for n in module.graph.nodes
    ]
    state = {k: v for k, v in vars(module).items() if k not in ("_graph", "_code", "_tracer_cls")}
    return restored, (type(module).__name__, state, steps)


def restored(name: str, state: dict[str, Any], steps: list[_Step]) -> GraphModule:
    """A graph module from what ``reduce_module`` kept."""
    from cupola.fx.graph_module import GraphModule

    graph = Graph()
    made: list[Node] = []

    def back(x: Any) -> Any:
        if isinstance(x, _Read):
            return made[x.place]
        return x.found() if isinstance(x, _Function) else x

    for step in steps:
        args, kwargs = map_aggregate(step.args, back), map_aggregate(step.kwargs, back)
        node = graph.create_node(step.op, back(step.target), args, kwargs, step.name, step.type)
        if step.wrapped:
            node.meta["is_wrapped"] = True
        made.append(node)
    module = GraphModule.__new__(GraphModule)
    Module.__init__(module)
    type(module).__name__ = name
    vars(module).update(state)
    vars(module)["_tracer_cls"] = None
    module.graph = graph
    return module
