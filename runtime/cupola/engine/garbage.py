"""How often Python looks for cycles of objects.

Recording makes some ten thousand objects for a step of a large model's training. Reference counts
free them; but Python searches the youngest objects for cycles whenever 700 more have been made than
freed, and all objects of the process every so often: at that rate, about once a step.
"""

from __future__ import annotations

import gc

THRESHOLD = 10_000
_DEFAULTS = (700, 2000)  # of the Python versions

_done: list[bool] = []


def relax() -> None:
    """Raises the threshold once, unless the program has set one of its own."""
    if not _done:
        _done.append(True)
        first, *rest = gc.get_threshold()
        if first in _DEFAULTS:
            gc.set_threshold(THRESHOLD, *rest)
