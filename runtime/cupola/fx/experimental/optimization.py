"""Rewriting models for inference (torch.fx.experimental.optimization)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from cupola import nn
from cupola.fx._symbolic_trace import symbolic_trace
from cupola.fx.graph_module import GraphModule
from cupola.fx.node import Node
from cupola.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["fuse", "matches_module_pattern", "remove_dropout", "replace_node_module"]


def matches_module_pattern(pattern: Iterable[type], node: Node, modules: dict[str, Any]) -> bool:
    """Whether a node's first argument and the node itself call modules of these two classes."""
    if not node.args or not isinstance(node.args[0], Node):
        return False
    return all(
        n.op == "call_module" and n.target in modules and type(modules[n.target]) is kind
        for kind, n in zip(pattern, (node.args[0], node))
    )


def replace_node_module(node: Node, modules: dict[str, Any], new_module: nn.Module) -> None:
    """Puts another module under the name that a node calls."""
    parent, _, name = str(node.target).rpartition(".")
    modules[str(node.target)] = new_module
    setattr(modules[parent], name, new_module)


def fuse(model: nn.Module, inplace: bool = False, no_trace: bool = False) -> nn.Module:
    """Takes batch normalization behind convolutions into their weights.

    Args:
        model: in evaluation mode.
        inplace: change this one instead of a copy.
        no_trace: it is a graph module already.
    """
    model = model if inplace else copy.deepcopy(model)
    traced: Any = model
    if not no_trace or not isinstance(model, GraphModule):
        traced = symbolic_trace(model)
    modules = dict(traced.named_modules())
    for kinds in ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d),
                  (nn.Conv3d, nn.BatchNorm3d)):  # fmt: skip
        for node in traced.graph.nodes:
            if not matches_module_pattern(kinds, node, modules) or len(node.args[0].users) > 1:
                continue
            norm = modules[node.target]
            if not norm.track_running_stats:
                continue
            fused = fuse_conv_bn_eval(modules[node.args[0].target], norm)
            replace_node_module(node.args[0], modules, fused)
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    return GraphModule(traced, traced.graph)


def remove_dropout(model: nn.Module) -> nn.Module:
    """The model without its dropout layers."""
    traced = symbolic_trace(model)
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(traced.get_submodule(node.target), nn.Dropout):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    return GraphModule(traced, traced.graph)
