"""The primitives: one declaration each, a file per family."""

from cupola.ops import (
    conv,
    custom,
    elementwise,
    fused,
    index,
    matmul,
    movement,
    pool,
    reduce,
    scan,
    sort,
)

__all__ = [
    "conv",
    "custom",
    "elementwise",
    "fused",
    "index",
    "matmul",
    "movement",
    "pool",
    "reduce",
    "scan",
    "sort",
]
