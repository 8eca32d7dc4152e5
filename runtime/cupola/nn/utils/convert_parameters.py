"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from cupola.functional.joining import cat
from cupola.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened and joined."""
    flat = [param.reshape(-1) for param in parameters]
    if len({part.device for part in flat}) > 1:
        raise TypeError(
            "Found two parameters on different devices, this is currently not supported."
        )
    return cat(flat)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Set the parameters' data from one vector."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected a Tensor, but got: {type(vec).__name__}")
    start = 0
    for param in parameters:
        count = param.numel()
        param.data = vec.detach()[start : start + count].reshape(param.shape).clone()
        start += count
