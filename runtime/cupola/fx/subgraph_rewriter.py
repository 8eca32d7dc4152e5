"""Replacing parts of a graph by others (torch.fx.subgraph_rewriter)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from cupola.fx._symbolic_trace import symbolic_trace
from cupola.fx.graph import Graph
from cupola.fx.graph_module import GraphModule
from cupola.fx.node import Node

__all__ = ["Match", "replace_pattern"]


class Match(NamedTuple):
    """A place where a pattern was found.

    Attributes:
        anchor: the last of the nodes.
        nodes_map: the nodes there, by those of the pattern.
    """

    anchor: Node
    nodes_map: dict[Node, Node]


def _graph_of(part: Any) -> Graph:
    return part.graph if isinstance(part, GraphModule) else symbolic_trace(part).graph


def replace_pattern(
    gm: GraphModule,
    pattern: Callable[..., Any] | GraphModule,
    replacement: Callable[..., Any] | GraphModule,
) -> list[Match]:
    """Replaces every part of a module's graph that does what a pattern does.

    Args:
        gm: changed, and compiled anew.
        pattern, replacement: functions (or modules) of the same arguments.

    Returns:
        Where the pattern was found.
    """
    wanted, new = _graph_of(pattern), _graph_of(replacement)
    results = wanted.output_node().args[0]
    anchors = list(results) if isinstance(results, (tuple, list)) else [results]
    taken: set[Node] = set()
    found: list[Match] = []
    for node in reversed(gm.graph.nodes):  # the last first: longer chains are found at their end
        match = _matched(node, anchors, wanted)
        if match is None:
            continue
        inner = {n for p, n in match.items() if p.op != "placeholder"}
        if inner & taken or not _is_closed(match, anchors):
            continue
        taken |= inner
        found.append(Match(node, match))
    found.reverse()
    changed: dict[Node, Node] = {}
    for match in found:
        _replace(gm, match, wanted, new, anchors, changed)
    gm.recompile()
    for module in (pattern, replacement):
        if isinstance(module, GraphModule):
            for name, inner in module.named_children():
                if not hasattr(gm, name):
                    gm.add_submodule(name, copy.deepcopy(inner))
    gm.recompile()
    return found


def _matched(node: Node, anchors: list[Any], wanted: Graph) -> dict[Node, Node] | None:
    """The nodes that stand for the pattern's, if its first result is ``node``."""
    match: dict[Node, Node] = {}
    if not isinstance(anchors[0], Node) or not _same(anchors[0], node, match):
        return None
    for anchor in anchors[1:]:  # further results: any node of the graph
        others = (n for n in node.graph.nodes if n not in match.values())
        for other in others:
            trial = dict(match)
            if _same(anchor, other, trial):
                match = trial
                break
        else:
            return None
    return match


def _same(p: Any, n: Any, match: dict[Node, Node]) -> bool:
    """Whether two arguments do the same, noting the nodes."""
    if isinstance(p, Node):
        if p in match:
            return match[p] is n
        if p.op == "placeholder":  # an argument of the pattern: anything, numbers too
            match[p] = n
            return True
        if not isinstance(n, Node) or p.op != n.op or p.target != n.target:
            return False
        if len(p.args) != len(n.args) or p.kwargs.keys() != n.kwargs.keys():
            return False
        match[p] = n
        return _same(p.args, n.args, match) and _same(p.kwargs, n.kwargs, match)
    if isinstance(p, (tuple, list)):
        alike = isinstance(n, (tuple, list)) and len(p) == len(n)
        return alike and all(_same(a, b, match) for a, b in zip(p, n))
    if isinstance(p, dict):
        alike = isinstance(n, dict) and p.keys() == n.keys()
        return alike and all(_same(p[k], n[k], match) for k in p)
    return type(p) is type(n) and bool(p == n)


def _is_closed(match: dict[Node, Node], anchors: list[Any]) -> bool:
    """Whether what is inside a match is read inside only."""
    inner = {n for p, n in match.items() if p.op not in ("placeholder", "get_attr")}
    ends = {match[a] for a in anchors}
    return all(user in inner for n in inner - ends for user in n.users)


def _replace(
    gm: GraphModule,
    match: Match,
    wanted: Graph,
    new: Graph,
    anchors: list[Any],
    changed: dict[Node, Node],
) -> None:
    inputs = [match.nodes_map[p] for p in wanted.nodes if p.op == "placeholder"
              and p in match.nodes_map]  # fmt: skip
    places = [p for p in new.nodes if p.op == "placeholder"]
    values = {p: changed.get(n, n) if isinstance(n, Node) else n for p, n in zip(places, inputs)}
    ends = [match.nodes_map[a] for a in anchors]
    order = {n: k for k, n in enumerate(gm.graph.nodes)}
    with gm.graph.inserting_before(max(ends, key=lambda n: order[n])):
        result = gm.graph.graph_copy(new, values)
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    for old, fresh in zip(ends, results):
        old.replace_all_uses_with(fresh)
        changed[old] = fresh
    for p in reversed(wanted.nodes):
        node = match.nodes_map.get(p)
        if p.op != "placeholder" and node is not None and not node.users:
            gm.graph.erase_node(node)
