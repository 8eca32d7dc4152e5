"""The ``reduction`` argument of loss functions."""

from __future__ import annotations

import warnings

from cupola.functional._register import settled
from cupola.tensor import Tensor


def reduction_name(
    reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> str:
    """The reduction wanted, from the current and the two deprecated arguments."""
    if size_average is not None or reduce is not None:
        average = True if size_average is None else size_average
        whole = True if reduce is None else reduce
        name = ("mean" if average else "sum") if whole else "none"
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{name}' instead.",
            stacklevel=4,
        )
        return name
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The mean or sum of ``loss``, or ``loss`` itself, which PyTorch stores before."""
    loss = settled(loss)
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss
