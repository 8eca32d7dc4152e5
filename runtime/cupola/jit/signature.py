"""What a call is known by, and how its result is put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.jit.free import _PLAIN
from cupola.tensor import Tensor


class Unrepeatable(Exception):
    """Why a call cannot be replayed; the text completes "... runs as it is recorded, because"."""


class Epoch:
    """Counts changes to modules' attributes: what was captured before a change is traced again."""

    count = 0


epoch = Epoch()


def signature(value: Any, tensors: list[Tensor]) -> Any:
    """What a call is known by: shapes and dtypes of tensors, everything else by value."""
    if isinstance(value, Tensor):
        tensors.append(value)
        n = value._n
        return (type(value), n.shape, n.dtype, n.device, n.requires_grad, n.order)
    if isinstance(value, tuple | list):
        return (type(value), *[signature(v, tensors) for v in value])
    if isinstance(value, dict):
        return (dict, *[(k, signature(v, tensors)) for k, v in value.items()])
    hash(value)
    return (type(value), value)


def shares_memory(t: Tensor) -> bool:
    return t._storage is not None and t._storage.external is not None


def exchanged(value: Any, new: dict[int, Tensor]) -> Any:
    """The same arguments with some tensors replaced."""
    if not new:
        return value
    if isinstance(value, Tensor):
        return new.get(id(value), value)
    if isinstance(value, dict):
        return {k: exchanged(v, new) for k, v in value.items()}
    if isinstance(value, tuple | list):
        pieces = [exchanged(v, new) for v in value]
        return type(value)(*pieces) if hasattr(value, "_fields") else type(value)(pieces)
    return value


def structure(value: Any, outputs: list[Tensor], inputs: list[Tensor]) -> Callable[..., Any]:
    """How to build a result like ``value`` from (new tensors, arguments)."""
    if isinstance(value, Tensor):
        for k, tensor in enumerate(inputs):
            if tensor is value:
                return lambda new, given: given[k]
        outputs.append(value)
        place = len(outputs) - 1
        return lambda new, given: new[place]
    if isinstance(value, dict):
        parts = {k: structure(v, outputs, inputs) for k, v in value.items()}
        kind = type(value)
        return lambda new, given: kind((k, p(new, given)) for k, p in parts.items())
    if isinstance(value, tuple | list):
        pieces = [structure(v, outputs, inputs) for v in value]
        if hasattr(value, "_fields"):
            named = type(value)
            return lambda new, given: named(*[p(new, given) for p in pieces])
        made = type(value)
        return lambda new, given: made([p(new, given) for p in pieces])
    if isinstance(value, _PLAIN):
        return lambda new, given: value
    raise Unrepeatable(f"it returns a {type(value).__name__}")
