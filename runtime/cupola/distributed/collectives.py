"""Collectives on tensors: differentiable, and run where they are recorded.

A collective computes its operands and communicates at the line that calls it, never when a value is
read: so every rank communicates in the order of its program, and reading a value on one rank only
concerns nobody else. Gradient rules are collectives as well, run during ``backward``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cupola import engine
from cupola.distributed import transport, watch
from cupola.distributed.world import Group, current, debug, world
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.number import lost
from cupola.ir.op import Primitive, pending
from cupola.ir.source import detach, item
from cupola.ops import elementwise, movement
from cupola.tensor import Tensor
from cupola.tensor.core import wrap

Route = str  # "mpi": host memory; "nccl": GPUs; "auto": NCCL where there is one


def _nccl_of(group: Group, node: Node, route: Route, op: str = "add") -> Any:
    """The communicator that carries this value, or None: host memory does."""
    if node.device.type != "cuda" or route == "mpi" or (group.size == 1 and route == "auto"):
        if route == "nccl" and group.size > 1:
            _say_once("nccl operators on CPU tensors travel by MPI")
        return None
    found = group.nccl()
    if found is None:
        return None
    from cupola.backends.cuda import nccl

    return found if nccl.takes(node.dtype, op) else None


_said: set[str] = set()
_SOLO = transport.Solo()


def contiguous(array: Any) -> Any:
    """A C-contiguous GPU array of the same shape."""
    if array.flags.c_contiguous:
        return array
    return engine.backend("cuda").xp.ascontiguousarray(array)


def _say_once(text: str) -> None:
    if text not in _said and world().rank == 0:
        _said.add(text)
        import warnings

        warnings.warn(text, stacklevel=4)


def run(kind: str, node: Node, group: Group, route: Route, **attrs: Any) -> Any:
    """Computes ``node`` and communicates: the array that results, on the node's device."""
    if group.rank < 0:
        raise ValueError(f"this process is not in {group}: only its members call {kind}")
    array = engine.array_of(node)
    fast = _nccl_of(group, node, route, attrs.get("op", "add"))
    return _perform(kind, array, node, fast, group, attrs)


def _perform(
    kind: str, array: Any, node: Any, fast: Any, group: Group, attrs: dict[str, Any]
) -> Any:
    """Communicates an array; ``node`` has its shape, dtype and device."""
    with watch.collective(kind, group, node.shape, node.dtype, attrs):
        if debug():
            compare(kind, group, node, attrs)
        if fast is not None:
            watch.status.gpu = True
            return getattr(fast, kind)(contiguous(array), **attrs)
        if group.size == 1:
            return getattr(_SOLO, kind)(array, **attrs)
        if node.device.type != "cuda":
            return getattr(group.transport, kind)(array, **attrs)
        backend = engine.backend("cuda")
        out = getattr(group.transport, kind)(backend.to_numpy(array), **attrs)
        return None if out is None else backend.from_numpy(out, node.device.index or 0)


def compare(kind: str, group: Group, node: Node | None, attrs: dict[str, Any]) -> None:
    """Raises RuntimeError at every rank if the ranks are not at the same collective."""
    what = () if node is None else (tuple(node.shape), str(node.dtype))
    own = (group.sequence, kind, *what, tuple(sorted(attrs.items())))
    every = group.transport.gather_objects(own)
    if any(other != every[0] for other in every):
        lines = [f"  rank {r}: {_words(c)}" for r, c in zip(group.ranks, every, strict=True)]
        raise RuntimeError(
            "the ranks disagree about the collective that comes next:\n" + "\n".join(lines)
        )


def _words(call: tuple[Any, ...]) -> str:
    number, kind, *what = call
    shape = f" of {what[1]} {list(what[0])}" if len(what) > 1 else ""
    attrs = ", ".join(f"{k}={v}" for k, v in what[-1])
    return f"number {number}: {kind}{shape}{' (' + attrs + ')' if attrs else ''}"


def _no_infer(*_: Any, **__: Any) -> Any:
    raise TypeError("collectives are recorded by distributed.collectives")


def _collective(kind: str, vjp: Any) -> Primitive:
    # Not in the table of primitives: it cannot be sampled within one process.
    def reference(
        xp: Any, array: Any, *after: Any, group: Group, route: Route, operand: Any, **attrs: Any
    ) -> Any:
        fast = _nccl_of(group, operand, route, attrs.get("op", "add"))
        return _perform(kind, array, operand, fast, group, attrs)

    return Primitive(f"distributed_{kind}", "library", _no_infer, reference, vjp)


@dataclass(frozen=True)
class Operand:
    """What an operand is, where its array alone does not tell."""

    shape: tuple[int, ...]
    dtype: Any
    device: Any


def _later(
    rule: Primitive, kind: str, node: Node, group: Group, route: Route, attrs: dict[str, Any]
) -> Node | None:
    """Within a captured call: records the collective as a step of it, after those before.

    None where it cannot be one: what travels through host memory is no part of a CUDA graph.
    """
    on_gpu = node.device.type == "cuda"
    if kind in ("send", "receive") or (
        on_gpu and group.size > 1 and _nccl_of(group, node, route, attrs.get("op", "add")) is None
    ):
        lost.append("a collective travels through host memory")
        return None
    shape = tuple(node.shape)
    shape = {"all_gather": (group.size, *shape), "reduce_scatter": shape[1:]}.get(kind, shape)
    operand = Operand(tuple(node.shape), node.dtype, node.device)
    keep = {**attrs, "group": group, "route": route, "operand": operand}
    return pinned(Node(rule, (node, *before(node)), keep, shape, node.dtype, node.device))


def before(node: Node) -> tuple[Node, ...]:
    """What a collective within a captured call waits for beside its operand: the one before it."""
    last = next((n for n in reversed(mode.pinned) if n.device is node.device), None)
    if last is None:
        return ()
    return (detach(item(last, 0) if last.op.multi else last),)


def pinned(node: Node) -> Node:
    """Notes a collective that has been recorded within a captured call."""
    pending.count += 1
    node.serial = pending.count
    mode.pinned.append(node)
    return node


def _record(
    rule: Primitive, kind: str, node: Node, group: Group, route: Route, **attrs: Any
) -> Node:
    grad = node.requires_grad and mode.grad and node.dtype.category >= 2
    if mode.held and group.rank >= 0:
        held = _later(rule, kind, node, group, route, attrs)
        if held is not None:
            held.requires_grad = grad
            return held
    value = run(kind, node, group, route, **attrs)
    keep = {**attrs, "group": group, "route": route}
    out = Node(rule, (node,), keep, tuple(value.shape), node.dtype, node.device, value, grad)
    pending.count += 1
    out.serial = pending.count
    if not grad:
        out.srcs = ()
    return out


def _scaled(g: Node, group: Group, op: str) -> Node:
    return g * (1.0 / group.size) if op == "mean" else g


def _selected(
    g: Node, out: Node, x: Node, group: Group, route: Route, total: Node | None = None
) -> Node:
    """The gradient of max and min: shared by the ranks that hold the extreme value."""
    mask = elementwise.cast(elementwise.eq(x, out), dtype=x.dtype)
    ties = all_reduce_node(mask, "add", group, route)
    return mask * (g / ties)


def _all_reduce_vjp(
    g: Node, out: Node, x: Node, *_: Node, op: str, group: Group, route: Route, operand: Any = None
) -> Node:
    whole = all_reduce_node(g, "mean" if op == "mean" else "add", group, route)
    if op in ("add", "mean"):
        return whole
    if op in ("max", "min"):
        return _selected(whole, out, x, group, route)
    raise RuntimeError(f"all_reduce with op={op!r} has no gradient; use add, mean, max or min")


ALL_REDUCE = _collective("all_reduce", (_all_reduce_vjp,))


def all_reduce_node(x: Node, op: str, group: Group, route: Route) -> Node:
    transport.check(op, x.dtype)
    return _record(ALL_REDUCE, "all_reduce", x, group, route, op=op)


def _reduce_vjp(
    g: Node,
    out: Node,
    x: Node,
    *_: Node,
    op: str,
    root: int,
    group: Group,
    route: str,
    operand: Any = None,
) -> Node:
    given = _record(BROADCAST, "broadcast", g, group, route, root=root)
    if op in ("add", "mean"):
        return _scaled(given, group, op)
    if op in ("max", "min"):
        extreme = _record(BROADCAST, "broadcast", out, group, route, root=root)
        return _selected(given, extreme, x, group, route)
    raise RuntimeError(f"reduce with op={op!r} has no gradient; use add, mean, max or min")


def _broadcast_vjp(
    g: Node,
    out: Node,
    x: Node,
    *_: Node,
    root: int,
    group: Group,
    route: Route,
    operand: Any = None,
) -> Node:
    return _record(REDUCE, "reduce", g, group, route, op="add", root=root)


def _all_gather_vjp(
    g: Node, out: Node, x: Node, *_: Node, group: Group, route: Route, operand: Any = None
) -> Node:
    return _record(REDUCE_SCATTER, "reduce_scatter", g, group, route, op="add")


def _reduce_scatter_vjp(
    g: Node, out: Node, x: Node, *_: Node, op: str, group: Group, route: Route, operand: Any = None
) -> Node:
    if op not in ("add", "mean"):
        raise RuntimeError(f"reduce_scatter with op={op!r} has no gradient; use add or mean")
    return _scaled(_record(ALL_GATHER, "all_gather", g, group, route), group, op)


REDUCE = _collective("reduce", (_reduce_vjp,))
BROADCAST = _collective("broadcast", (_broadcast_vjp,))
ALL_GATHER = _collective("all_gather", (_all_gather_vjp,))
REDUCE_SCATTER = _collective("reduce_scatter", (_reduce_scatter_vjp,))


def all_reduce(x: Tensor, op: str, group: Any, route: Route) -> Tensor:
    return wrap(all_reduce_node(x.node, op, current(group), route))


def reduce(x: Tensor, op: str, root: int, group: Any, route: Route) -> Tensor:
    transport.check(op, x.dtype)
    chosen = current(group)
    root = chosen.number_of(root)
    return wrap(_record(REDUCE, "reduce", x.node, chosen, route, op=op, root=root))


def broadcast(x: Tensor, root: int, group: Any, route: Route) -> Tensor:
    chosen = current(group)
    root = chosen.number_of(root)
    return wrap(_record(BROADCAST, "broadcast", x.node, chosen, route, root=root))


def broadcast_from(x: Tensor, root: int, group: Group) -> Tensor:
    """``broadcast`` from member number ``root`` of a group."""
    return wrap(_record(BROADCAST, "broadcast", x.node, group, "auto", root=root))


def plain(kind: str, x: Tensor, group: Group, **attrs: Any) -> Tensor:
    """A collective without a gradient, over whatever the tensor is on."""
    rules = {"all_reduce": ALL_REDUCE, "reduce": REDUCE, "broadcast": BROADCAST}
    rules |= {"all_gather": ALL_GATHER, "reduce_scatter": REDUCE_SCATTER}
    return wrap(_record(rules[kind], kind, detach(x.node), group, "auto", **attrs))


def all_gather(x: Tensor, group: Any, route: Route) -> Tensor:
    """Every rank's tensor, stacked along a new first dimension; the shapes must agree."""
    return wrap(_record(ALL_GATHER, "all_gather", x.node, current(group), route))


def reduce_scatter(x: Tensor, op: str, group: Any, route: Route) -> Tensor:
    """Row ``i`` of the reduced (size, ...) tensor at rank ``i``."""
    transport.check(op, x.dtype)
    chosen = current(group)
    if not x.shape or x.shape[0] != chosen.size:
        raise ValueError(
            f"reduce_scatter takes one row a rank: expected a first dimension of {chosen.size}, "
            f"got shape {list(x.shape)}"
        )
    return wrap(_record(REDUCE_SCATTER, "reduce_scatter", x.node, chosen, route, op=op))


# --- from one rank to another


def _token_vjp(g: Node, out: Node, x: Node, to: int, tag: int, group: Group, route: Route) -> Node:
    value = run("receive", x, group, route, source=to, **_tagged(group, x, route, tag))
    return _with_value(value, x)


def _received_vjp(
    g: Node, out: Node, x: Node, source: int, tag: int, group: Group, route: Route
) -> Node:
    run("send", g, group, route, to=source, **_tagged(group, g, route, tag))
    return g * 0.0


def _with_value(value: Any, like: Node) -> Node:
    from cupola.ir.source import buffer

    return buffer(value, like.dtype, like.device)


def _tagged(group: Group, node: Node, route: Route, tag: int) -> dict[str, int]:
    """NCCL's messages have no tags: they are matched in order."""
    return {} if _nccl_of(group, node, route) is not None else {"tag": tag}


SEND = _collective("send", (_token_vjp,))
RECEIVE = _collective("receive", (_received_vjp,))


def not_captured() -> None:
    """Says of the call that is being captured, if any, that it cannot be replayed."""
    if mode.held:
        lost.append("it exchanges more than tensors with other processes")


def send(x: Tensor, to: int, tag: int, group: Any, route: Route) -> Tensor:
    """Sends a tensor; the result is a zero through which its gradient comes back."""
    chosen = current(group)
    to = chosen.number_of(to)
    node = x.node
    not_captured()
    run("send", node, chosen, route, to=to, **_tagged(chosen, node, route, tag))
    zero = engine.backend(node.device.type).empty((), node.dtype, node.device.index or 0)
    zero[...] = 0
    return _endpoint(SEND, node, zero, {"to": to, "tag": tag, "group": chosen, "route": route})


def receive(like: Tensor, source: int, tag: int, group: Any, route: Route) -> Tensor:
    """A tensor of the shape and dtype of ``like``, which a gradient passes on to the sender."""
    chosen = current(group)
    source = chosen.number_of(source)
    node = like.node
    not_captured()
    value = run("receive", node, chosen, route, source=source, **_tagged(chosen, node, route, tag))
    attrs = {"source": source, "tag": tag, "group": chosen, "route": route}
    return _endpoint(RECEIVE, node, value, attrs)


def _endpoint(op: Primitive, node: Node, value: Any, attrs: dict[str, Any]) -> Tensor:
    grad = node.requires_grad and mode.grad
    srcs = (node,) if grad else ()
    out = Node(op, srcs, attrs, tuple(value.shape), node.dtype, node.device, value, grad)
    pending.count += 1
    out.serial = pending.count
    return wrap(out)


def barrier(group: Any = None) -> None:
    """Waits until every rank of the group has come here."""
    chosen = current(group)
    not_captured()
    if chosen.rank < 0:
        return
    with watch.collective("barrier", chosen, (), None, {}):
        if debug():
            compare("barrier", chosen, None, {})
        chosen.transport.barrier()


__all__ = [
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "movement",
    "receive",
    "reduce",
    "reduce_scatter",
    "run",
    "send",
]
