"""Views that read the same memory as another dtype: parts of complex numbers, pairs of real
numbers as complex ones, bits.

They are steps of a view's chain as movements are, but not primitives: each is a composition of
some, and knows what a write through it leaves in the memory behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.dtypes import dtype as DType
from cupola.ir import source
from cupola.ir.node import Node
from cupola.ops import elementwise as ew
from cupola.ops import movement


class Reread:
    """A step that reads memory as another dtype.

    Attributes:
        reference: the step on NumPy arrays, (numpy, array, **attrs); its result shares memory.
        written: (base, value, **attrs) to the base after ``value`` was written through the step.
        shape: (shape, **attrs) of the base to that of the view.
        strides: (strides, offset, **attrs) of the base to those of the view, in elements of each.
    """

    __slots__ = ("_call", "name", "reference", "shape", "strides", "written")

    def __init__(
        self,
        name: str,
        call: Callable[..., Node],
        reference: Callable[..., Any],
        written: Callable[..., Node],
        shape: Callable[..., tuple[int, ...]],
        strides: Callable[..., Any],
    ) -> None:
        self.name = name
        self._call = call
        self.reference = reference
        self.written = written
        self.shape = shape
        self.strides = strides

    def __call__(self, x: Node, **attrs: Any) -> Node:
        return self._call(x, **attrs)


def _part(primitive: Any) -> Callable[[Node], Node]:
    """A part of complex numbers; of complex32 by way of complex64."""

    def part(x: Node) -> Node:
        if x.dtype is not dtypes.complex32:
            return primitive(x)  # type: ignore[no-any-return]
        return ew.cast(primitive(ew.cast(x, dtype=dtypes.complex64)), dtype=dtypes.float16)

    return part


def joined(re: Node, im: Node) -> Node:
    """Complex numbers from parts of one dtype and shape; of halves by way of complex64."""
    if re.dtype is not dtypes.float16:
        return ew.complex(re, im)
    wide = (ew.cast(x, dtype=dtypes.float32) for x in (re, im))
    return ew.cast(ew.complex(*wide), dtype=dtypes.complex32)


_real, _imag = _part(ew.real), _part(ew.imag)


def _column(x: Node) -> Node:
    return movement.reshape(x, shape=(*x.shape, 1))


def _pairs(x: Node) -> Node:
    return movement.cat(_column(_real(x)), _column(_imag(x)), dim=x.ndim)


def _half(x: Node, k: int) -> Node:
    lead = x.ndim - 1
    starts, stops = (0,) * lead + (k,), (*x.shape[:-1], k + 1)
    part = movement.slice(x, starts=starts, stops=stops, steps=(1,) * x.ndim)
    return movement.reshape(part, shape=x.shape[:-1])


def _joined(x: Node) -> Node:
    return joined(_half(x, 0), _half(x, 1))


def _bits(x: Node, dtype: DType) -> Node:
    if dtype is x.dtype:
        return movement.reshape(x, shape=x.shape)
    if dtype.itemsize == x.dtype.itemsize:
        return ew.bitcast(x, dtype=dtype)
    if x.device.type == "meta":
        last = x.shape[-1] * x.dtype.itemsize // dtype.itemsize
        return source.const(0, (*x.shape[:-1], last), dtype, x.device)
    from cupola.tensor.create import of_array

    array = np.ascontiguousarray(engine.to_numpy(x)).reshape(x.shape)
    return of_array(array.view(dtype.np), x.device).node


def _named(field: str, part: str) -> Callable[..., Any]:
    """A part of an array; complex32 is a pair of halves."""
    return lambda xp, x: x[field] if x.dtype.names is not None else getattr(x, part)


def _pairs_of(xp: Any, x: Any) -> Any:
    first = x["re"] if x.dtype.names is not None else x.real
    steps = (*first.strides, first.itemsize)
    return np.lib.stride_tricks.as_strided(first, (*first.shape, 2), steps)


def _joined_of(xp: Any, x: Any) -> Any:
    to = {2: dtypes.complex32, 4: dtypes.complex64, 8: dtypes.complex128}[x.itemsize]
    return x.view(to.np)[..., 0]


def _scaled(steps: Any, ratio: float) -> Any:
    return tuple(int(s * ratio) for s in steps)


def _bit_shape(shape: Any, dtype: DType, ratio: float) -> Any:
    return shape if ratio == 1 else (*shape[:-1], int(shape[-1] * ratio))


def _bit_strides(steps: Any, offset: int, dtype: DType, ratio: float) -> Any:
    if ratio == 1:
        return steps, offset
    return (*_scaled(steps[:-1], ratio), 1), int(offset * ratio)


REAL = Reread(
    "real",
    _real,
    _named("re", "real"),
    lambda base, value: joined(value, _imag(base)),
    lambda shape: shape,
    lambda steps, offset: (_scaled(steps, 2), 2 * offset),
)
IMAG = Reread(
    "imag",
    _imag,
    _named("im", "imag"),
    lambda base, value: joined(_real(base), value),
    lambda shape: shape,
    lambda steps, offset: (_scaled(steps, 2), 2 * offset + 1),
)
# Real and imaginary part as a last dimension of size 2, and back.
PAIRS = Reread(
    "view_as_real",
    _pairs,
    _pairs_of,
    lambda base, value: _joined(value),
    lambda shape: (*shape, 2),
    lambda steps, offset: ((*_scaled(steps, 2), 1), 2 * offset),
)
JOINED = Reread(
    "view_as_complex",
    _joined,
    _joined_of,
    lambda base, value: _pairs(value),
    lambda shape: shape[:-1],
    lambda steps, offset: (_scaled(steps[:-1], 0.5), offset // 2),
)
# The bits as another dtype (attrs: ``dtype`` and ``ratio``, how many elements of it make one); no
# gradient passes.
BITS = Reread(
    "view",
    lambda x, dtype, ratio: _bits(x, dtype),
    lambda xp, x, dtype, ratio: x.view(dtype.np),
    lambda base, value, dtype, ratio: _bits(value, base.dtype),
    _bit_shape,
    _bit_strides,
)


def flat_as(shape: tuple[int, ...], old: DType, new: DType) -> tuple[Any, ...]:
    """The steps that read row-major memory of ``shape`` as a flat array of another dtype."""
    if old is new:
        return ()
    count = math.prod(shape)
    if old.is_complex and old.to_real() is new:
        return (PAIRS, {}), (movement.reshape, {"shape": (2 * count,)})
    if new.is_complex and new.to_real() is old:
        return (movement.reshape, {"shape": (count // 2, 2)}), (JOINED, {})
    ratio = old.itemsize / new.itemsize
    return (movement.reshape, {"shape": (count,)}), (BITS, {"dtype": new, "ratio": ratio})
