"""Reverse-mode differentiation of graphs of nodes: it knows rules, not operators."""

from __future__ import annotations

from cupola.autodiff.memo import gradients
from cupola.autodiff.walk import Walk, leaves, running, tape
from cupola.ir.node import Node


def backward(
    roots: list[Node],
    seeds: list[Node],
    inputs: list[Node] | None = None,
    create_graph: bool = False,
    retain_graph: bool = False,
    remember: bool = False,
    order: list[Node] | None = None,
) -> dict[int, Node]:
    """Gradients of ``sum(root * seed)`` with respect to leaves (or ``inputs``), as nodes by id of
    the input node.

    ``remember`` says that nobody will look at how they are computed (by a second gradient, a
    captured call, a map over a batch): for a tape of known structure they are one node.
    ``order`` is ``tape(roots)`` if the caller has it.

    Raises:
        RuntimeError: the graph was walked before without ``retain_graph``, or a needed value was
            overwritten.
    """
    if remember and not create_graph:
        return gradients(roots, seeds, inputs, retain_graph, order)
    return Walk(roots, seeds, inputs, create_graph, retain_graph, order).run()


__all__ = ["Walk", "backward", "leaves", "running", "tape"]
