"""The one room that knows the whole chain: record -> program -> plan -> launches."""

from cupola.backends.base import NotRecorded
from cupola.engine.capture import Capture, plans, sources
from cupola.engine.devices import _backends, backend
from cupola.engine.realize import (
    PENDING_LIMIT,
    array_of,
    eager,
    from_numpy,
    realize,
    start,
    to_numpy,
    use_backend,
)
from cupola.engine.run import stats

__all__ = [
    "Capture",
    "NotRecorded",
    "PENDING_LIMIT",
    "_backends",
    "array_of",
    "backend",
    "eager",
    "from_numpy",
    "plans",
    "realize",
    "sources",
    "start",
    "stats",
    "to_numpy",
    "use_backend",
]
