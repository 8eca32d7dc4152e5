"""What nodes inside a model compute, by its graph (torchvision.models.feature_extraction)."""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections import Counter
from typing import Any

from cupola import fx, nn
from cupola_compat.torchvision import ops
from cupola_compat.torchvision._unsupported import module_getattr

__all__ = ["create_feature_extractor", "get_graph_node_names"]


class LeafModuleAwareTracer(fx.Tracer):
    """A tracer that is told which classes of modules stay one node.

    Args:
        leaf_modules: these classes, beside the library's own layers.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.leaf_modules = tuple(kwargs.pop("leaf_modules", ()))
        super().__init__(*args, **kwargs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.leaf_modules) or super().is_leaf_module(m, module_qualified_name)


class NodePathTracer(LeafModuleAwareTracer):
    """A tracer that notes where in the tree of modules each node was made.

    Attributes:
        node_to_qualname: the path of each node: the modules around it, then its own name, with
            _1, _2, ... for the second and third of one name.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.current_module_qualname = ""
        self.node_to_qualname: dict[fx.Node, str] = {}
        self._counts: Counter[str] = Counter()

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        before, self.current_module_qualname = self.current_module_qualname, self.path_of_module(m)
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self.current_module_qualname = before

    def create_proxy(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> Any:
        proxy = super().create_proxy(kind, target, *args, **kwargs)
        around = self.current_module_qualname
        if kind == "call_module":
            path = around
        else:
            name = re.sub(r"_\d+$", "", proxy.node.name)
            path = f"{around}.{name}" if around else name
        number = self._counts[path]
        self._counts[path] += 1
        self.node_to_qualname[proxy.node] = f"{path}_{number}" if number else path
        return proxy


class DualGraphModule(fx.GraphModule):
    """A graph for training and one for evaluation; ``train`` and ``eval`` choose.

    Args:
        root: the module whose attributes both graphs name.
        train_graph, eval_graph: what runs in each mode.
    """

    def __init__(
        self,
        root: nn.Module,
        train_graph: fx.Graph,
        eval_graph: fx.Graph,
        class_name: str = "GraphModule",
    ) -> None:
        both = fx.Graph()
        for graph in (train_graph, eval_graph):
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module"):
                    both.create_node(node.op, node.target)
        both.output(None)
        super().__init__(root, both, class_name)
        self.__dict__["train_graph"], self.__dict__["eval_graph"] = train_graph, eval_graph
        self.graph = train_graph if self.training else eval_graph

    def train(self, mode: bool = True) -> DualGraphModule:
        if "eval_graph" in self.__dict__ and self.training != mode:
            self.graph = self.train_graph if mode else self.eval_graph
        super().train(mode)
        return self


def _settings(given: dict[str, Any] | None) -> dict[str, Any]:
    """How models are traced: torchvision's own operators stay single nodes."""
    layers = [kind for _, kind in inspect.getmembers(ops, inspect.isclass)
              if issubclass(kind, nn.Module)]  # fmt: skip
    return {"autowrap_modules": (math, ops), "leaf_modules": layers} | (given or {})


def _traced(
    model: nn.Module, settings: dict[str, Any], concrete: Any
) -> tuple[NodePathTracer, Any]:
    tracer = NodePathTracer(**settings)
    return tracer, tracer.trace(model, concrete_args=concrete)


def _warn_of_differences(train: list[str], test: list[str]) -> None:
    if train != test:
        warnings.warn(
            "the nodes of the model differ between training and evaluation mode: choose with "
            "train_return_nodes and eval_return_nodes where that matters",
            stacklevel=3,
        )


def get_graph_node_names(
    model: nn.Module,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
) -> tuple[list[str], list[str]]:
    """The names of a model's nodes in order, in training and in evaluation mode.

    Args:
        tracer_kwargs: of the tracer: ``leaf_modules``, ``autowrap_modules``, ...
        suppress_diff_warning: say nothing where the two differ.
        concrete_args: arguments of the model that are fixed.
    """
    was_training = model.training
    found = []
    for training in (True, False):
        tracer, _ = _traced(model.train(training), _settings(tracer_kwargs), concrete_args)
        found.append([*tracer.node_to_qualname.values()])
    model.train(was_training)
    if not suppress_diff_warning:
        _warn_of_differences(*found)
    return found[0], found[1]


def _wanted(nodes: list[str] | dict[str, str]) -> dict[str, str]:
    return {str(k): str(v) for k, v in nodes.items()} if isinstance(nodes, dict) else {
        str(name): str(name) for name in nodes
    }  # fmt: skip


def _returning(tracer: NodePathTracer, graph: fx.Graph, wanted: dict[str, str]) -> fx.Graph:
    """Lets a graph return the nodes of these names; a module's name stands for its last node.

    Raises:
        ValueError: there is no node of a name.
    """
    paths = tracer.node_to_qualname
    found: dict[str, fx.Node] = {}
    for node in reversed(list(paths)):
        for name in wanted:
            inside = paths[node] == name or paths[node].startswith(name + ".")
            if name not in found and inside and node.op != "placeholder":
                found[name] = node
    for name in wanted:
        if name not in found:
            raise ValueError(
                f"node: '{name}' is not present in model. Hint: use `get_graph_node_names` to make "
                "sure the `return_nodes` you specified are present. It may even be that you need "
                "to specify `train_return_nodes` and `eval_return_nodes` separately."
            )
    graph.erase_node(graph.output_node())
    order = {node: k for k, node in enumerate(paths)}
    named = sorted(wanted, key=lambda name: order[found[name]])
    graph.output({wanted[name]: found[name] for name in named})
    return graph


def create_feature_extractor(
    model: nn.Module,
    return_nodes: list[str] | dict[str, str] | None = None,
    train_return_nodes: list[str] | dict[str, str] | None = None,
    eval_return_nodes: list[str] | dict[str, str] | None = None,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
) -> fx.GraphModule:
    """A module that returns a dictionary of what the named nodes of a model compute; what they do
    not need is left out.

    Args:
        model: stays as it is; its parameters are shared.
        return_nodes: names as ``get_graph_node_names`` gives them, or of modules; a dictionary
            gives each the key of its result.
        train_return_nodes, eval_return_nodes: the same for each mode.
        tracer_kwargs, suppress_diff_warning, concrete_args: as in ``get_graph_node_names``.

    Raises:
        ValueError: no names or too many are given, or one that no node has.
    """
    if (train_return_nodes is None) != (eval_return_nodes is None):
        raise ValueError(
            "If either of train_return_nodes and eval_return_nodes is given, so is the other"
        )
    if (return_nodes is None) == (train_return_nodes is None):
        raise ValueError("Give either return_nodes, or train_return_nodes and eval_return_nodes")
    chosen = (train_return_nodes, eval_return_nodes)
    if return_nodes is not None:
        chosen = (return_nodes, return_nodes)
    was_training = model.training
    whole, graphs, names = None, [], []
    for training, nodes in zip((True, False), chosen):
        tracer, graph = _traced(model.train(training), _settings(tracer_kwargs), concrete_args)
        names.append([*tracer.node_to_qualname.values()])
        graphs.append(_returning(tracer, graph, _wanted(nodes or [])))
        whole = tracer.root
        graph.owning_module = whole
        graph.eliminate_dead_code()
    model.train(was_training)
    if not suppress_diff_warning and return_nodes is not None:
        _warn_of_differences(*names)
    made = DualGraphModule(whole, *graphs, class_name=type(model).__name__)
    made.train(was_training)
    return made


__getattr__ = module_getattr("models.feature_extraction", "the tracer's settings are tracer_kwargs")
