"""``ReduceOp``: how values of several processes are combined."""

from __future__ import annotations

import enum
from typing import Any


class ReduceOp(enum.Enum):
    """PyTorch's names of reductions."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7

    @staticmethod
    def name_of(op: Any) -> str:
        """The name that collectives use; names are taken as they are."""
        return _NAMES[op] if isinstance(op, ReduceOp) else str(op)


# PyTorch's ReduceOp is a shell around an enumeration of this name; here they are one.
ReduceOp.RedOpType = ReduceOp  # type: ignore[attr-defined]

_NAMES = {
    ReduceOp.SUM: "add",
    ReduceOp.AVG: "mean",
    ReduceOp.PRODUCT: "prod",
    ReduceOp.MIN: "min",
    ReduceOp.MAX: "max",
    ReduceOp.BAND: "band",
    ReduceOp.BOR: "bor",
    ReduceOp.BXOR: "bxor",
}
