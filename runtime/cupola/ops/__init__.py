"""The primitives: one declaration each, a file per family."""

from cupola.ops import (
    attention,
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
    "attention",
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
