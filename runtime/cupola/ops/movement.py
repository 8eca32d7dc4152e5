"""Movement primitives: index maps that cost no kernel and fuse into whatever reads them."""

from __future__ import annotations

import builtins
import math
from typing import Any

from cupola.dtypes import dtype as DType
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops.reduce import sum as reduce_sum

Shape = tuple[int, ...]
Result = tuple[Shape, DType]


# --- expand, reshape, permute, flip


def _expand_infer(x: Node, shape: Shape) -> Result:
    if len(shape) != len(x.shape) or any(
        a not in (1, b) for a, b in zip(x.shape, shape, strict=True)
    ):
        raise RuntimeError(f"expand: {list(x.shape)} does not broadcast to {list(shape)}")
    return shape, x.dtype


def _expand_back(g: Node, y: Node, x: Node, shape: Shape) -> Node:
    dims = tuple(i for i, (a, b) in enumerate(zip(x.shape, shape, strict=True)) if a != b)
    return reduce_sum(g, dims=dims) if dims else g


expand = Primitive(
    "expand",
    "movement",
    _expand_infer,
    lambda xp, x, shape: xp.broadcast_to(x, shape),
    (_expand_back,),
).register()


def _reshape_infer(x: Node, shape: Shape) -> Result:
    if math.prod(shape) != math.prod(x.shape):
        raise RuntimeError(
            f"shape '{list(shape)}' is invalid for input of size {math.prod(x.shape)}"
        )
    return shape, x.dtype


reshape = Primitive(
    "reshape",
    "movement",
    _reshape_infer,
    lambda xp, x, shape: x.reshape(shape),
    (lambda g, y, x, shape: reshape(g, shape=x.shape),),
).register()


def inverse_permutation(dims: Shape) -> Shape:
    """The permutation that undoes ``dims``."""
    out = [0] * len(dims)
    for i, d in enumerate(dims):
        out[d] = i
    return tuple(out)


permute = Primitive(
    "permute",
    "movement",
    lambda x, dims: (tuple(x.shape[d] for d in dims), x.dtype),
    lambda xp, x, dims: x.transpose(dims),
    (lambda g, y, x, dims: permute(g, dims=inverse_permutation(dims)),),
).register()
flip = Primitive(
    "flip",
    "movement",
    lambda x, dims: (x.shape, x.dtype),
    lambda xp, x, dims: xp.flip(x, dims),
    (lambda g, y, x, dims: flip(g, dims=dims),),
).register()

# --- slice, pad, slice_update


def _extent(start: int, stop: int, step: int) -> int:
    return max(0, -(-(stop - start) // step))


def _slice_infer(x: Node, starts: Shape, stops: Shape, steps: Shape) -> Result:
    return tuple(_extent(*t) for t in zip(starts, stops, steps, strict=True)), x.dtype


def _box(starts: Shape, stops: Shape, steps: Shape) -> tuple[builtins.slice, ...]:
    return tuple(builtins.slice(*t) for t in zip(starts, stops, steps, strict=True))


def _slice_back(g: Node, y: Node, x: Node, starts: Shape, stops: Shape, steps: Shape) -> Node:
    if all(s == 1 for s in steps):
        pairs = tuple((a, n - a - k) for a, n, k in zip(starts, x.shape, y.shape, strict=True))
        return pad(g, pairs=pairs, value=0)
    zeros = like_shape(g, x.shape)
    return slice_update(zeros, g, starts=starts, stops=stops, steps=steps)


def like_shape(g: Node, shape: Shape, value: Any = 0) -> Node:
    """A constant of another shape with the dtype and device of ``g``."""
    from cupola.ir.source import const

    return const(value, shape, g.dtype, g.device)


slice = Primitive(
    "slice",
    "movement",
    _slice_infer,
    lambda xp, x, starts, stops, steps: x[_box(starts, stops, steps)],
    (_slice_back,),
).register()


def _pad_infer(x: Node, pairs: tuple[tuple[int, int], ...], value: Any) -> Result:
    return tuple(n + lo + hi for n, (lo, hi) in zip(x.shape, pairs, strict=True)), x.dtype


def _pad_reference(xp: Any, x: Any, pairs: tuple[tuple[int, int], ...], value: Any) -> Any:
    return xp.pad(x, pairs, constant_values=value)


def _pad_back(g: Node, y: Node, x: Node, pairs: tuple[tuple[int, int], ...], value: Any) -> Node:
    starts = tuple(lo for lo, _ in pairs)
    stops = tuple(lo + n for (lo, _), n in zip(pairs, x.shape, strict=True))
    return slice(g, starts=starts, stops=stops, steps=(1,) * len(pairs))


# Pads are non-negative here; the functional layer turns negative padding into a slice.
pad = Primitive("pad", "movement", _pad_infer, _pad_reference, (_pad_back,)).register()


def _update_reference(xp: Any, x: Any, v: Any, starts: Shape, stops: Shape, steps: Shape) -> Any:
    out = x.copy()
    out[_box(starts, stops, steps)] = v
    return out


def _update_base_back(
    g: Node, y: Node, x: Node, v: Node, starts: Shape, stops: Shape, steps: Shape
) -> Node:
    return slice_update(g, like_shape(g, v.shape), starts=starts, stops=stops, steps=steps)


def _update_value_back(
    g: Node, y: Node, x: Node, v: Node, starts: Shape, stops: Shape, steps: Shape
) -> Node:
    return slice(g, starts=starts, stops=stops, steps=steps)


slice_update = Primitive(
    "slice_update",
    "library",
    lambda x, v, starts, stops, steps: (x.shape, x.dtype),
    _update_reference,
    (_update_base_back, _update_value_back),
).register()

# --- sliding windows


def _window_infer(x: Node, size: Shape, stride: Shape, dilation: Shape) -> Result:
    k = len(size)
    lead, space = x.shape[: x.ndim - k], x.shape[x.ndim - k :]
    out = tuple(
        (n - d * (w - 1) - 1) // s + 1
        for n, w, s, d in zip(space, size, stride, dilation, strict=True)
    )
    return (*lead, *out, *size), x.dtype


def _window_reference(xp: Any, x: Any, size: Shape, stride: Shape, dilation: Shape) -> Any:
    k = len(size)
    lead = x.ndim - k
    out = tuple(
        (n - d * (w - 1) - 1) // s + 1
        for n, w, s, d in zip(x.shape[lead:], size, stride, dilation, strict=True)
    )
    steps = x.strides
    strides = (
        *steps[:lead],
        *(a * s for a, s in zip(steps[lead:], stride, strict=True)),
        *(a * d for a, d in zip(steps[lead:], dilation, strict=True)),
    )
    return xp.lib.stride_tricks.as_strided(x, (*x.shape[:lead], *out, *size), strides)


def _window_back(g: Node, y: Node, x: Node, size: Shape, stride: Shape, dilation: Shape) -> Node:
    return fold(g, shape=x.shape, size=size, stride=stride, dilation=dilation)


window = Primitive(
    "window", "movement", _window_infer, _window_reference, (_window_back,)
).register()


def _fold_reference(
    xp: Any, g: Any, shape: Shape, size: Shape, stride: Shape, dilation: Shape
) -> Any:
    k = len(size)
    lead = len(shape) - k
    out = xp.zeros(shape, g.dtype)
    places = g.shape[lead : lead + k]
    import itertools

    for tap in itertools.product(*(range(w) for w in size)):
        box = tuple(
            builtins.slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, places, stride, strict=True)
        )
        out[(..., *box)] += g[(..., *tap)]
    return out


# Adds overlapping windows up again: the adjoint of ``window``.
fold = Primitive(
    "fold",
    "library",
    lambda g, shape, size, stride, dilation: (shape, g.dtype),
    _fold_reference,
    (
        lambda g, y, x, shape, size, stride, dilation: window(
            g, size=size, stride=stride, dilation=dilation
        ),
    ),
).register()

# --- arbitrary strides


def strided_index(xp: Any, shape: Shape, strides: Shape, offset: int) -> Any:
    """Flat positions that a strided view touches, in the view's shape."""
    index = xp.full(shape, offset, dtype=xp.int64)
    for axis, (n, s) in enumerate(zip(shape, strides, strict=True)):
        steps = xp.arange(n, dtype=xp.int64) * s
        index += steps.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return index


def _strided_reference(xp: Any, x: Any, shape: Shape, strides: Shape, offset: int) -> Any:
    return x.reshape(-1)[strided_index(xp, shape, strides, offset)]


def _strided_add_reference(
    xp: Any, g: Any, shape: Shape, strides: Shape, offset: int, into: Shape
) -> Any:
    out = xp.zeros(math.prod(into), g.dtype)
    xp.add.at(out, strided_index(xp, shape, strides, offset).reshape(-1), g.reshape(-1))
    return out.reshape(into)


as_strided = Primitive(
    "as_strided",
    "library",
    lambda x, shape, strides, offset: (shape, x.dtype),
    _strided_reference,
    (
        lambda g, y, x, shape, strides, offset: as_strided_add(
            g, shape=shape, strides=strides, offset=offset, into=x.shape
        ),
    ),
).register()
as_strided_add = Primitive(
    "as_strided_add",
    "library",
    lambda g, shape, strides, offset, into: (into, g.dtype),
    _strided_add_reference,
    (
        lambda g, y, x, shape, strides, offset, into: as_strided(
            g, shape=shape, strides=strides, offset=offset
        ),
    ),
).register()


def _strided_update_reference(
    xp: Any, x: Any, v: Any, shape: Shape, strides: Shape, offset: int
) -> Any:
    out = x.reshape(-1).copy()
    index = strided_index(xp, shape, strides, offset)
    changed = v != out[index]  # where places repeat, what was not written must not come back
    out[index[changed]] = v[changed]
    return out.reshape(x.shape)


as_strided_update = Primitive(
    "as_strided_update",
    "library",
    lambda x, v, shape, strides, offset: (x.shape, x.dtype),
    _strided_update_reference,
    (
        lambda g, y, x, v, shape, strides, offset: as_strided_update(
            g, like_shape(g, v.shape), shape=shape, strides=strides, offset=offset
        ),
        lambda g, y, x, v, shape, strides, offset: as_strided(
            g, shape=shape, strides=strides, offset=offset
        ),
    ),
).register()

# --- joining


def _cat_infer(*xs: Node, dim: int) -> Result:
    first = list(xs[0].shape)
    first[dim] = sum(x.shape[dim] for x in xs)
    return tuple(first), xs[0].dtype


class _CatRules:
    """One gradient rule for each of any number of inputs: the input's own slice."""

    def __getitem__(self, k: int) -> Any:
        def rule(g: Node, y: Node, *xs: Node, dim: int) -> Node:
            starts = [0] * g.ndim
            stops = list(g.shape)
            starts[dim] = sum(x.shape[dim] for x in xs[:k])
            stops[dim] = starts[dim] + xs[k].shape[dim]
            return slice(g, starts=tuple(starts), stops=tuple(stops), steps=(1,) * g.ndim)

        return rule


cat = Primitive(
    "cat",
    "library",
    _cat_infer,
    lambda xp, *xs, dim: xp.concatenate(xs, axis=dim),
    _CatRules(),  # type: ignore[arg-type]
).register()

# --- positions


def _iota_reference(xp: Any, x: Any, dim: int) -> Any:
    shape = [1] * x.ndim
    shape[dim] = -1
    return xp.broadcast_to(xp.arange(x.shape[dim], dtype=x.dtype).reshape(shape), x.shape)


# The coordinate along ``dim``; its operand gives shape, dtype (int64) and device only.
iota = Primitive(
    "iota", "elementwise", lambda x, dim: (x.shape, x.dtype), _iota_reference
).register()
copy = Primitive(
    "copy",
    "library",
    lambda x, **_: (x.shape, x.dtype),
    lambda xp, x: x.copy(),
    (lambda g, y, x: g,),
).register()


def _transfer_back(g: Node, y: Node, x: Node, device: Any) -> Node:
    return to_device(g, x.device)


transfer = Primitive(
    "transfer", "library", lambda x, device: (x.shape, x.dtype), None, (_transfer_back,)
).register()


def to_device(x: Node, device: Device) -> Node:
    """``x`` as a value of a device: itself if it is there already."""
    if x.device is device:
        return x
    out = transfer(x, device=device)
    out.device, out.kind = device, None
    return out
