"""Max pooling by the place of each maximum, and its adjoint.

``x`` has spatial dimensions ``axes``, of which each window covers ``size`` at steps of ``stride``,
the first one beginning ``low`` before the first element; ``place`` is the row-major index of an
element within its window (any integer type). The scheduler writes both as generated loops.
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Iterator
from typing import Any

from cupola.dtypes import dtype
from cupola.ir.node import Node
from cupola.ir.op import Primitive

Shape = tuple[int, ...]


def _with_space(shape: Shape, axes: Shape, space: Shape) -> Shape:
    out = list(shape)
    for a, n in zip(axes, space, strict=True):
        out[a] = n
    return tuple(out)


def _padded(shape: Shape, out: Shape, axes: Shape, size: Shape, stride: Shape, low: Shape) -> Shape:
    """The shape that ``low``, the elements and whatever the last windows need take together."""
    space = [
        max(shape[a] + lo, (out[a] - 1) * s + k)
        for a, k, s, lo in zip(axes, size, stride, low, strict=True)
    ]
    return _with_space(shape, axes, tuple(space))


def _taps(out: Shape, axes: Shape, size: Shape, stride: Shape) -> Iterator[tuple[int, Any]]:
    """For each place in a window: its number, and where it lies in the padded array."""
    for number, tap in enumerate(itertools.product(*(range(k) for k in size))):
        box = [builtins.slice(None)] * len(out)
        for a, t, s in zip(axes, tap, stride, strict=True):
            box[a] = builtins.slice(t, t + (out[a] - 1) * s + 1, s)
        yield number, tuple(box)


def _inside(shape: Shape, axes: Shape, low: Shape) -> Any:
    box = [builtins.slice(None)] * len(shape)
    for a, lo in zip(axes, low, strict=True):
        box[a] = builtins.slice(lo, lo + shape[a])
    return tuple(box)


def _take_infer(
    x: Node, place: Node, size: Shape, stride: Shape, low: Shape, axes: Shape
) -> tuple[Shape, dtype]:
    return place.shape, x.dtype


def _take_reference(
    xp: Any, x: Any, place: Any, size: Shape, stride: Shape, low: Shape, axes: Shape
) -> Any:
    whole = xp.zeros(_padded(x.shape, place.shape, axes, size, stride, low), x.dtype)
    whole[_inside(x.shape, axes, low)] = x
    out = xp.zeros(place.shape, x.dtype)
    for number, box in _taps(place.shape, axes, size, stride):
        out = xp.where(place == number, whole[box], out)
    return out


def _take_back(
    g: Node, y: Node, x: Node, place: Node, size: Shape, stride: Shape, low: Shape, axes: Shape
) -> Node:
    space = tuple(x.shape[a] for a in axes)
    return pool_put(g, place, space=space, size=size, stride=stride, low=low, axes=axes)


def _put_infer(
    g: Node, place: Node, space: Shape, size: Shape, stride: Shape, low: Shape, axes: Shape
) -> tuple[Shape, dtype]:
    return _with_space(g.shape, axes, space), g.dtype


def _put_reference(
    xp: Any, g: Any, place: Any, space: Shape, size: Shape, stride: Shape, low: Shape, axes: Shape
) -> Any:
    shape = _with_space(g.shape, axes, space)
    whole = xp.zeros(_padded(shape, g.shape, axes, size, stride, low), g.dtype)
    zero = xp.zeros((), g.dtype)
    for number, box in _taps(g.shape, axes, size, stride):
        whole[box] += xp.where(place == number, g, zero)
    return whole[_inside(shape, axes, low)].copy()


def _put_back(
    g: Node,
    y: Node,
    x: Node,
    place: Node,
    space: Shape,
    size: Shape,
    stride: Shape,
    low: Shape,
    axes: Shape,
) -> Node:
    return pool_take(g, place, size=size, stride=stride, low=low, axes=axes)


pool_take = Primitive(
    "pool_take", "library", _take_infer, _take_reference, (_take_back, None)
).register()
"""The element at ``place`` of each window of x; result of ``place``'s shape, 0 for the padding."""

pool_put = Primitive(
    "pool_put", "library", _put_infer, _put_reference, (_put_back, None)
).register()
"""Adds each element of g to the element of a zero array that ``pool_take`` reads it from."""
