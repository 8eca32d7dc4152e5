"""Aliasing: tensors that share storage, and how a write through one of them reaches the others.

Storage holds the value of the whole region as a node. A view is a chain of movement steps from it.
Writing through a
view runs the chain backwards and gives storage a new node; reading a view after that replays its
chain.
"""

from __future__ import annotations

from typing import Any

from cupola.ir import source
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops import movement

Step = tuple[Primitive, dict[str, Any]]
Chain = tuple[Step, ...]


class Storage:
    """The value that aliases share.

    Attributes:
        node: current value of the whole region, without gradient history.
        version: counts in-place writes.
        sharers: weak references to the tensors that hold the region with a gradient history of
            their own.
        written: what was last written through a view; stale after the next write.
        external: a NumPy array that the user shares with us; read afresh at every use, written
            through.
    """

    __slots__ = ("__weakref__", "external", "node", "sharers", "version", "written")

    def __init__(self, node: Node | None, version: int = 0, external: Any = None) -> None:
        self.node = node
        self.version = version
        self.external = external
        self.written: Node | None = None
        self.sharers: list[Any] = []

    def join(self, reference: Any) -> None:
        """Adds a sharer and forgets those that are gone."""
        if len(self.sharers) > 8:
            self.sharers = [r for r in self.sharers if r() is not None]
        self.sharers.append(reference)


def replay(node: Node, chain: Chain) -> Node:
    """Runs a view's movement steps on its base."""
    for op, attrs in chain:
        node = op(node, **attrs)
    return node


def write(base: Node, chain: Chain, value: Node) -> Node:
    """The base after ``value`` was written through the view that ``chain`` makes of it.

    Raises:
        RuntimeError: the view repeats elements (expand), so that a write has no meaning.
    """
    if not chain:
        return value
    (op, attrs), rest = chain[0], chain[1:]
    if rest:
        value = write(op(base, **attrs), rest, value)
    if op is movement.reshape:
        return movement.reshape(value, shape=base.shape)
    if op is movement.permute:
        return movement.permute(value, dims=movement.inverse_permutation(attrs["dims"]))
    if op is movement.flip:
        return movement.flip(value, dims=attrs["dims"])
    if op is movement.slice:
        return movement.slice_update(base, value, **attrs)
    if op is movement.as_strided:
        return movement.as_strided_update(base, value, **attrs)
    if op is movement.expand:
        if base.shape == value.shape:
            return value
        if value.op is source.CONST:  # the same number everywhere
            return source.const(value.attrs["value"], base.shape, base.dtype, base.device)
    raise RuntimeError(
        "unsupported operation: more than one element of the written-to tensor refers to a "
        "single memory location. "
        "Please clone() the tensor before performing the operation."
    )


def replay_numpy(array: Any, chain: Chain) -> Any:
    """The part of a shared NumPy array that a view stands for."""
    import numpy as np

    for op, attrs in chain:
        assert op.reference is not None
        array = op.reference(np, array, **attrs)
    return array
