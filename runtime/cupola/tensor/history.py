"""Values written in place of others that have a gradient history."""

from __future__ import annotations

from cupola.ir import source
from cupola.ir.node import Node
from cupola.ir.op import Primitive

# The gradient passes to the old history: what a write under ``no_grad`` leaves behind.
CARRIED = Primitive(
    "carried",
    "alias",
    lambda value, old: (old.shape, old.dtype),
    None,
    (None, lambda g, y, value, old: g),
).register()

# The old history gets zeros: what overwriting with values that need no gradient leaves behind.
OVERWRITTEN = Primitive(
    "overwritten",
    "alias",
    lambda value, old: (old.shape, old.dtype),
    None,
    (None, lambda g, y, value, old: source.const(0, g.shape, g.dtype, g.device)),
).register()


def carried(old: Node, value: Node) -> Node:
    """``value`` with the gradient history of ``old``."""
    if old.op is CARRIED:
        old = old.srcs[1]
    srcs = (source.detach(value), old)
    return Node(CARRIED, srcs, {}, old.shape, old.dtype, old.device, None, True)


def overwritten(old: Node, value: Node) -> Node:
    """``value``, which still requires a gradient as ``old`` did; it is zero."""
    return Node(OVERWRITTEN, (value, old), {}, old.shape, old.dtype, old.device, None, True)
