"""Manipulation and indexing functions."""

from __future__ import annotations

import math
from typing import Any

import cupola
from cupola import dtypes
from cupola.array_api.array_object import standard
from cupola.array_api.data_types import common
from cupola.array_api.statistical import Axis
from cupola.tensor import Tensor


@standard
def broadcast_arrays(*arrays: Any) -> Any:
    """Arrays expanded to their common shape."""
    shape = broadcast_shapes(*(x.shape for x in arrays)) if arrays else ()
    return tuple(x.expand(shape) for x in arrays)


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The common shape.

    Raises:
        ValueError: the shapes do not broadcast.
    """
    try:
        return tuple(cupola.broadcast_shapes(*shapes)) if shapes else ()
    except RuntimeError as error:
        raise ValueError(str(error)) from None


@standard
def broadcast_to(x: Any, /, shape: Any) -> Any:
    """An array expanded to a shape."""
    if broadcast_shapes(x.shape, shape) != tuple(shape):
        raise ValueError(f"broadcast_to: {tuple(x.shape)} does not expand to {tuple(shape)}")
    return x.expand(tuple(shape))


@standard
def concat(arrays: Any, /, *, axis: int | None = 0) -> Any:
    """Arrays joined along an axis that they have; without one, flattened first."""
    found = common(*arrays)
    parts = [x.to(found) for x in arrays]
    if axis is None:
        parts, axis = [x.reshape(-1) for x in parts], 0
    for x in parts:
        if not -x.ndim <= axis < x.ndim:
            raise IndexError(f"concat: axis {axis} of an array of {x.ndim} dimensions")
    dim = axis % parts[0].ndim
    for x in parts:  # torch skips empty vectors whatever the other shapes are
        if x.ndim != parts[0].ndim:
            raise ValueError("concat: the arrays have different numbers of dimensions")
    out = cupola.cat(parts, dim)
    return out.clone() if any(out is x for x in arrays) else out


@standard
def expand_dims(x: Any, /, axis: int) -> Any:
    """A dimension of 1 inserted at a position."""
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise IndexError(f"expand_dims: axis {axis} for an array of {x.ndim} dimensions")
    return x.unsqueeze(axis)


@standard
def flip(x: Any, /, *, axis: Axis = None) -> Any:
    """Elements in reverse order along axes, all by default."""
    if axis is None:
        axes = tuple(range(x.ndim))
    else:
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return cupola.flip(x, axes) if axes else x.clone()


def _tuple(v: Any) -> tuple[int, ...]:
    return (v,) if isinstance(v, int) else tuple(v)


@standard
def moveaxis(x: Any, source: Any, destination: Any, /) -> Any:
    """Dimensions moved to other positions."""
    return cupola.movedim(x, _tuple(source), _tuple(destination))


@standard
def permute_dims(x: Any, /, axes: Any) -> Any:
    """Dimensions in another order."""
    return x.permute(tuple(axes))


@standard
def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Any:
    """Each element several times, along an axis or flattened."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    if isinstance(repeats, Tensor):
        repeats = repeats.to(dtypes.int64).reshape(-1)
        if repeats.shape[0] == 1:
            repeats = repeats.expand(x.shape[axis])
    return cupola.repeat_interleave(x, repeats, axis)


@standard
def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    """The same elements in another shape; one size may be -1.

    Raises:
        ValueError: the sizes do not fit, or ``copy=False`` and a copy is needed.
    """
    shape = tuple(shape)
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        if known == 0 or x.numel() % known or shape.count(-1) > 1:
            raise ValueError(f"reshape: {tuple(x.shape)} has no shape {shape}")
        shape = tuple(x.numel() // known if n == -1 else n for n in shape)
    if math.prod(shape) != x.numel():
        raise ValueError(f"reshape: {tuple(x.shape)} has no shape {shape}")
    if copy is False:
        try:
            return x.view(shape)
        except RuntimeError as error:
            raise ValueError(f"reshape: copy=False, and a copy is needed: {error}") from None
    out = x.reshape(shape)
    return out.clone() if copy else out


@standard
def roll(x: Any, /, shift: Any, *, axis: Axis = None) -> Any:
    """Elements moved along axes, the last ones to the front; without an axis, flattened."""
    if axis is None:
        return cupola.roll(x.reshape(-1), sum(_tuple(shift))).reshape(x.shape)
    shifts, axes = _tuple(shift), _tuple(axis)
    if len(shifts) == 1:
        shifts *= len(axes)
    elif len(axes) == 1:
        axes *= len(shifts)
    out = x
    for s, a in zip(shifts, axes, strict=True):
        out = cupola.roll(out, s, a) if x.shape[a] else out
    return out.clone() if out is x else out


@standard
def squeeze(x: Any, /, axis: Any) -> Any:
    """Dimensions of 1 removed.

    Raises:
        ValueError: a dimension is not 1.
        IndexError: an axis out of range.
    """
    axes = set()
    for a in _tuple(axis):
        if not -x.ndim <= a < x.ndim:
            raise IndexError(f"squeeze: axis {a} for an array of {x.ndim} dimensions")
        if x.shape[a] != 1:
            raise ValueError(f"squeeze: axis {a} has {x.shape[a]} elements, not 1")
        axes.add(a % x.ndim)
    return x.reshape(tuple(n for d, n in enumerate(x.shape) if d not in axes))


@standard
def stack(arrays: Any, /, *, axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis."""
    found = common(*arrays)
    return cupola.stack([x.to(found) for x in arrays], axis)


@standard
def tile(x: Any, repetitions: Any, /) -> Any:
    """The array repeated along its dimensions."""
    out = cupola.tile(x, tuple(repetitions))
    return out.clone() if out is x else out


@standard
def unstack(x: Any, /, *, axis: int = 0) -> Any:
    """The arrays of one dimension less that an axis holds."""
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(f"unstack: axis {axis} for an array of {x.ndim} dimensions")
    return tuple(x.unbind(axis))


@standard
def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Elements at positions along an axis."""
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: an axis must be given for {x.ndim} dimensions")
        axis = 0
    key = (slice(None),) * (axis % x.ndim) + (indices.to(dtypes.int64),)
    return Tensor.__getitem__(x, key)


@standard
def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """Elements at positions along an axis, matched with the other dimensions."""
    return cupola.take_along_dim(x, indices.to(dtypes.int64), axis)
