"""Graphs of Python code: modules are traced, looked at and rewritten (torch.fx)."""

from cupola.fx import immutable_collections, node, proxy
from cupola.fx._symbolic_trace import PH, ProxyableClassMeta, Tracer, symbolic_trace, wrap
from cupola.fx.graph import CodeGen, Graph
from cupola.fx.graph_module import GraphModule
from cupola.fx.interpreter import Interpreter, Transformer
from cupola.fx.node import Node, has_side_effect, map_arg
from cupola.fx.proxy import Proxy
from cupola.fx.subgraph_rewriter import replace_pattern

__all__ = [
    "PH",
    "CodeGen",
    "Graph",
    "GraphModule",
    "Interpreter",
    "Node",
    "Proxy",
    "ProxyableClassMeta",
    "Tracer",
    "Transformer",
    "has_side_effect",
    "map_arg",
    "replace_pattern",
    "symbolic_trace",
    "wrap",
]
