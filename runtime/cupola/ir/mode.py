"""The modes that recording obeys: gradient recording, inference, checks while a backward pass
runs.
"""

from __future__ import annotations

import threading


class Mode(threading.local):
    """Per-thread switches.

    Attributes:
        grad: whether new nodes may require gradients.
        inference: inside ``inference_mode``.
        walking: while a backward pass builds gradient nodes, ids of the nodes its current rule has
            read, else None.
        serial: serial of the node whose rule runs.
        held: while a call is captured, nothing is run unless a value is observed.
    """

    grad: bool = True
    inference: bool = False
    walking: set[int] | None = None
    serial: int = -1
    held: bool = False


mode = Mode()
