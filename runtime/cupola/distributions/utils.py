"""Helpers of the distributions (torch.distributions.utils)."""

from __future__ import annotations

import functools
from typing import Any

import cupola
from cupola.tensor import Tensor

__all__ = [
    "broadcast_all",
    "clamp_probs",
    "lazy_property",
    "logits_to_probs",
    "probs_to_logits",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape.

    Raises:
        ValueError: a value is neither.
    """
    if not all(isinstance(v, (Tensor, int, float)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing"
            " __torch_function__."
        )
    like = next((v for v in values if isinstance(v, Tensor)), None)
    options: dict[str, Any] = {"dtype": cupola.get_default_dtype()}
    if like is not None:
        options = {"dtype": like.dtype, "device": like.device}
    made = [v if isinstance(v, Tensor) else cupola.tensor(v, **options) for v in values]
    return cupola.broadcast_tensors(*made)


def _standard_normal(shape: Any, dtype: Any, device: Any) -> Tensor:
    zeros = cupola.zeros(shape, dtype=dtype, device=device)
    return cupola.normal(zeros, cupola.ones(shape, dtype=dtype, device=device))


def _sum_rightmost(value: Any, dim: int) -> Any:
    if dim == 0 or not isinstance(value, Tensor):
        return value
    return value.reshape(*value.shape[:-dim], -1).sum(-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept away from 0 and 1 by the dtype's rounding step."""
    eps = cupola.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log-odds of probabilities, or their logarithms if there are several classes."""
    safe = clamp_probs(probs)
    return cupola.log(safe) - cupola.log1p(-safe) if is_binary else cupola.log(safe)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log-odds, or of unnormalized logarithms."""
    return cupola.sigmoid(logits) if is_binary else logits.softmax(-1)


class lazy_property:
    """An attribute that is computed when it is first read."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with cupola.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle as a vector."""
    n = mat.shape[-1]
    rows, columns = cupola.tril_indices(n, n, diag)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """A lower triangle from its vector."""
    n = round(
        (
            -(1 + 2 * diag)
            + ((1 + 2 * diag) ** 2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5
        )
        / 2
    )
    rows, columns = cupola.tril_indices(n, n, diag)
    out = vec.new_zeros((*vec.shape[:-1], n, n))
    out[..., rows, columns] = vec
    return out
