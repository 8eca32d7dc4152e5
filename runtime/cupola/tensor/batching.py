"""From a graph for one example to the graph for a batch: graph to graph, a rule a primitive.

A mapped function is recorded once, on *lanes*: nodes that stand for one example of a batched value.
``spread`` then walks what was recorded and records it again for the whole batch, which is the
first dimension. What depends on no lane is taken as it is. Where a primitive has no rule, its
examples are computed one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops import custom, movement
from cupola.tensor.batchrules import RULES, by_example, whole
from cupola.tensor.core import Tensor, wrap
from cupola.tensor.history import HISTORY
from cupola.tensor.written import holding


def _no_value(xp: Any, **_: Any) -> Any:
    raise RuntimeError(
        "vmap: the value of a mapped tensor was asked for (item(), bool(), nonzero(), printing, "
        "data-dependent control flow), but one recording stands for all examples. Use "
        "torch.where and masks, or call the function in a loop."
    )


def _lane_infer(*args: Any, **kw: Any) -> Any:
    raise TypeError("lanes are built by vmap")


LANE = Primitive("lane", "library", _lane_infer, _no_value)


class Level:
    """One call of a mapped function: the size of its batch and the values of its lanes.

    Attributes:
        size: examples in the batch.
        randomness: ``error``, ``same`` or ``different``: what random functions do.
        values: the batched node of each lane, by id; the lane is kept alive beside it.
    """

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size = size
        self.randomness = randomness
        self.values: dict[int, tuple[Node, Node]] = {}
        self.done: dict[int, Any] = {}
        self.kept: list[Node] = []

    def lane(self, batched: Node) -> Node:
        """A node for one example of ``batched``, whose first dimension is the batch."""
        made = Node(LANE, (), {}, batched.shape[1:], batched.dtype, batched.device)
        made.requires_grad = batched.requires_grad and mode.grad
        self.values[id(made)] = (batched, made)
        return made

    def spread(self, nodes: list[Node]) -> list[Node | None]:
        """The batched nodes; None for those that are the same for every example."""
        for node in _order(nodes, self.done, self.values):
            self.done[id(node)] = self._batched(node)
            self.kept.append(node)
        return [self.done.get(id(n)) for n in nodes]

    def _batched(self, node: Node) -> Any:
        found = self.values.get(id(node))
        if found is not None:
            return found[0]
        if node.op is custom.joint:
            return self._joint(node)
        srcs = node.srcs
        mapped = [self.done.get(id(s)) for s in srcs]
        if all(m is None for m in mapped):
            return None
        saved, mode.grad = mode.grad, node.requires_grad
        walking, mode.walking = mode.walking, None
        try:
            return self._applied(node, mapped)
        finally:
            mode.grad, mode.walking = saved, walking

    def _applied(self, node: Node, mapped: list[Any]) -> Any:
        op, srcs = node.op, node.srcs
        if op is source.LEAF or op is source.DETACH:
            return source.detach(mapped[0])
        if op is source.ALIAS:
            return source.ALIAS(mapped[0])
        if op is source.ITEM:
            many, k = mapped[0], node.attrs["index"]
            return many[k] if isinstance(many, tuple) else source.item(many, k)
        if op is custom.custom_output:
            value = self.full(mapped[0], srcs[0])
            if not isinstance(mapped[1], Node):
                return value
            out = Node(op, (value, mapped[1]), node.attrs, value.shape, value.dtype, value.device)
            out.requires_grad, out.meta = True, node.meta
            return out
        if op.name in HISTORY:
            values = [self.full(m, s) for m, s in zip(mapped, srcs, strict=True)]
            return HISTORY[op.name](*values)
        rule = RULES.get(op.name) or (RULES["elementwise"] if op.kind == "elementwise" else None)
        if rule is None:
            return by_example(node, mapped, self.size)
        return rule(node, mapped, self.size)

    def full(self, batched: Node | None, node: Node) -> Node:
        """The batched node, or the node repeated for every example."""
        return whole(batched, node, self.size)

    def _joint(self, node: Node) -> Any:
        """A hand-written gradient for the batch: its rule is recorded on lanes in its turn."""
        mapped = [self.done.get(id(s)) for s in node.srcs]
        srcs = tuple(self.full(m, s) for m, s in zip(mapped, node.srcs, strict=True))
        shapes = tuple((self.size, *s) for s in node.shape)
        out = Node(custom.joint, srcs, {}, shapes, node.dtype, node.device, None, True)
        assert node.meta is not None
        rule = node.meta["backward"]

        def batched_rule(gs: list[Node | None]) -> list[Node | None]:
            with entered(self):
                found = rule([None if g is None else self.lane(g) for g in gs])
            live = [f for f in found if f is not None]
            done = iter(self.full(b, f) for b, f in zip(self.spread(live), live, strict=True))
            return [None if f is None else next(done) for f in found]

        out.meta = {**node.meta, "backward": batched_rule}
        return out


def _order(roots: list[Node], done: dict[int, Any], lanes: dict[int, Any]) -> list[Node]:
    """What has to be recorded again, operands first."""
    order: list[Node] = []
    seen: set[int] = set(done)
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        if node.value is None and id(node) not in lanes:
            stack += [(s, False) for s in node.srcs if id(s) not in seen]
    return order


class _Levels(threading.local):
    stack: tuple[Level, ...] = ()


_levels = _Levels()


def levels() -> tuple[Level, ...]:
    """The mapped calls that run now, outermost first."""
    return _levels.stack


@contextmanager
def entered(level: Level) -> Iterator[Level]:
    """Records on the lanes of a level; nothing is computed meanwhile."""
    _levels.stack += (level,)
    holding.level += 1
    try:
        yield level
    finally:
        holding.level -= 1
        _levels.stack = _levels.stack[:-1]


def on_lanes() -> bool:
    """Whether what is recorded stands for lanes of a batch."""
    return bool(_levels.stack)


@contextmanager
def left(level: Level) -> Iterator[None]:
    """Records outside of a level, on its batch."""
    stack = _levels.stack
    _levels.stack = stack[: stack.index(level)]
    try:
        yield
    finally:
        _levels.stack = stack


def drawn(shape: tuple[int, ...], draw: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
    """A random tensor inside mapped functions: one draw for all, or one for each example.

    Raises:
        RuntimeError: the function was mapped with ``randomness="error"``.
    """

    def at(stack: tuple[Level, ...], size: tuple[int, ...]) -> Tensor:
        if not stack:
            return draw(size)
        level = stack[-1]
        if level.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use "
                "the 'same' or 'different' randomness flags on vmap or perform the randomness "
                "operation out of vmap"
            )
        if level.randomness == "same":
            return at(stack[:-1], size)
        return wrap(level.lane(at(stack[:-1], (level.size, *size)).node))

    return at(_levels.stack, shape)


def physical(x: Tensor) -> tuple[Tensor, Level] | None:
    """The batch that a tensor inside a mapped function is one example of, if it depends on it."""
    if not _levels.stack:
        return None
    level = _levels.stack[-1]
    (found,) = level.spread([x.node])
    return None if found is None else (wrap(found), level)


def moved(node: Node, to: int, at: int = 0) -> Node:
    """The node with one dimension moved."""
    if to == at:
        return node
    dims = [d for d in range(node.ndim) if d != at]
    dims.insert(to, at)
    return movement.permute(node, dims=tuple(dims))
