"""Composed operators with PyTorch's names, a file per family; importing this attaches Tensor's methods."""

from cupola.functional import (
    conversion,
    creation,
    indexing,
    info,
    linalg,
    pointwise,
    printing,
    reduction,
    sampling,
    shape,
    sorting,
)
from cupola.functional._convert import broadcast_shapes, operands, result_type
from cupola.functional._register import PUBLIC, operator

__all__ = [
    "PUBLIC", "broadcast_shapes", "conversion", "creation", "indexing", "info", "linalg", "operands", "operator",
    "pointwise", "printing", "reduction", "result_type", "sampling", "shape", "sorting",
]  # fmt: skip
