"""``compile``: calls captured once and replayed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from cupola import engine
from cupola.ir.mode import mode
from cupola.jit.entry import Entry
from cupola.jit.free import Free
from cupola.jit.signature import Unrepeatable, exchanged, shares_memory, signature
from cupola.jit.trace import Trace
from cupola.tensor import Tensor, wrap

# (predicate, wrapper): how other rooms give what `compile` returns their own type.
wrappers: list[tuple[Callable[[Any], bool], Callable[[Any, Compiled], Any]]] = []

# Switches that other rooms add, part of every captured call's key (autocast, for one).
switches: list[Callable[[], Any]] = []

# After so many captures in a row that were never replayed, a call is no longer captured.
_RETRACES = 8


def compile(model: Any = None, **options: Any) -> Any:
    """A function or module whose calls are captured once and replayed; also a decorator.

    The first call with new shapes, dtypes or Python arguments is recorded and planned whole. Later
    calls skip Python's part: on a GPU they are one CUDA graph. A function may be a whole training
    step, with ``backward()`` and an optimizer's ``step()``: parameters, buffers and optimizer state
    are then updated in place, learning rates are read at every call. What cannot be replayed runs
    as it is recorded, with plans reused by structure: calls whose results carry gradients, that
    observe a value or draw random numbers. Other Python objects (beside modules' attributes, and
    plain numbers that a function refers to) must stay what they were.

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


class Compiled:
    """What ``compile`` makes of a function or module.

    Attributes:
        reason: why the last call that was recorded could not be captured, or empty.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._entries: dict[Any, Entry | None] = {}
        self._misses: dict[Any, int] = {}
        self._free = Free(function)
        self.reason = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Tensor] = []
        try:
            key = (
                signature(args, tensors),
                signature(kwargs, tensors),
                mode.grad,
                mode.inference,
                tuple([switch() for switch in switches]),
            )
            entry = self._entries.get(key)
        except TypeError:  # an argument that cannot be compared by value
            return self.function(*args, **kwargs)
        if mode.held or mode.walking is not None:
            return self.function(*args, **kwargs)
        if entry is not None and entry.holds(self._free.numbers()):
            self._misses[key] = 0
            return entry.replay(tensors)
        misses = self._misses[key] = self._misses.get(key, 0) + 1
        if misses > _RETRACES:
            return self.function(*args, **kwargs)
        self._entries.pop(key, None)
        return self._trace(key, tensors, args, kwargs)

    def _trace(self, key: Any, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        # Memory shared with NumPy is read anew at every use; the recorded call reads one copy.
        given = [wrap(t.node) if shares_memory(t) else t for t in tensors]
        shared = {id(t): c for t, c in zip(tensors, given, strict=True) if c is not t}
        trace = Trace(self._free, given)
        with trace:
            result = self.function(*exchanged(args, shared), **exchanged(kwargs, shared))
        before, pinned = trace.inputs, trace.pinned
        try:
            self.reason = ""
            entry = self._entries[key] = trace.entry(result)
            pinned.clear()
            del trace
            entry.settle()
        except Unrepeatable as why:
            self.reason = str(why)
            engine.realize(pinned)
            for t, c, node in zip(tensors, given, before, strict=True):
                if c is not t and c.node is not node:
                    t.assign(c.node)
        return result

    def reset(self) -> None:
        """Forgets every captured call."""
        self._entries.clear()
        self._misses.clear()
