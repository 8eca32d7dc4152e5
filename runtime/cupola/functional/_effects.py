"""Tensors that layers change besides returning a result, such as running statistics.

Nothing that a training loop observes depends on them, so they would never be computed: their
expressions would grow with every step. Whoever starts recorded work takes them along.
"""

from __future__ import annotations

from weakref import ref

from cupola import engine
from cupola.tensor import Tensor

_LIMIT = 4096
_changed: list[ref[Tensor]] = []


def note(*tensors: Tensor) -> None:
    """Remember tensors that were changed in place."""
    _changed.extend(map(ref, tensors))
    if len(_changed) > _LIMIT:
        start([])


def start(tensors: list[Tensor]) -> None:
    """Compute ``tensors`` and everything noted since the last time."""
    noted = [tensor for tensor in (reference() for reference in _changed) if tensor is not None]
    _changed.clear()
    nodes = {id(t.node): t.node for t in [*tensors, *noted]}
    engine.realize(list(nodes.values()))
