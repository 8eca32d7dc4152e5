"""Compilation entry points (torch.compile, torch.jit).

Kernels are compiled when they run, with or without these; ``compile`` also skips recording.
"""

from __future__ import annotations

import contextlib
import functools
import random
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola import engine
from cupola.ir.mode import mode
from cupola.ir.op import pending
from cupola.random import default_generator
from cupola.tensor import Tensor, wrap


class Unrepeatable(Exception):
    """Why a call cannot be replayed; the text completes "... runs as it is recorded, because"."""


class Epoch:
    """Counts changes to modules' attributes: what was captured before a change is traced again."""

    count = 0


epoch = Epoch()

# (predicate, wrapper): how other rooms give what `compile` returns their own type.
wrappers: list[tuple[Callable[[Any], bool], Callable[[Any, Compiled], Any]]] = []


def compile(model: Any = None, **options: Any) -> Any:
    """A function or module whose calls are captured once and replayed; also a decorator.

    The first call with new shapes, dtypes or Python arguments is recorded and planned whole. Later
    calls skip Python's part: on a GPU they are one CUDA graph. What cannot be replayed runs as it
    is recorded, with plans reused by structure: calls whose results carry gradients, that observe a
    value, draw random numbers or write into tensors. Values of parameters and buffers are read at
    every call; other Python objects (beside modules' attributes and plain numbers that a function
    refers to) must stay what they were.

    Args:
        model: a function or module (torch.compile). Options of torch.compile are accepted and
            ignored, except ``disable=True``, which returns the argument itself.
    """
    if model is None:
        return lambda f: compile(f, **options)
    if options.get("disable"):
        return model
    compiled = Compiled(model)
    for fits, wrapper in wrappers:
        if fits(model):
            return wrapper(model, compiled)
    return functools.update_wrapper(compiled, model)


class _Entry:
    """A captured call: how to check that it still holds, and how to give its results."""

    __slots__ = ("capture", "device", "epoch", "handles", "nodes", "numbers", "rebuild")

    def __init__(
        self, capture: Any, handles: list[Any], nodes: list[Any], numbers: Any, rebuild: Any
    ) -> None:
        self.capture = capture
        self.handles = handles
        self.nodes = nodes
        self.numbers = numbers
        self.epoch = epoch.count
        self.rebuild = rebuild

    def holds(self, numbers: Any) -> bool:
        return (
            self.epoch == epoch.count
            and [h.node for h in self.handles] == self.nodes
            and numbers == self.numbers
        )


class Compiled:
    """What ``compile`` makes of a function or module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._entries: dict[Any, _Entry | None] = {}
        self._misses: dict[Any, int] = {}
        self._free = Free(function)
        self.reason = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Tensor] = []
        try:
            key = (
                _signature(args, tensors),
                _signature(kwargs, tensors),
                mode.grad,
                mode.inference,
                tuple(switch() for switch in switches),
            )
            entry = self._entries.get(key, self)
        except TypeError:  # an argument that cannot be compared by value
            return self.function(*args, **kwargs)
        if entry is None or mode.walking is not None:
            return self.function(*args, **kwargs)
        if entry is not self and entry.holds(self._free.numbers()):
            self._misses[key] = 0
            results = entry.capture([t.node for t in tensors])
            return entry.rebuild([wrap(n) for n in results], tensors)
        return self._trace(key, tensors, args, kwargs)

    def _trace(self, key: Any, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        misses = self._misses[key] = self._misses.get(key, 0) + 1
        if misses > _RETRACES:
            self._entries[key] = None
            return self.function(*args, **kwargs)
        shared = {id(t): wrap(t.node) for t in tensors if _shares_memory(t)}
        if shared:
            # Memory shared with NumPy is read anew at every use; the recorded call reads one copy.
            tensors = [shared.get(id(t), t) for t in tensors]
            trace = Trace(self._free, tensors)
            result = self.function(*_exchanged(args, shared), **_exchanged(kwargs, shared))
            if trace.written():
                self._entries[key] = None
                return self.function(*args, **kwargs)
        else:
            trace = Trace(self._free, tensors)
            result = self.function(*args, **kwargs)
        try:
            self._entries[key] = trace.entry(result)
        except Unrepeatable as why:
            self.reason = str(why)
            self._entries[key] = None
        return result

    def reset(self) -> None:
        """Forgets every captured call."""
        self._entries.clear()
        self._misses.clear()


# After so many captures in a row that were never replayed, a call is no longer captured.
_RETRACES = 8

# Switches that other rooms add, part of every captured call's key (autocast, for one).
switches: list[Callable[[], Any]] = []


def _signature(value: Any, tensors: list[Tensor]) -> Any:
    """What a call is known by: shapes and dtypes of tensors, everything else by value."""
    if isinstance(value, Tensor):
        tensors.append(value)
        n = value._n
        return (type(value), n.shape, n.dtype, n.device, n.requires_grad, n.order)
    if isinstance(value, tuple | list):
        return (type(value), *[_signature(v, tensors) for v in value])
    if isinstance(value, dict):
        return (dict, *[(k, _signature(v, tensors)) for k, v in value.items()])
    hash(value)
    return (type(value), value)


def _shares_memory(t: Tensor) -> bool:
    return t._storage is not None and t._storage.external is not None


def _exchanged(value: Any, new: dict[int, Tensor]) -> Any:
    """The same arguments with some tensors replaced."""
    if isinstance(value, Tensor):
        return new.get(id(value), value)
    if isinstance(value, dict):
        return {k: _exchanged(v, new) for k, v in value.items()}
    if isinstance(value, tuple | list):
        pieces = [_exchanged(v, new) for v in value]
        return type(value)(*pieces) if hasattr(value, "_fields") else type(value)(pieces)
    return value


class Free:
    """The tensors and plain numbers that a function refers to beside its arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._cells: list[Any] = []
        self._globals: list[tuple[dict[str, Any], str]] = []
        plain = getattr(function, "__func__", function)
        code = getattr(plain, "__code__", None)
        if code is not None:
            self._cells = list(plain.__closure__ or ())
            self._globals = [(plain.__globals__, n) for n in _names(code)]

    def numbers(self) -> list[Any]:
        """Plain values in closures and globals."""
        return [v for v in self._values() if isinstance(v, _PLAIN)]

    def _values(self) -> list[Any]:
        out = []
        for cell in self._cells:
            with contextlib.suppress(ValueError):  # an empty cell
                out.append(cell.cell_contents)
        out += [space[name] for space, name in self._globals if name in space]
        return out

    def hooked(self) -> bool:
        """Whether a module that the function owns has forward hooks."""
        owners = (self.function, getattr(self.function, "__self__", None))
        return any(
            m.__dict__.get("_forward_hooks") or m.__dict__.get("_forward_pre_hooks")
            for owner in owners
            if _is_module(owner)
            for m in owner.modules()
        )

    def handles(self) -> list[Tensor]:
        """Tensors found in the function's owner, closure, globals and defaults."""
        found: dict[int, Tensor] = {}
        owner = getattr(self.function, "__self__", None)
        defaults = getattr(self.function, "__defaults__", None) or ()
        for value in (self.function, owner, *defaults, *self._values()):
            _collect(value, found, 3)
        return list(found.values())


_PLAIN = (int, float, bool, str, bytes, complex, type(None))


def _is_module(value: Any) -> bool:
    return callable(getattr(value, "modules", None)) and callable(getattr(value, "buffers", None))


def _names(code: Any) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            names |= _names(constant)
    return names


def _collect(value: Any, found: dict[int, Tensor], depth: int) -> None:
    if isinstance(value, Tensor):
        found[id(value)] = value
        return
    if isinstance(value, _PLAIN) or depth == 0 or isinstance(value, type | types.ModuleType):
        return
    if isinstance(value, dict):
        for v in value.values():
            _collect(v, found, depth - 1)
    elif isinstance(value, list | tuple | set):
        for v in value:
            _collect(v, found, depth - 1)
    elif _is_module(value):
        for module in value.modules():
            for v in vars(module).values():
                _collect(v, found, 2)
    elif hasattr(value, "__dict__"):
        for v in vars(value).values():
            _collect(v, found, depth - 1)


class Trace:
    """One call under observation: what it reads, and whether it did anything but compute."""

    def __init__(self, free: Free, tensors: list[Tensor]) -> None:
        self.free = free
        self.tensors = tensors
        self.inputs = [t.node for t in tensors]
        for node in self.inputs:
            if node.device.type != "meta":
                engine.array_of(node)
        self.handles = free.handles()
        engine.realize([h.node for h in self.handles if h.device.type != "meta"])
        self.nodes = [h.node for h in self.handles]
        pending.count += 1
        self.since = pending.count
        self.before = self._state()
        self.epoch = epoch.count

    def _state(self) -> Any:
        runs = engine.stats["plans"] + engine.stats["hits"]
        drawn = default_generator.get_state().tobytes()
        return runs, drawn, random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore

    def written(self) -> bool:
        """Whether an argument was written in place."""
        return [t.node for t in self.tensors] != self.inputs

    def entry(self, result: Any) -> _Entry:
        """The captured call.

        Raises:
            Unrepeatable: it did more than compute, or its results carry gradients.
        """
        if self._state() != self.before:
            raise Unrepeatable("it observes a value or draws random numbers")
        if self.free.hooked():
            raise Unrepeatable("a module has hooks")
        if epoch.count != self.epoch:
            raise Unrepeatable("it changes a module's attributes")
        if self.written():
            raise Unrepeatable("it writes into an argument")
        if [h.node for h in self.handles] != self.nodes:
            raise Unrepeatable("it writes into a parameter, a buffer or another tensor")
        outputs: list[Tensor] = []
        rebuild = _structure(result, outputs, self.tensors)
        if not outputs:
            raise Unrepeatable("it returns no new tensor")
        nodes = []
        for out in outputs:
            if out.requires_grad:
                raise Unrepeatable("its results carry gradients")
            if type(out) is not Tensor:
                raise Unrepeatable(f"it returns a {type(out).__name__}")
            if out._storage is not None and any(
                out._storage is other._storage
                for other in (*self.handles, *self.tensors, *outputs)
                if other is not out
            ):
                raise Unrepeatable("it returns a view of an argument, a parameter or a result")
            nodes.append(out.node)
        devices = {n.device for n in nodes}
        if len(devices) != 1 or any(n.value is not None for n in nodes):
            raise Unrepeatable("its results are not computed on one device")
        (device,) = devices
        if device.type == "meta":
            raise Unrepeatable("meta tensors hold no values")
        known = {id(n) for n in self.inputs}
        state = {id(n): h for n, h in zip(self.nodes, self.handles, strict=True)}
        used: dict[int, Tensor] = {}
        for node in engine.sources(nodes):
            if node.device is not device:
                raise Unrepeatable("it moves values between devices")
            if id(node) in state:
                used[id(node)] = state[id(node)]
            elif id(node) not in known and node.serial < self.since:
                raise Unrepeatable("it reads a tensor that is no argument, parameter or buffer")
        capture = engine.Capture(nodes, self.inputs, device)
        handles = list(used.values())
        return _Entry(capture, handles, [h.node for h in handles], self.free.numbers(), rebuild)


def _structure(value: Any, outputs: list[Tensor], inputs: list[Tensor]) -> Callable[..., Any]:
    """How to build a result like ``value`` from (new tensors, arguments)."""
    if isinstance(value, Tensor):
        for k, tensor in enumerate(inputs):
            if tensor is value:
                return lambda new, given: given[k]
        outputs.append(value)
        place = len(outputs) - 1
        return lambda new, given: new[place]
    if isinstance(value, dict):
        parts = {k: _structure(v, outputs, inputs) for k, v in value.items()}
        kind = type(value)
        return lambda new, given: kind((k, p(new, given)) for k, p in parts.items())
    if isinstance(value, tuple | list):
        pieces = [_structure(v, outputs, inputs) for v in value]
        if hasattr(value, "_fields"):
            named = type(value)
            return lambda new, given: named(*[p(new, given) for p in pieces])
        made = type(value)
        return lambda new, given: made([p(new, given) for p in pieces])
    if isinstance(value, _PLAIN):
        return lambda new, given: value
    raise Unrepeatable(f"it returns a {type(value).__name__}")


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns the function or module itself (torch.jit.script)."""
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Returns the function or module itself (torch.jit.trace)."""
    return func


def _itself(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


ignore = unused = export = script_method = interface = _itself


def is_scripting() -> bool:
    """Whether code runs inside TorchScript: never."""
    return False


def is_tracing() -> bool:
    """Whether code is being traced by TorchScript: never."""
    return False


class ScriptModule:
    """Exists for isinstance checks; nothing is one (torch.jit.ScriptModule)."""


class Final:
    """Annotation of constants (torch.jit.Final)."""

    def __class_getitem__(cls, item: Any) -> Any:
        return item
