"""Writes the pickle of a checkpoint, protocol 2, naming PyTorch's functions without having them.

It is our own rather than a subclass of `pickle.Pickler`, which writes a function's name only for a
function that it can import. It writes what `cupola.io.unpickler` reads and refuses the rest with
the place where it was found: a checkpoint that could not be loaded again is an error at once.
"""

from __future__ import annotations

import argparse
import struct
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola.io.seam import Parts
from cupola.io.storage import STORAGE_NAMES

_BATCH = 1000


class Name(str):
    """A global of the pickle, as "module name"."""


class Call:
    """What a call of a global gives: `function(*args)`, then its state where it has one."""

    def __init__(self, function: str, args: tuple[Any, ...], state: Any = None) -> None:
        self.function = Name(function)
        self.args = args
        self.state = state


class Stored:
    """The persistent id of a storage."""

    def __init__(self, pid: tuple[Any, ...]) -> None:
        self.pid = pid


class Pickler:
    """Pickles one object; `data` is the result.

    `take_apart` gives the `Parts` of a tensor and None for anything else; `store` gives the
    persistent id of a storage; `translate` turns other objects of the runtime (a dtype, a device)
    into a `Call` or a `Name`, and gives None for what it does not know.
    """

    def __init__(
        self,
        take_apart: Callable[[Any], Parts | None],
        store: Callable[[Parts], tuple[Any, ...]],
        translate: Callable[[Any], Any],
    ) -> None:
        self._out = bytearray(b"\x80\x02")
        self._memo: dict[int, tuple[int, Any]] = {}
        self._names: dict[tuple[type, str], int] = {}
        self._path: list[str] = []
        self._take_apart = take_apart
        self._store = store
        self._translate = translate

    def dump(self, obj: Any) -> bytes:
        """The bytes of the pickle. Raises TypeError for an object that is not data."""
        self._write(obj)
        return bytes(self._out + b".")

    # -- one object ------------------------------------------------------------------------------

    def _write(self, obj: Any) -> None:
        writer = _ATOMS.get(type(obj))
        if writer is not None:
            writer(self, obj)
        elif id(obj) in self._memo:
            self._recall(self._memo[id(obj)][0])
        elif (composite := _COMPOSITES.get(type(obj))) is not None:
            composite(self, obj)
        elif (parts := self._take_apart(obj)) is not None:
            self._tensor(obj, parts)
        else:
            self._other(obj)

    def _at(self, step: str, obj: Any) -> None:
        self._path.append(step)
        self._write(obj)
        self._path.pop()

    def _other(self, obj: Any) -> None:
        meaning = self._translate(obj)
        if meaning is None:
            meaning = _numpy(obj)
        if meaning is None:
            kind = type(obj)
            raise TypeError(
                f"checkpoint{''.join(self._path)} is a {kind.__module__}.{kind.__qualname__}, "
                "which is not data that a checkpoint can hold. Save a module's or an optimizer's "
                "state_dict(); turn other objects into dictionaries, lists, numbers and strings."
            )
        self._write(meaning)
        if not isinstance(meaning, Name):
            self._keep(obj)

    def _keep(self, obj: Any) -> None:
        """Remember what was just written; keeping `obj` alive keeps its id its own."""
        index = len(self._memo) + len(self._names)
        self._memo[id(obj)] = (index, obj)
        self._put(index)

    def _put(self, index: int) -> None:
        self._out += struct.pack("<cB", b"q", index) if index < 256 else _pack(b"r", "<I", index)

    def _recall(self, index: int) -> None:
        self._out += struct.pack("<cB", b"h", index) if index < 256 else _pack(b"j", "<I", index)

    # -- atoms -----------------------------------------------------------------------------------

    def _none(self, _: None) -> None:
        self._out += b"N"

    def _bool(self, value: bool) -> None:
        self._out += b"\x88" if value else b"\x89"

    def _int(self, value: int) -> None:
        if 0 <= value < 1 << 8:
            self._out += _pack(b"K", "<B", value)
        elif 0 <= value < 1 << 16:
            self._out += _pack(b"M", "<H", value)
        elif -(1 << 31) <= value < 1 << 31:
            self._out += _pack(b"J", "<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            code, layout = (b"\x8a", "<B") if len(data) < 256 else (b"\x8b", "<i")
            self._out += _pack(code, layout, len(data))
            self._out += data

    def _float(self, value: float) -> None:
        self._out += _pack(b"G", ">d", value)

    def _str(self, value: str) -> None:
        # By value, not by id: the keys of optimizer states are equal but not always identical.
        if (str, value) in self._names:
            self._recall(self._names[str, value])
            return
        data = value.encode("utf-8", "surrogatepass")
        if len(data) >= 1 << 32:
            raise TypeError("a string of 4 GB or more cannot be saved; save an array of bytes")
        self._out += _pack(b"X", "<I", len(data)) + data
        self._name(str, value)

    def _name(self, kind: type, text: str) -> None:
        index = len(self._memo) + len(self._names)
        self._names[kind, text] = index
        self._put(index)

    def _global(self, name: Name) -> None:
        if (Name, name) in self._names:
            self._recall(self._names[Name, name])
            return
        self._out += b"c" + name.replace(" ", "\n").encode() + b"\n"
        self._name(Name, name)

    def _call(self, call: Call) -> None:
        self._global(call.function)
        self._tuple(call.args)
        self._out += b"R"
        if call.state is not None:
            self._write(call.state)
            self._out += b"b"

    def _stored(self, storage: Stored) -> None:
        self._tuple(storage.pid)
        self._out += b"Q"

    # -- containers ------------------------------------------------------------------------------

    def _tuple(self, items: tuple[Any, ...]) -> None:
        if not items:
            self._out += b")"
            return
        if len(items) > 3:
            self._out += b"("
        for i, item in enumerate(items):
            self._at(f"[{i}]", item)
        if id(items) in self._memo:  # it contains itself, by way of a list
            self._out += b"0" * len(items) if len(items) <= 3 else b"1"
            self._recall(self._memo[id(items)][0])
            return
        self._out += {1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(items), b"t")
        self._keep(items)

    def _list(self, items: list[Any]) -> None:
        self._out += b"]"
        self._keep(items)
        for start in range(0, len(items), _BATCH):
            self._out += b"("
            for i, item in enumerate(items[start : start + _BATCH], start):
                self._at(f"[{i}]", item)
            self._out += b"e"

    def _dict(self, table: dict[Any, Any]) -> None:
        self._out += b"}"
        self._keep(table)
        self._pairs(table)

    def _pairs(self, table: dict[Any, Any]) -> None:
        pairs = list(table.items())
        for start in range(0, len(pairs), _BATCH):
            self._out += b"("
            for key, value in pairs[start : start + _BATCH]:
                self._at(f" (a key, {key!r:.40})", key)
                self._at(f"[{key!r:.80}]", value)
            self._out += b"u"

    def _ordered(self, table: OrderedDict[Any, Any]) -> None:
        self._call(Call("collections OrderedDict", ()))
        self._keep(table)
        self._pairs(table)
        if vars(table):  # a state_dict's _metadata
            self._dict(vars(table))
            self._out += b"b"

    def _defaultdict(self, table: defaultdict[Any, Any]) -> None:
        factory = table.default_factory
        name = _FACTORIES.get(factory) if factory is not None else None
        if factory is not None and name is None:
            raise TypeError(
                f"checkpoint{''.join(self._path)} is a defaultdict with the factory "
                f"{factory!r:.60}; save dict(...) of it instead"
            )
        self._call(Call("collections defaultdict", (Name(name),) if name else ()))
        self._keep(table)
        self._pairs(table)

    def _builtin(self, obj: Any) -> None:
        self._call(_BUILTINS[type(obj)](obj))
        self._keep(obj)

    def _namespace(self, space: Any) -> None:
        kind = type(space)
        self._global(Name(f"{kind.__module__} {kind.__qualname__}"))
        self._out += b")\x81"
        self._keep(space)
        self._dict(vars(space))
        self._out += b"b"

    # -- tensors ---------------------------------------------------------------------------------

    def _tensor(self, obj: Any, parts: Parts) -> None:
        view = parts.view
        grad = view.requires_grad and not parts.parameter
        # Its own for each tensor: PyTorch keeps it, and hooks registered later go into it.
        hooks: OrderedDict[str, Any] = OrderedDict()
        args = (Stored(self._store(parts)), view.offset, view.size, view.stride, grad, hooks)
        if view.dtype in STORAGE_NAMES:
            call = Call("torch._utils _rebuild_tensor_v2", args)
        else:
            call = Call("torch._utils _rebuild_tensor_v3", (*args, Name(f"torch {view.dtype}")))
        if parts.parameter:
            more: OrderedDict[str, Any] = OrderedDict()
            call = Call("torch._utils _rebuild_parameter", (call, view.requires_grad, more))
        self._call(call)
        self._keep(obj)


def _pack(code: bytes, layout: str, value: Any) -> bytes:
    return code + struct.pack(layout, value)


def _numpy(obj: Any) -> Call | Name | None:
    """NumPy's objects, as NumPy itself pickles them."""
    if isinstance(obj, np.dtype) and _plain(obj):
        order = obj.str[0]
        state = (3, order, None, None, None, -1, -1, 0)
        if obj.kind in "SUV":
            state = (3, order, None, None, None, obj.itemsize, 4 if obj.kind == "U" else 1, 0)
        return Call("numpy dtype", (obj.str[1:], False, True), state)
    if type(obj) is np.ndarray and _plain(obj.dtype):
        blank = (Name("numpy ndarray"), (0,), b"b")
        content = (1, obj.shape, obj.dtype, False, obj.tobytes())
        return Call("numpy._core.multiarray _reconstruct", blank, content)
    if isinstance(obj, np.generic) and _plain(obj.dtype):
        return Call("numpy._core.multiarray scalar", (obj.dtype, obj.tobytes()))
    return None


def _plain(dtype: np.dtype[Any]) -> bool:
    """Numbers, text or bytes: not records, dates, objects or another package's dtypes."""
    return dtype.kind in "biufcSUV" and dtype.isbuiltin < 2 and not (dtype.names or dtype.subdtype)


_BUILTINS: dict[type, Callable[[Any], Call]] = {
    # Text, because protocol 2 has no bytes.
    bytes: lambda data: Call("_codecs encode", (data.decode("latin-1"), "latin1")),
    bytearray: lambda data: Call("__builtin__ bytearray", (data.decode("latin-1"), "latin-1")),
    complex: lambda value: Call("__builtin__ complex", (value.real, value.imag)),
    set: lambda items: Call("__builtin__ set", (list(items),)),
    frozenset: lambda items: Call("__builtin__ frozenset", (list(items),)),
    slice: lambda item: Call("__builtin__ slice", (item.start, item.stop, item.step)),
    range: lambda item: Call("__builtin__ xrange", (item.start, item.stop, item.step)),
    Counter: lambda table: Call("collections Counter", (dict(table),)),
}
_ATOMS: dict[type, Callable[[Pickler, Any], None]] = {
    type(None): Pickler._none,
    bool: Pickler._bool,
    int: Pickler._int,
    float: Pickler._float,
    str: Pickler._str,
    Name: Pickler._global,
    Call: Pickler._call,
    Stored: Pickler._stored,
}
_COMPOSITES: dict[type, Callable[[Pickler, Any], None]] = {
    **dict.fromkeys(_BUILTINS, Pickler._builtin),
    tuple: Pickler._tuple,
    list: Pickler._list,
    dict: Pickler._dict,
    OrderedDict: Pickler._ordered,
    defaultdict: Pickler._defaultdict,
    argparse.Namespace: Pickler._namespace,
    types.SimpleNamespace: Pickler._namespace,
}
_FACTORIES: dict[Any, str] = {
    **{kind: f"__builtin__ {kind.__name__}" for kind in (list, dict, set, int, float, str, bool)},
    tuple: "__builtin__ tuple",
    OrderedDict: "collections OrderedDict",
    Counter: "collections Counter",
}
