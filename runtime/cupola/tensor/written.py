"""Tensors that nothing observed may depend on: those written in place, and losses.

Running statistics and moving averages are read at the end of training, if at all: their
expressions would grow with every step. Whoever starts recorded work computes them too.
"""

from __future__ import annotations

import threading
from typing import Any
from weakref import ref

from cupola import engine
from cupola.ir.mode import mode
from cupola.ir.node import Node

_LIMIT = 4096
_written: list[ref[Any]] = []


class _Holding(threading.local):
    """How many recordings run whose nodes have no values yet (vmap): nothing is started then."""

    level = 0


holding = _Holding()


def note(tensor: Any) -> None:
    """Remembers a tensor, and starts the work when there is much of it.

    That is the storage where there is one: the handle may be a passing one, such as ``x.data``.
    """
    if holding.level:
        return
    _written.append(ref(tensor if tensor._storage is None else tensor._storage))
    if len(_written) > _LIMIT and not mode.held:
        engine.realize(take())


def take() -> list[Node]:
    """The current values of what was noted since the last time, each once."""
    nodes = {}
    for reference in _written:
        holder = reference()
        node = None if holder is None else holder.node
        if node is not None:
            nodes[id(node)] = node
    _written.clear()
    return list(nodes.values())
