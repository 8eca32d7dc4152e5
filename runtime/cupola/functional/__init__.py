"""Composed operators with PyTorch's names, a file per family; importing this attaches Tensor's methods."""

from cupola.functional import (
    activation,
    adaptive_pooling,
    attention,
    classification_loss,
    conversion,
    convolution,
    creation,
    distance,
    dropout,
    embedding,
    indexing,
    info,
    interpolation,
    linalg,
    loss,
    normalization,
    padding,
    pointwise,
    pooling,
    printing,
    recurrent,
    reduction,
    sampling,
    shape,
    sorting,
    vision,
)
from cupola.functional._convert import broadcast_shapes, operands, result_type
from cupola.functional._register import PUBLIC, operator

__all__ = [
    "PUBLIC", "activation", "adaptive_pooling", "attention", "broadcast_shapes",
    "classification_loss", "conversion", "convolution", "creation", "distance", "dropout",
    "embedding", "indexing", "info", "interpolation", "linalg", "loss", "normalization",
    "operands", "operator", "padding", "pointwise", "pooling", "printing", "recurrent",
    "reduction", "result_type", "sampling", "shape", "sorting", "vision",
]  # fmt: skip
