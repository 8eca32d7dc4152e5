"""Operators, subscripts and conversions of the array object."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.array_api import arithmetic as ar
from cupola.array_api import elementwise as ew
from cupola.array_api.array_object import Array, as_array
from cupola.array_api.linear_algebra import matmul
from cupola.functional._register import in_place
from cupola.ops import movement as mv
from cupola.tensor import Tensor
from cupola.tensor.create import of_array

_BINARY: dict[str, Any] = {
    "add": ar.add,
    "sub": ar.subtract,
    "mul": ar.multiply,
    "truediv": ar.divide,
    "floordiv": ar.floor_divide,
    "mod": ar.remainder,
    "pow": ar.pow,
    "and": ar.bitwise_and,
    "or": ar.bitwise_or,
    "xor": ar.bitwise_xor,
    "lshift": ar.bitwise_left_shift,
    "rshift": ar.bitwise_right_shift,
    "matmul": matmul,
}
_COMPARISONS = {
    "eq": ar.equal,
    "ne": ar.not_equal,
    "lt": ar.less,
    "le": ar.less_equal,
    "gt": ar.greater,
    "ge": ar.greater_equal,
}
_UNARY = {
    "abs": ew.abs,
    "neg": ew.negative,
    "pos": ew.positive,
    "invert": ew.bitwise_invert,
}


def _defined(other: Any) -> bool:
    return isinstance(other, (Tensor, bool, int, float, complex))


def _operator(name: str, f: Any) -> None:
    """``__name__`` by the standard's function; with other objects, as Tensor has it."""
    theirs = getattr(Tensor, name)

    def method(self: Any, other: Any, /) -> Any:
        return f(self, other) if _defined(other) else theirs(self, other)

    _attach(name, method, f)


def _reflected(name: str, f: Any) -> None:
    theirs = getattr(Tensor, name, None)

    def method(self: Any, other: Any, /) -> Any:
        if _defined(other):
            return f(other, self)
        return theirs(self, other) if theirs is not None else NotImplemented

    _attach(name, method, f)


def _augmented(name: str, f: Any) -> None:
    """``__iname__``: dtype and shape stay the array's.

    Raises:
        TypeError: the result has another dtype.
    """

    def compute(self: Any, other: Any) -> Any:
        out = f(self, other)
        if out.dtype is not self.dtype:
            raise TypeError(
                f"{name}: the result is {out.dtype.name}, and the array is {self.dtype.name}"
            )
        return out

    write = in_place(compute, name)

    def method(self: Any, other: Any, /) -> Any:
        if not _defined(other):
            other = Tensor.__array_priority__ and _converted(other)
        return write(self, other)

    _attach(name, method, f)


def _converted(other: Any) -> Any:
    from cupola.array_api.creation import asarray

    return asarray(other)


def _attach(name: str, method: Any, f: Any) -> None:
    method.__name__ = name
    method.__qualname__ = f"Array.{name}"
    method.__doc__ = f"The operator of ``{f.__name__}``."
    setattr(Array, name, method)


def _unary(name: str, f: Any) -> None:
    def method(self: Any, /) -> Any:
        return f(self)

    _attach(name, method, f)


for _name, _f in _BINARY.items():
    _operator(f"__{_name}__", _f)
    _reflected(f"__r{_name}__", _f)
    _augmented(f"__i{_name}__", _f)
for _name, _f in _COMPARISONS.items():
    _operator(f"__{_name}__", _f)
for _name, _f in _UNARY.items():
    _unary(f"__{_name}__", _f)
Array.__hash__ = Tensor.__hash__  # type: ignore[method-assign]


# --- subscripts


def _uses(item: Any) -> int:
    """How many dimensions an item of a subscript uses up."""
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype is dtypes.bool else 1


def _forward(shape: tuple[int, ...], key: Any) -> tuple[Any, tuple[int, ...]]:
    """The subscript without negative steps, and the dimensions to flip before it is applied."""
    items = list(key) if isinstance(key, tuple) else [key]
    used = sum(_uses(i) for i in items)
    flipped: list[int] = []
    d = 0
    for k, item in enumerate(items):
        if item is Ellipsis:
            d += len(shape) - used
        elif isinstance(item, slice) and d < len(shape):
            step = 1 if item.step is None else int(item.step)
            if step < 0:
                n = shape[d]
                chosen = range(n)[item]
                flipped.append(d)
                first = n - 1 - chosen[0] if len(chosen) else 0
                last = n - chosen[-1] if len(chosen) else 0
                items[k] = slice(first, last, -step)
            d += 1
        elif isinstance(item, Tensor) and item.dtype.category == 1:
            items[k] = item if item.dtype is dtypes.int64 else item.to(dtypes.int64)
            d += 1
        else:
            if isinstance(item, Tensor) and item.dtype is dtypes.bool and 0 in item.shape:
                items[k] = _nothing(item, shape[d : d + item.ndim])
            d += _uses(item)
    return (tuple(items) if isinstance(key, tuple) else items[0]), tuple(flipped)


def _one(key: Any, x: Any) -> bool:
    """Whether a subscript is an integer for each dimension."""
    if type(key) is int:
        return len(x.shape) == 1
    return type(key) is tuple and len(key) == len(x.shape) and all(type(k) is int for k in key)


def _nothing(mask: Any, shape: tuple[int, ...]) -> Any:
    """A mask without elements chooses nothing of any size that its other dimensions fit."""
    fits = len(shape) == mask.ndim and all(m in (0, n) for m, n in zip(mask.shape, shape))
    return mask.new_zeros(shape) if fits else mask


def _getitem(self: Any, key: Any, /) -> Any:
    """Elements; slices may run backwards. One element is a copy, where no gradient is recorded."""
    if _one(key, self) and not self.requires_grad and self.device.type == "cpu":
        return as_array(of_array(np.asarray(engine.to_numpy(self.node)[key])))
    forward, flipped = _forward(self.shape, key)
    source = Tensor.view_by(self, mv.flip, dims=flipped) if flipped else self
    return as_array(Tensor.__getitem__(source, forward), self)


def _setitem(self: Any, key: Any, value: Any, /) -> None:
    """Writes elements; slices may run backwards."""
    forward, flipped = _forward(self.shape, key)
    target = Tensor.view_by(self, mv.flip, dims=flipped) if flipped else self
    Tensor.__setitem__(target, forward, value)


def _iterate(self: Any) -> Any:
    if self.ndim == 0:
        raise TypeError("iteration over an array of no dimensions")
    return (self[k] for k in range(len(self)))


Array.__getitem__ = _getitem  # type: ignore[attr-defined]
Array.__setitem__ = _setitem  # type: ignore[attr-defined]
Array.__iter__ = _iterate  # type: ignore[attr-defined]
