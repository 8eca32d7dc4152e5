"""The walk: from a graph of nodes to the graph of its gradients, rule by rule."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable
from typing import Any

from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import PRIMITIVES, check_stale
from cupola.ir.source import const, is_nobodys

Add = Callable[[Node, Node], Node]


def tape(roots: Iterable[Node]) -> list[Node]:
    """Nodes that gradients pass through, operands first."""
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(r, False) for r in roots]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        if is_leaf(node):
            continue
        if node.freed:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have "
                "already been freed). Saved intermediate values of the graph are freed when you "
                "call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the "
                "graph a second time or "
                "if you need to access saved tensors after calling backward."
            )
        for s in node.srcs:
            if s.requires_grad and id(s) not in seen:
                stack.append((s, False))
    return order


def is_leaf(node: Node) -> bool:
    return node.meta is not None and "leaf" in node.meta


def _reaching(order: list[Node], inputs: list[Node]) -> set[int]:
    """Ids of the nodes through which some input is reached."""
    out = {id(n) for n in inputs}
    for node in order:
        if not is_leaf(node) and any(id(s) in out for s in node.srcs):
            out.add(id(node))
    return out


def _leading_nowhere(order: list[Node], wanted: set[int] | None) -> set[int]:
    """Ids of the leaves whose gradient is dropped, and of what only moves such a leaf (as
    broadcasting does) where nobody looks at its gradient: no rule is asked for them.
    """
    out = {id(n) for n in order if is_nobodys(n)}
    if not out:
        return out
    for node in order:
        if node.op.kind != "movement" or not node.srcs or node.meta is not None:
            continue
        if id(node.srcs[0]) in out and (wanted is None or id(node) not in wanted):
            out.add(id(node))
    return out


def _gradients_of(
    node: Node, g: Any, reach: set[int] | None = None, nowhere: set[int] | None = None
) -> list[Node | None]:
    """Applies the node's rules: one gradient an operand, of those in ``reach`` and not in
    ``nowhere``.
    """
    meta = node.meta
    if meta is not None and "backward" in meta:
        mode.serial = -1  # it may write, and what it saved has versions
        return list(meta["backward"](g))
    rules: Any = node.op.vjp
    srcs = node.srcs
    if callable(rules):  # one rule for all operands: operators with several results
        return list(rules(g, node, *srcs, **node.attrs))
    out: list[Node | None] = []
    for k, s in enumerate(srcs):
        wanted = s.requires_grad and (reach is None or id(s) in reach)
        wanted = wanted and not (nowhere and id(s) in nowhere)
        rule = rules[k] if wanted else None
        out.append(rule(g, node, *srcs, **node.attrs) if rule is not None else None)
    return out


class _Running(threading.local):
    """The passes under way, the innermost last."""

    def __init__(self) -> None:
        self.walks: list[Walk] = []


_running = _Running()


def running() -> Walk | None:
    """The pass that is under way: a hook asks for it."""
    return _running.walks[-1] if _running.walks else None


class Walk:
    """One backward pass.

    Args:
        roots, seeds: outputs and their incoming gradients (nodes).
        inputs: where gradients are wanted; None means every leaf.
        create_graph: gradients are differentiable themselves.
        retain_graph: the graph may be walked again.
        order: ``tape(roots)`` if it is known.

    Attributes:
        reads: if it is a list, each node whose rule ran comes there, with the ids of what the rule
            read.
    """

    def __init__(
        self,
        roots: list[Node],
        seeds: list[Node],
        inputs: list[Node] | None,
        create_graph: bool,
        retain_graph: bool,
        order: list[Node] | None = None,
    ) -> None:
        self.order = tape(roots) if order is None else order
        self.reach = None if inputs is None else _reaching(self.order, inputs)
        self.wanted = None if inputs is None else {id(n) for n in inputs}
        self.nowhere = _leading_nowhere(self.order, self.wanted)
        self.create_graph = create_graph
        self.retain_graph = retain_graph
        self.grads: dict[int, Any] = {}
        self.reads: list[tuple[Node, tuple[int, ...]]] | None = None
        self.add: Any = PRIMITIVES["add"]
        for root, seed in zip(roots, seeds, strict=True):
            self.accumulate(root, seed)

    def accumulate(self, node: Node, g: Node) -> None:
        old = self.grads.get(id(node))
        self.grads[id(node)] = g if old is None else self.add(old, g)

    def accumulate_item(self, node: Node, index: int, g: Node) -> None:
        parts = self.grads.setdefault(id(node), [None] * len(node.shape))
        parts[index] = g if parts[index] is None else self.add(parts[index], g)

    def run(self) -> dict[int, Node]:
        """Gradients of the wanted nodes (of every leaf if none were named), by id."""
        grad, walking, serial = mode.grad, mode.walking, mode.serial
        mode.grad = self.create_graph
        mode.walking = used = set()
        _running.walks.append(self)
        try:
            found: dict[int, Node] = {}
            for node in reversed(self.order):
                g = self.grads.pop(id(node), None)
                if g is None:
                    continue
                g = self.hooked(node, g)
                if self.wanted is None:
                    if is_leaf(node):
                        found[id(node)] = g
                elif id(node) in self.wanted:
                    found[id(node)] = g
                if is_leaf(node) or (self.reach is not None and id(node) not in self.reach):
                    continue
                self.step(node, g, used)
            return found
        finally:
            mode.grad, mode.walking, mode.serial = grad, walking, serial
            _running.walks.pop()

    def reaches(self, node: Node) -> bool:
        """Whether this pass comes to a node."""
        at = id(node)
        inside = self.reach is None or at in self.reach
        return inside and any(id(n) == at for n in self.order)

    def hooked(self, node: Node, g: Any) -> Any:
        """Runs the hooks that tensors registered on this node."""
        if node.meta is None or node.op.multi:
            return g
        mode.serial = -1  # hooks may write
        for hook in tuple(node.meta.get("hooks", {}).values()):
            result = hook(g)
            if result is not None:
                g = result
        return g

    def step(self, node: Node, g: Any, used: set[int]) -> None:
        srcs = node.srcs
        if (
            node.op.kind == "alias" and "index" in node.attrs
        ):  # one of several results: gather them at the joint
            self.accumulate_item(srcs[-1], node.attrs["index"], g)
        else:
            if node.op.multi and node.op.vjp is not None and node.op.kind != "formula":
                g = tuple(
                    p if p is not None else const(0, s, d, node.device)
                    for p, s, d in zip(g, node.shape, node.dtype, strict=True)
                )
            used.clear()
            mode.serial = node.serial
            if node.op.kind == "formula":
                parts = self.within(node, g if node.op.multi else [g], used)
            else:
                parts = _gradients_of(node, g, self.reach, self.nowhere)
            for s, part in zip(srcs, parts, strict=False):
                if (
                    part is not None
                    and s.requires_grad
                    and (self.reach is None or id(s) in self.reach)
                ):
                    if part.shape != s.shape:
                        raise AssertionError(
                            f"the gradient rule of {node.op.name} returned shape {part.shape} "
                            "for an operand of shape "
                            f"{s.shape}"
                        )
                    self.accumulate(s, part)
            if self.reads is not None:
                self.reads.append((node, tuple(used)))
            if not self.retain_graph and saves(node, used):
                release(node)

    def within(self, node: Node, gs: list[Node | None], used: set[int]) -> list[Node | None]:
        """The gradients of a formula's operands: those of the primitives that it stands for."""
        body: Callable[..., tuple[Node, ...]] = node.op.body  # type: ignore[attr-defined]
        before = mode.grad, mode.walking
        mode.grad, mode.walking = True, None
        try:
            operands = [PRIMITIVES["alias"](s) for s in node.srcs]
            results = body(*operands, **node.attrs)
        finally:
            mode.grad, mode.walking = before
        pairs = [
            (r, g) for r, g in zip(results, gs, strict=True) if g is not None and r.requires_grad
        ]
        wanted = [
            x
            for x, s in zip(operands, node.srcs, strict=True)
            if s.requires_grad
            and (self.reach is None or id(s) in self.reach)
            and id(s) not in self.nowhere
        ]
        walk = Walk([r for r, _ in pairs], [g for _, g in pairs], wanted, self.create_graph, True)
        walk.reads = []
        found = walk.run()
        read = {k for _, ids in walk.reads for k in ids}
        for x, s in zip(operands, node.srcs, strict=True):
            if id(x) in read:
                if s.stale != -1:
                    check_stale(s, node.serial)
                used.add(id(s))
        return [found.get(id(x)) for x in operands]


def saves(node: Node, used: Container[int]) -> bool:
    """Whether a rule that read the nodes with these ids needs values of the forward pass."""
    return id(node) in used or any(id(s) in used for s in node.srcs)


def release(node: Node) -> None:
    """Lets go of what a node's rule needed: it will not run again."""
    node.freed = True
    if node.value is not None:
        for s in node.srcs:
            if s.taped:
                s.taped -= 1
        node.srcs = ()


def leaves(roots: list[Node]) -> list[Node]:
    """The leaves that gradients of ``roots`` reach, in the order they are met."""
    return [n for n in tape(roots) if is_leaf(n)]
