"""Values written in place of others that have a gradient history."""

from __future__ import annotations

from typing import Any

from cupola.ir import source
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops import elementwise, movement


def _carry(g: Node, y: Node, value: Node, old: Node) -> Node:
    if g.shape != old.shape:
        raise RuntimeError(
            f"the tensor was given data of shape {list(g.shape)} after it was computed with shape "
            f"{list(old.shape)}: no gradient can pass"
        )
    return g


# The gradient passes to the old history: what a write under ``no_grad`` leaves behind.
CARRIED = Primitive(
    "carried",
    "alias",
    lambda value, old: (value.shape, value.dtype),
    None,
    (None, _carry),
).register()

# The history is gone: what a view keeps when its base was detached.
LOST = Primitive(
    "lost", "alias", lambda value: (value.shape, value.dtype), lambda xp, value: value, (None,)
).register()


_NAMES = ("shape", "strides", "offset")


def _restride(g: Node, y: Node, value: Node, x: Node, there: Any, here: Any, room: int) -> Node:
    """Adds gradients up by place in memory and takes those where ``x`` lies, in equal parts."""
    of_y, of_x = dict(zip(_NAMES, there, strict=True)), dict(zip(_NAMES, here, strict=True))
    total = movement.as_strided_add(g, **of_y, into=(room,))
    shares = movement.as_strided_add(like(g, x.shape), **of_x, into=(room,))
    found = movement.as_strided(total, **of_x)
    return elementwise.div(found, movement.as_strided(shares, **of_x))


def like(g: Node, shape: tuple[int, ...]) -> Node:
    """Ones of another shape."""
    return source.const(1, shape, g.dtype, g.device)


# A value read by places in memory, with the history of the view that it was asked of.
RESTRIDED = Primitive(
    "restrided",
    "alias",
    lambda value, x, **_: (value.shape, value.dtype),
    None,
    (None, _restride),
).register()


def restrided(value: Node, x: Node, there: Any, here: Any, room: int) -> Node:
    """``value``, whose gradient reaches ``x`` where both lie in the same place of memory.

    ``there`` and ``here`` are (shape, strides, offset) of value and x, ``room`` the size of the
    memory.
    """
    attrs = {"there": there, "here": here, "room": room}
    srcs = (source.detach(value), x)
    return _made(RESTRIDED, srcs, attrs, value)


# The old history gets zeros: what overwriting with values that need no gradient leaves behind.
OVERWRITTEN = Primitive(
    "overwritten",
    "alias",
    lambda value, old: (old.shape, old.dtype),
    None,
    (None, lambda g, y, value, old: source.const(0, g.shape, g.dtype, g.device)),
).register()


# The same through a view: zeros that depend on the gradient, as those of a partial write do.
COVERED = Primitive(
    "covered",
    "alias",
    lambda value, old: (old.shape, old.dtype),
    None,
    (None, lambda g, y, value, old: tied(source.const(0, g.shape, g.dtype, g.device), g)),
).register()


# A value that also depends on others, whose gradient is zero: what choosing by them leaves.
TIED = Primitive(
    "tied",
    "alias",
    lambda value, x: (value.shape, value.dtype),
    None,
    (lambda g, y, value, x: g, lambda g, y, value, x: source.const(0, x.shape, x.dtype, x.device)),
).register()


def _refuse(g: Node, y: Node, *srcs: Node) -> Node:
    raise RuntimeError(
        "unsupported operation: more than one element of the written-to tensor refers to a single "
        "memory location. Please clone() the tensor before performing the operation."
    )


# A write into a tensor that repeats elements: it has a value and, as in PyTorch, no gradient.
REPEATED = Primitive(
    "repeated",
    "alias",
    lambda value, old, new: (value.shape, value.dtype),
    None,
    (None, _refuse, _refuse),
).register()


def _made(op: Primitive, srcs: tuple[Node, ...], attrs: dict[str, Any], value: Node) -> Node:
    out = Node(op, srcs, attrs, value.shape, value.dtype, value.device, None, True)
    out.order = value.order
    return out


def repeated(value: Node, old: Node, new: Node) -> Node:
    """``value``, left in ``old`` by writing ``new`` over its repetitions."""
    if not mode.grad or not (old.requires_grad or new.requires_grad):
        return value
    srcs = (source.detach(value), old, new)
    return _made(REPEATED, srcs, {}, value)


def past(node: Node) -> Node:
    """The node whose history a value has: what hooks and gradients of the tensor belong to."""
    return node.srcs[1] if node.op is CARRIED else node


def carried(old: Node, value: Node) -> Node:
    """``value`` with the gradient history of ``old``."""
    srcs = (source.detach(value), past(old))
    return _made(CARRIED, srcs, {}, value)


def lost(value: Node) -> Node:
    """``value``, which requires a gradient that goes nowhere."""
    return _made(LOST, (value,), {}, value)


def overwritten(old: Node, value: Node, through_view: bool = False) -> Node:
    """``value``, which still requires a gradient as ``old`` did; it is zero."""
    return _made(COVERED if through_view else OVERWRITTEN, (value, old), {}, value)


def tied(value: Node, *others: Node) -> Node:
    """``value``, on the tape of ``others`` as well, whose gradient through it is zero."""
    for x in others:
        if mode.grad and x.requires_grad:
            value = _made(TIED, (value, x), {}, value)
    return value


# How each is made anew for other operands, by name.
HISTORY: dict[str, Any] = {
    "carried": lambda value, old: carried(old, value),
    "lost": lost,
    "overwritten": lambda value, old: overwritten(old, value),
    "covered": lambda value, old: overwritten(old, value, True),
    "repeated": repeated,
    "tied": tied,
}
