"""Aliasing: tensors that share storage, and how a write through one of them reaches the others.

Storage holds the value of the whole region as a node. A view is a chain of movement steps from it.
Writing through a
view runs the chain backwards and gives storage a new node; reading a view after that replays its
chain.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

from cupola.dtypes import int64
from cupola.ir import source
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ir.program import strides_of
from cupola.ops import elementwise, index, movement, reduce
from cupola.tensor.geometry import distinct, geometry
from cupola.tensor.history import repeated, tied
from cupola.tensor.reread import Reread

Step = tuple[Primitive | Reread, dict[str, Any]]  # a movement or a reading, and its attributes
Chain = tuple[Step, ...]


_FEW = 64  # views that are kept without asking which of them are alive


class Storage:
    """The value that aliases share.

    Attributes:
        node: current value of the whole region, without gradient history.
        version: counts in-place writes.
        sharers: weak references to the tensors that hold the region with a gradient history of
            their own.
        written: what was last written through a view, and who counts its writes; stale after the
            next write.
        views: values read through views since the last write, and who counts their writes; those
            that are gone are dropped when the list reaches ``limit``.
        external: a NumPy array that the user shares with us; read afresh at every use, written
            through.
    """

    __slots__ = (
        "__weakref__", "external", "limit", "node", "sharers", "version", "views", "written",
    )  # fmt: skip

    def __init__(self, node: Node | None, version: int = 0, external: Any = None) -> None:
        self.node = node
        self.version = version
        self.external = external
        self.written: tuple[Node, list[int] | None] | None = None
        self.sharers: list[Any] = []
        self.views: list[tuple[Any, list[int]]] = []
        self.limit = _FEW

    def saw(self, node: Node, counter: list[int]) -> None:
        """Notes a value read through a view: a data set is read so as long as training runs."""
        if len(self.views) >= self.limit:
            self.views = [view for view in self.views if view[0]() is not None]
            self.limit = max(_FEW, 2 * len(self.views))
        self.views.append((weakref.ref(node), counter))

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


def inverse(op: Primitive, attrs: dict[str, Any], before: tuple[int, ...]) -> Step:
    """The step that undoes a movement which loses nothing (permute, reshape)."""
    if op is movement.permute:
        return op, {"dims": movement.inverse_permutation(attrs["dims"])}
    return movement.reshape, {"shape": before}


def write(base: Node, chain: Chain, value: Node) -> Node:
    """The base after ``value`` was written through the view that ``chain`` makes of it.

    Where a view repeats elements (expand), the last one that changed counts.
    """
    if not chain:
        return value
    if 0 in value.shape:
        return tied(base, value)
    for k, (op, attrs) in enumerate(chain):
        if isinstance(op, Reread):
            there = replay(base, chain[:k])
            inner = write(op(there, **attrs), chain[k + 1 :], value)
            return write(base, chain[:k], op.written(there, inner, **attrs))
    if any(op is movement.expand or op is movement.window for op, _ in chain):
        shape, strides, offset = geometry(base.shape, chain)
        if distinct(shape, strides):  # what repeats elements on the way was cut off again
            return movement.as_strided_update(
                base, value, shape=shape, strides=strides, offset=offset
            )
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
    if op is movement.window:
        shape, strides = _windows(base.shape, **attrs)
        return movement.as_strided_update(base, value, shape=shape, strides=strides, offset=0)
    return value if base.shape == value.shape else repeated(_gathered(base, value), base, value)


def _windows(
    shape: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], dilation: Any
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of sliding windows over a row-major array."""
    steps = strides_of(shape)
    lead = len(shape) - len(size)
    places = tuple(
        (n - d * (w - 1) - 1) // s + 1
        for n, w, s, d in zip(shape[lead:], size, stride, dilation, strict=True)
    )
    moves = tuple(a * s for a, s in zip(steps[lead:], stride, strict=True))
    taps = tuple(a * d for a, d in zip(steps[lead:], dilation, strict=True))
    return (*shape[:lead], *places, *size), (*steps[:lead], *moves, *taps)


def _gathered(base: Node, value: Node) -> Node:
    """What is left of ``value``, an expansion of ``base`` after a write, in the base's shape."""
    if value.op is source.CONST:  # the same number everywhere
        return source.const(value.attrs["value"], base.shape, base.dtype, base.device)
    wide = [i for i, (a, b) in enumerate(zip(base.shape, value.shape, strict=True)) if a != b]
    dims = tuple(i for i in range(value.ndim) if i not in wide) + tuple(wide)
    kept = tuple(value.shape[i] for i in dims[: value.ndim - len(wide)])
    count = math.prod(value.shape[i] for i in wide)
    if not count:
        return base

    def rows(x: Node) -> Node:
        return movement.reshape(movement.permute(x, dims=dims), shape=(*kept, count))

    old = movement.expand(base, shape=value.shape)
    new = rows(value)
    changed = elementwise.ne(rows(source.detach(value)), rows(source.detach(old)))
    place = movement.iota(source.const(0, new.shape, int64, new.device), dim=new.ndim - 1)
    none = source.const(0, new.shape, int64, new.device)
    last = reduce.amax(elementwise.where(changed, place, none), dims=(new.ndim - 1,))
    found = index.gather(new, last, dim=new.ndim - 1)
    return movement.reshape(found, shape=base.shape)


def replay_numpy(array: Any, chain: Chain) -> Any:
    """The part of a shared NumPy array that a view stands for."""
    import numpy as np

    for op, attrs in chain:
        assert op.reference is not None
        if op is movement.as_strided and array.flags.c_contiguous:
            steps = tuple(s * array.itemsize for s in attrs["strides"])
            flat = array.reshape(-1)[attrs["offset"] :]
            array = np.lib.stride_tricks.as_strided(flat, attrs["shape"], steps)
        else:
            array = op.reference(np, array, **attrs)
    return array
