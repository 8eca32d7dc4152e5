"""A pickle interpreter that builds data and cannot run anything.

It is our own rather than a subclass of `pickle.Unpickler`, because a subclass only guards the
look-up of names: INST, OBJ, NEWOBJ, BUILD and the extension registry still call `cls.__new__`,
`__setstate__`, `__reduce__` results and `setattr` on whatever is on the stack. Here a name yields
only what the allow-list holds, the one way to call something is `Rules.call`, which runs functions
written for that purpose in this package, and every length is compared with what is left of the file
before it is used. Memory therefore stays within a constant multiple (about 250) of the pickle.

Format: https://docs.python.org/3/library/pickletools.html, protocols 0 to 5, without out-of-band
buffers.
"""

from __future__ import annotations

import codecs
import pickle
import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from cupola.io.errors import CheckpointError
from cupola.io.source import Cursor

_DICTS = (dict, OrderedDict, defaultdict, Counter)
_MAX_DIGITS = 4300
_KEY_BUDGET = 10_000
_FAILED = "the pickle in the file is damaged: "


class Rules(Protocol):
    """What a pickle may ask for."""

    def find(self, module: str, name: str) -> Any:
        """The value of a global name; `CheckpointError` when it is not allowed."""

    def call(self, function: Any, args: tuple[Any, ...]) -> Any:
        """What `function(*args)` stands for; `CheckpointError` when it is not allowed."""

    def new(self, cls: Any, args: tuple[Any, ...]) -> Any:
        """What `cls.__new__(cls, *args)` stands for; `CheckpointError` when not allowed."""

    def build(self, instance: Any, state: Any) -> None:
        """Give `instance`, made by `call`, its state; `CheckpointError` when not allowed."""

    def persistent(self, pid: Any) -> Any:
        """The object that lies outside of the pickle; here always a storage."""


class Unpickler:
    """Reads one pickle from `cursor`.

    `encoding` and `errors` decode strings written by Python 2, as in `pickle.loads`;
    `encoding="bytes"` leaves them as bytes.
    """

    def __init__(
        self, cursor: Cursor, rules: Rules, encoding: str = "utf-8", errors: str = "strict"
    ) -> None:
        self._cursor = cursor
        self._take = cursor.take
        self._rules = rules
        self._encoding = encoding
        self._errors = errors
        self._memo: dict[int, Any] = {}
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []

    def load(self) -> Any:
        """The object that the pickle describes."""
        take = self._take
        while True:
            code = take(1)[0]
            if code == _STOP:
                if self._marks or len(self._stack) != 1:
                    raise CheckpointError(_FAILED + "it ends in the middle of an object")
                return self._stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise CheckpointError(_unknown(code))
            step(self)

    # -- helpers ---------------------------------------------------------------------------------

    def _number(self, layout: str) -> Any:
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _pop_mark(self) -> list[Any]:
        items = self._stack
        if not self._marks:
            raise CheckpointError(_FAILED + "a mark is missing")
        self._stack = self._marks.pop()
        return items

    def _top(self, *kinds: type) -> Any:
        top = self._stack[-1]
        if type(top) not in kinds:
            names = ", ".join(kind.__name__ for kind in kinds)
            raise CheckpointError(
                f"the pickle adds items to a {type(top).__name__}; only {names} can take them"
            )
        return top

    def _decode(self, data: bytes) -> Any:
        if self._encoding == "bytes":
            return data
        return data.decode(self._encoding, self._errors)

    def _find(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise CheckpointError(_FAILED + "a global's name is not a string")
        self._stack.append(self._rules.find(module, name))

    def _call(self, function: Any, args: Any) -> None:
        if type(args) is not tuple:
            raise CheckpointError(_FAILED + "the arguments of a call are not a tuple")
        self._stack.append(self._rules.call(function, args))

    # -- opcodes ---------------------------------------------------------------------------------

    def _proto(self) -> None:
        version = self._take(1)[0]
        if version > pickle.HIGHEST_PROTOCOL:
            raise CheckpointError(f"the pickle uses protocol {version}, which does not exist")

    def _frame(self) -> None:
        if self._number("<Q") > self._cursor.remaining:
            raise CheckpointError(_FAILED + "a frame is longer than the file")

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _discard(self) -> None:
        self._pop_mark()

    def _int_text(self) -> None:
        line = self._cursor.line(_MAX_DIGITS)
        self._stack.append(_BOOLS[line] if line in _BOOLS else int(line))

    def _long_text(self) -> None:
        self._stack.append(int(self._cursor.line(_MAX_DIGITS).rstrip(b"L")))

    def _float_text(self) -> None:
        self._stack.append(float(self._cursor.line(_MAX_DIGITS)))

    def _string_text(self) -> None:
        line = self._cursor.line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise CheckpointError(_FAILED + "a string is not quoted")
        self._stack.append(self._decode(codecs.escape_decode(line[1:-1])[0]))

    def _unicode_text(self) -> None:
        self._stack.append(self._cursor.line().decode("raw-unicode-escape"))

    def _long(self, layout: str) -> None:
        count = self._number(layout)
        if count < 0:
            raise CheckpointError(_FAILED + "an integer has a negative length")
        self._stack.append(int.from_bytes(self._take(count), "little", signed=True))

    def _text(self, layout: str) -> None:
        self._stack.append(self._take(self._number(layout)).decode("utf-8", "surrogatepass"))

    def _bytes(self, layout: str) -> None:
        self._stack.append(self._take(self._number(layout)))

    def _old_string(self, layout: str) -> None:
        self._stack.append(self._decode(self._take(self._number(layout))))

    def _tuple_of(self, count: int) -> None:
        if len(self._stack) < count:
            raise CheckpointError(_FAILED + "a tuple has too few items")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _gather(self, make: Callable[[list[Any]], Any]) -> None:
        items = self._pop_mark()  # which puts another stack in place
        self._stack.append(make(items))

    def _append(self) -> None:
        item = self._stack.pop()
        self._top(list).append(item)

    def _appends(self) -> None:
        items = self._pop_mark()
        self._top(list).extend(items)

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise CheckpointError(_FAILED + "a dictionary has a key without a value")
        target = self._top(*_DICTS)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _dict(self) -> None:
        items = self._pop_mark()
        self._stack.append({})
        self._set_items(items)

    def _add_items(self) -> None:
        items = self._pop_mark()
        self._top(set).update(map(checked_key, items))

    def _memoize(self, key: int) -> None:
        if key < 0:
            raise CheckpointError(_FAILED + "a negative memo index")
        self._memo[key] = self._stack[-1]

    def _recall(self, key: int) -> None:
        if key not in self._memo:
            raise CheckpointError(_FAILED + f"it refers to object {key}, which it never made")
        self._stack.append(self._memo[key])

    def _global(self) -> None:
        self._find(self._cursor.line(4096).decode(), self._cursor.line(4096).decode())

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._find(module, name)

    def _reduce(self) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        self._call(function, args)

    def _newobj(self) -> None:
        args, cls = self._stack.pop(), self._stack.pop()
        if type(args) is not tuple:
            raise CheckpointError(_FAILED + "the arguments of a new object are not a tuple")
        self._stack.append(self._rules.new(cls, args))

    def _newobj_ex(self) -> None:
        kwargs, args, cls = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if kwargs:
            raise CheckpointError("the pickle makes an object with keyword arguments; refused")
        self._call(cls, args)

    def _obj(self) -> None:
        cls, *args = self._pop_mark()
        self._call(cls, tuple(args))

    def _inst(self) -> None:
        args = self._pop_mark()
        self._global()
        self._call(self._stack.pop(), tuple(args))

    def _build(self) -> None:
        state = self._stack.pop()
        self._rules.build(self._stack[-1], state)

    def _persistent(self) -> None:
        self._stack.append(self._rules.persistent(self._stack.pop()))


def checked_key(key: Any) -> Any:
    """`key`, when hashing and comparing it is cheap.

    Python recurses through tuples in C to hash them, without a depth check and without a cache, so
    a few bytes of nested, shared tuples would overflow the stack or take forever.
    """
    if type(key) is str or type(key) is int:
        return key
    budget, level = _KEY_BUDGET, [key]
    for _ in range(32):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, (tuple, frozenset)):
                budget -= len(item)
                if budget < 0:
                    raise CheckpointError("a key of a dictionary or set is unreasonably large")
                inner.extend(item)
        if not inner:
            return key
        level = inner
    raise CheckpointError("a key of a dictionary or set is nested too deeply")


def _frozen(items: list[Any]) -> frozenset[Any]:
    return frozenset(map(checked_key, items))


def _unknown(code: int) -> str:
    for opcode, what in _REFUSED.items():
        if opcode[0] == code:
            return f"the pickle uses {what}, which checkpoints never need; refused"
    return _FAILED + f"byte {code:#04x} is not an opcode"


def _push(make: Callable[[], Any]) -> Callable[[Unpickler], None]:
    return lambda self: self._stack.append(make())


_BOOLS = {b"00": False, b"01": True}
_STOP = pickle.STOP[0]
_REFUSED = {
    pickle.EXT1: "the extension registry (EXT1)",
    pickle.EXT2: "the extension registry (EXT2)",
    pickle.EXT4: "the extension registry (EXT4)",
    pickle.PERSID: "a persistent id in text form (PERSID)",
    pickle.NEXT_BUFFER: "an out-of-band buffer (NEXT_BUFFER)",
    pickle.READONLY_BUFFER: "an out-of-band buffer (READONLY_BUFFER)",
}
_TABLE: dict[bytes, Callable[[Unpickler], None]] = {
    pickle.PROTO: Unpickler._proto,
    pickle.FRAME: Unpickler._frame,
    pickle.MARK: Unpickler._mark,
    pickle.POP: Unpickler._pop,
    pickle.POP_MARK: Unpickler._discard,
    pickle.DUP: lambda self: self._stack.append(self._stack[-1]),
    pickle.NONE: _push(lambda: None),
    pickle.NEWTRUE: _push(lambda: True),
    pickle.NEWFALSE: _push(lambda: False),
    pickle.EMPTY_TUPLE: _push(tuple),
    pickle.EMPTY_LIST: _push(list),
    pickle.EMPTY_DICT: _push(dict),
    pickle.EMPTY_SET: _push(set),
    pickle.INT: Unpickler._int_text,
    pickle.LONG: Unpickler._long_text,
    pickle.FLOAT: Unpickler._float_text,
    pickle.STRING: Unpickler._string_text,
    pickle.UNICODE: Unpickler._unicode_text,
    pickle.BININT: lambda self: self._stack.append(self._number("<i")),
    pickle.BININT1: lambda self: self._stack.append(self._take(1)[0]),
    pickle.BININT2: lambda self: self._stack.append(self._number("<H")),
    pickle.BINFLOAT: lambda self: self._stack.append(self._number(">d")),
    pickle.LONG1: lambda self: self._long("<B"),
    pickle.LONG4: lambda self: self._long("<i"),
    pickle.SHORT_BINUNICODE: lambda self: self._text("<B"),
    pickle.BINUNICODE: lambda self: self._text("<I"),
    pickle.BINUNICODE8: lambda self: self._text("<Q"),
    pickle.SHORT_BINBYTES: lambda self: self._bytes("<B"),
    pickle.BINBYTES: lambda self: self._bytes("<I"),
    pickle.BINBYTES8: lambda self: self._bytes("<Q"),
    pickle.BYTEARRAY8: lambda self: self._stack.append(bytearray(self._take(self._number("<Q")))),
    pickle.SHORT_BINSTRING: lambda self: self._old_string("<B"),
    pickle.BINSTRING: lambda self: self._old_string("<I"),
    pickle.TUPLE1: lambda self: self._tuple_of(1),
    pickle.TUPLE2: lambda self: self._tuple_of(2),
    pickle.TUPLE3: lambda self: self._tuple_of(3),
    pickle.TUPLE: lambda self: self._gather(tuple),
    pickle.LIST: lambda self: self._gather(list),
    pickle.DICT: Unpickler._dict,
    pickle.FROZENSET: lambda self: self._gather(_frozen),
    pickle.APPEND: Unpickler._append,
    pickle.APPENDS: Unpickler._appends,
    pickle.SETITEM: Unpickler._set_item,
    pickle.SETITEMS: lambda self: self._set_items(self._pop_mark()),
    pickle.ADDITEMS: Unpickler._add_items,
    pickle.MEMOIZE: lambda self: self._memoize(len(self._memo)),
    pickle.PUT: lambda self: self._memoize(int(self._cursor.line(20))),
    pickle.BINPUT: lambda self: self._memoize(self._take(1)[0]),
    pickle.LONG_BINPUT: lambda self: self._memoize(self._number("<I")),
    pickle.GET: lambda self: self._recall(int(self._cursor.line(20))),
    pickle.BINGET: lambda self: self._recall(self._take(1)[0]),
    pickle.LONG_BINGET: lambda self: self._recall(self._number("<I")),
    pickle.GLOBAL: Unpickler._global,
    pickle.STACK_GLOBAL: Unpickler._stack_global,
    pickle.REDUCE: Unpickler._reduce,
    pickle.NEWOBJ: Unpickler._newobj,
    pickle.NEWOBJ_EX: Unpickler._newobj_ex,
    pickle.OBJ: Unpickler._obj,
    pickle.INST: Unpickler._inst,
    pickle.BUILD: Unpickler._build,
    pickle.BINPERSID: Unpickler._persistent,
}
_STEPS = {opcode[0]: step for opcode, step in _TABLE.items()}
