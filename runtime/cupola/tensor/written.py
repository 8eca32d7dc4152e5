"""Tensors that were written in place and that nothing observed may depend on.

Running statistics and moving averages are read at the end of training, if at all: their
expressions would grow with every step. Whoever starts recorded work computes them too.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

from cupola import engine
from cupola.ir.node import Node

_LIMIT = 4096
_written: list[ref[Any]] = []


def note(tensor: Any) -> None:
    """Remembers a tensor that was written in place, and starts the work when there are many."""
    _written.append(ref(tensor))
    if len(_written) > _LIMIT:
        engine.realize(take())


def take() -> list[Node]:
    """The current values of the tensors noted since the last time, each once."""
    tensors = [reference() for reference in _written]
    _written.clear()
    return list({id(t.node): t.node for t in tensors if t is not None}.values())
