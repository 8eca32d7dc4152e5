"""The names outside of PyTorch that a checkpoint may use: Python's and NumPy's plain data.

Each is a function written here, which checks its arguments; none of the named callables is called
with arguments from the file except where that can only make data of a size that the file paid for.
Python frees deep nests of some types recursively in C, which a hostile file could use to overflow
the stack. So there are no slices and ranges of anything but integers, no deques and no object
arrays, and only so many defaultdicts.
"""

from __future__ import annotations

import argparse
import re
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cupola.io.errors import CheckpointError, short
from cupola.io.unpickler import checked_key

_PLAIN_DTYPE = re.compile(r"[<>=|]?(b1|\?|i[1248]|u[1248]|f[248]|c8|c16|[SUV][0-9]{1,9})")
_PENDING = object()
_MAX_DEFAULTDICTS = 1000


class PlainRules:
    """What Python and NumPy objects in a pickle stand for. One instance reads one pickle."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = dict(_VALUES)
        self.calls: dict[int, Callable[[tuple[Any, ...]], Any]] = {
            id(value): call for value, call in _CALLS
        }
        self._unbuilt: dict[int, Any] = {}
        self._defaultdicts = 0
        self.calls[id(defaultdict)] = self._defaultdict
        reconstruct = self._reconstruct  # each look-up of a method gives a new object
        self.values |= {"numpy.dtype": np.dtype, "numpy.ndarray": np.ndarray}
        self.calls |= {id(np.dtype): self._dtype, id(reconstruct): reconstruct}
        for package in ("numpy.core", "numpy._core"):
            self.values[f"{package}.multiarray._reconstruct"] = reconstruct
            self.values[f"{package}.multiarray.scalar"] = _scalar
            self.values[f"{package}.numeric._frombuffer"] = _frombuffer

    def _dtype(self, args: tuple[Any, ...]) -> Any:
        name = args[0] if args else None
        if type(name) is not str or not _PLAIN_DTYPE.fullmatch(name):
            raise CheckpointError(f"the NumPy dtype {short(name)} is not plain data; refused")
        # Its own copy, because the pickle sets the byte order afterwards.
        dtype = np.dtype(name, copy=True)
        self._unbuilt[id(dtype)] = dtype
        return dtype

    def _reconstruct(self, args: tuple[Any, ...]) -> Any:
        if len(args) != 3 or args[0] is not np.ndarray:
            raise CheckpointError("a NumPy array subclass is not read from checkpoints")
        array = np.empty(0, np.int8)
        self._unbuilt[id(array)] = array
        return array

    def _defaultdict(self, args: tuple[Any, ...]) -> Any:
        if args and args[0] is not None and not any(args[0] is kind for kind in _FACTORIES):
            raise CheckpointError("a defaultdict in the pickle has a factory that it may not have")
        self._defaultdicts += 1
        if self._defaultdicts > _MAX_DEFAULTDICTS:
            raise CheckpointError(f"the pickle has more than {_MAX_DEFAULTDICTS} defaultdicts")
        return defaultdict(args[0] if args else None, _mapping(args[1:]))

    def build(self, instance: Any, state: Any) -> None:
        """The BUILD opcode for the plain types."""
        if isinstance(instance, (np.ndarray, np.dtype)):
            # Only what this pickle made and has not finished: an array that a tensor already
            # shares memory with must not be given another buffer.
            if self._unbuilt.pop(id(instance), _PENDING) is not instance:
                raise CheckpointError("a NumPy object is given its state twice")
            if isinstance(instance, np.dtype):
                _build_dtype(instance, state)
            else:
                _build_array(instance, state)
        elif type(instance) in (OrderedDict, argparse.Namespace, types.SimpleNamespace):
            vars(instance).update(attributes(type(instance), state))
        else:
            raise CheckpointError(
                f"the pickle sets the state of a {type(instance).__name__}, which it may not"
            )


def attributes(kind: type, state: Any) -> Mapping[str, Any]:
    """`state` as a mapping of attribute names, none of which hides a method of `kind`."""
    if type(state) is not dict or not all(type(name) is str for name in state):
        raise CheckpointError(f"the attributes of a {kind.__name__} are not a dictionary of names")
    for name in state:
        if hasattr(kind, name):
            raise CheckpointError(f"the pickle replaces {kind.__name__}.{name}; refused")
    return state


def _build_dtype(dtype: np.dtype[Any], state: Any) -> None:
    if type(state) is not tuple or len(state) < 8 or state[2:5] != (None, None, None):
        raise CheckpointError("a structured NumPy dtype is not read from checkpoints")
    if state[1] == ">":
        dtype.__setstate__((3, ">", None, None, None, -1, -1, 0))  # type: ignore[attr-defined]
    elif state[1] not in ("<", "|", "="):
        raise CheckpointError(f"a NumPy dtype has the byte order {short(state[1])}")


def _build_array(array: np.ndarray, state: Any) -> None:
    if type(state) is not tuple or len(state) != 5:
        raise CheckpointError("a NumPy array's state is damaged")
    _, shape, dtype, fortran, data = state
    _check_array(shape, dtype, data)
    target: Any = array
    target.__setstate__((1, shape, dtype, bool(fortran), bytes(data)))


def _check_array(shape: Any, dtype: Any, data: Any) -> None:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise CheckpointError("a NumPy array of Python objects is not read from checkpoints")
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise CheckpointError(f"a NumPy array has the shape {short(shape)}")
    if not isinstance(data, (bytes, bytearray)):
        raise CheckpointError("a NumPy array's data are not bytes")
    count = 1
    for n in shape:
        count *= n
    if count * dtype.itemsize != len(data):
        raise CheckpointError(
            f"a NumPy array of shape {short(shape)} and dtype {dtype} comes with {len(data)} bytes"
        )


def _scalar(dtype: Any, data: Any) -> Any:
    _check_array((), dtype, data)
    return np.frombuffer(data, dtype, 1)[0]


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    _check_array(shape, dtype, data)
    if order not in ("C", "F"):
        raise CheckpointError(f"a NumPy array has the order {short(order)}")
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order=order)


def _encode(args: tuple[Any, ...]) -> bytes:
    """How protocol 2 writes bytes: the text whose latin-1 encoding they are."""
    if len(args) != 2 or type(args[0]) is not str or args[1] not in ("latin1", "latin-1"):
        raise CheckpointError("bytes in the pickle are not written as latin-1 text")
    return args[0].encode("latin-1")


def _bytearray(args: tuple[Any, ...]) -> bytearray:
    if len(args) == 2:
        return bytearray(_encode((args[0], "latin1" if args[1] == "latin-1" else args[1])))
    # Not bytearray(n), which would ask for n bytes that the file does not have.
    if len(args) == 1 and isinstance(args[0], (bytes, list)):
        return bytearray(args[0])
    return bytearray(_nothing(args))


def _nothing(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if args:
        raise CheckpointError("the pickle makes a builtin with arguments that it may not have")
    return args


def _items(args: tuple[Any, ...]) -> list[Any]:
    """The one argument of set, frozenset: a list, a tuple or a set."""
    if not args:
        return []
    if len(args) != 1 or not isinstance(args[0], (list, tuple, set, frozenset)):
        raise CheckpointError("a set in the pickle is not made from a list")
    return [checked_key(item) for item in args[0]]


def _mapping(args: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """The one argument of OrderedDict, Counter: a dictionary or a list of pairs."""
    if not args:
        return []
    pairs = args[0].items() if isinstance(args[0], dict) else args[0]
    if len(args) != 1 or not isinstance(args[0], (dict, list, tuple)):
        raise CheckpointError("a dictionary in the pickle is not made from one")
    return [(checked_key(key), value) for key, value in pairs]


def _integers(args: tuple[Any, ...]) -> tuple[Any, ...]:
    if not 1 <= len(args) <= 3 or not all(item is None or type(item) is int for item in args):
        raise CheckpointError("a slice or range in the pickle is not made of integers")
    return args


def _complex(args: tuple[Any, ...]) -> complex:
    if not all(type(part) in (int, float) for part in args):
        raise CheckpointError("a complex number in the pickle is not made of numbers")
    return complex(*args)


_FACTORIES = (list, dict, set, int, float, str, bool, tuple, OrderedDict, Counter)
_CALLS: list[tuple[Any, Callable[[tuple[Any, ...]], Any]]] = [
    (set, lambda args: set(_items(args))),
    (frozenset, lambda args: frozenset(_items(args))),
    (OrderedDict, lambda args: OrderedDict(_mapping(args))),
    (Counter, lambda args: Counter(dict(_mapping(args)))),
    (bytearray, _bytearray),
    (bytes, lambda args: bytes(_nothing(args))),
    (complex, _complex),
    (slice, lambda args: slice(*_integers(args))),
    (range, lambda args: range(*_integers(args))),
    (list, lambda args: list(_nothing(args))),
    (dict, lambda args: dict(_nothing(args))),
    (tuple, _nothing),
    (_encode, _encode),
    (_scalar, lambda args: _scalar(*args)),
    (_frombuffer, lambda args: _frombuffer(*args)),
    (argparse.Namespace, lambda args: argparse.Namespace(*_nothing(args))),
    (types.SimpleNamespace, lambda args: types.SimpleNamespace(*_nothing(args))),
]
_VALUES: dict[str, Any] = {
    **{
        f"builtins.{kind.__name__}": kind
        for kind in (
            set,
            frozenset,
            bytearray,
            bytes,
            complex,
            slice,
            range,
            list,
            dict,
            tuple,
            int,
            float,
            str,
            bool,
        )  # fmt: skip
    },
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "collections.defaultdict": defaultdict,
    "argparse.Namespace": argparse.Namespace,
    "types.SimpleNamespace": types.SimpleNamespace,
    "_codecs.encode": _encode,
}
# Python 2's names for the same things.
RENAMED = {
    "__builtin__.unicode": "builtins.str",
    "__builtin__.long": "builtins.int",
    "__builtin__.xrange": "builtins.range",
    "builtins.xrange": "builtins.range",
}
