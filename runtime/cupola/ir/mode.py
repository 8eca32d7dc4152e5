"""The modes that recording obeys: gradient recording, inference, checks while a backward pass
runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Mode(threading.local):
    """Per-thread switches.

    Attributes:
        grad: whether new nodes may require gradients.
        inference: inside ``inference_mode``.
        walking: while a backward pass builds gradient nodes, ids of the nodes its current rule has
            read, else None.
        serial: serial of the node whose rule runs.
        casts: inside autocast, the dtype by device type, else None.
        cast_cached: whether autocast uses the cast of a parameter again.
        cast_cache: inside a region those casts, by the parameter's node, dtype and recording of
            gradients.
        held: while a call is captured, nothing is run unless a value is observed.
        transposed: while the backward pass of a derivative along tangents runs: its rules have to
            be the transposes of what was computed, also where PyTorch's are not.
        pinned: nodes that a captured call has to run in this order (collectives); they are run all
            the same where it turns out that the call cannot be captured.
    """

    grad: bool = True
    inference: bool = False
    walking: set[int] | None = None
    serial: int = -1
    casts: dict[str, Any] | None = None
    cast_cached: bool = True
    cast_cache: dict[tuple[int, Any, bool], tuple[Any, Any]] | None = None
    held: bool = False
    transposed: bool = False
    pinned: list[Any] = []  # noqa: RUF012 - replaced, never changed, by whoever captures


mode = Mode()


@contextmanager
def transposes() -> Iterator[None]:
    """Backward passes inside are those of derivatives along tangents."""
    before, mode.transposed = mode.transposed, True
    try:
        yield
    finally:
        mode.transposed = before
