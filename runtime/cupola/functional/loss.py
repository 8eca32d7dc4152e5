"""Losses that compare a prediction with a target element by element or vector by vector."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from cupola.functional._convert import one_dtype
from cupola.functional._reduce import reduced, reduction_name
from cupola.functional._register import operator, settled
from cupola.functional.activation import logsigmoid
from cupola.functional.distance import pairwise_distance
from cupola.functional.pointwise import minimum
from cupola.functional.shape import broadcast_tensors
from cupola.tensor import Tensor


def _matched(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Any]:
    """Input, target and weight of one shape, with a warning where that took broadcasting."""
    if target.size() != input.size():
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )
        input, target = broadcast_tensors(input, target)
    if weight is not None and weight.size() != input.size():
        raise ValueError("Inputs and weights must have the same size.")
    return input, target, weight


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduced(loss, reduction)
    loss = settled(settled(loss) * weight)
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error."""
    reduction = reduction_name(reduction, size_average, reduce)
    input, target, weight = _matched(input, target, weight)
    difference = settled(input - target)
    return _weighted(difference * difference, weight, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute error."""
    reduction = reduction_name(reduction, size_average, reduce)
    input, target, weight = _matched(input, target, weight)
    return _weighted((input - target).abs(), weight, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Squared error below ``beta``, absolute error above (Girshick, 2015)."""
    reduction = reduction_name(reduction, size_average, reduce)
    input, target, _ = _matched(input, target, None)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    error = (input - target).abs()
    if beta == 0.0:
        return reduced(error, reduction)
    loss = Tensor.where(error * error * (0.5 / beta), error < beta, error - 0.5 * beta)
    return reduced(loss, reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error up to ``delta``, linear above (Huber, 1964)."""
    reduction = reduction_name(reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    input, target, weight = _matched(input, target, weight)
    error = (input - target).abs()
    loss = Tensor.where(error * error * 0.5, error <= delta, (error - 0.5 * delta) * delta)
    return _weighted(loss, weight, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy of probabilities in [0, 1]; logarithms are taken to be at least -100."""
    reduction = reduction_name(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    one_dtype("binary_cross_entropy", input, target)
    loss = _cross_entropy(input, target)
    if input.requires_grad:
        # At 0 and 1 the slope is torch's, (x - t) / 1e-12; elsewhere it follows from the formula.
        edge = (input * (1 - input)).detach() < 1e-12
        inside = input.masked_fill(edge, 0.5)
        slope = ((input - target) / 1e-12).detach()
        line = loss.detach() + (input - input.detach()) * slope
        loss = line.where(edge, _cross_entropy(inside, target))
    if weight is not None:
        loss = loss * weight
    return reduced(loss, reduction)


def _cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    ones, zeros = (1 - x).log().clamp(min=-100.0), x.log().clamp(min=-100.0)
    return (target - 1) * ones - target * zeros


@operator(method=False)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross entropy of ``sigmoid(input)``, computed without overflow."""
    reduction = reduction_name(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    if target.dtype.category < 2:
        raise RuntimeError(
            f"result type {input.dtype} can't be cast to the desired output type {target.dtype}. "
            "Convert the target with .float()."
        )
    negative_log = settled(-logsigmoid(input))
    if pos_weight is not None:
        log_weight = settled(settled(settled(pos_weight - 1) * target) + 1)
        negative_log = settled(log_weight * negative_log)
    loss = (settled(settled(1 - target) * input) + negative_log).to(target.dtype)
    if weight is not None:
        loss = settled(loss) * weight
    return reduced(loss, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``log(1 + exp(-target * input))`` with targets 1 and -1."""
    reduction = reduction_name(reduction, size_average, reduce)
    return reduced(settled(settled(-target * input).exp()).log1p(), reduction)


@operator(method=False)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Divergence of ``target`` from the log probabilities ``input``."""
    batch_mean = reduction == "batchmean"
    if batch_mean:
        reduction = "sum"
    elif reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support "
            "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next "
            "major release.",
            stacklevel=2,
        )
    reduction = reduction_name(reduction, size_average, reduce)
    if log_target:
        loss = target.exp() * (target - input)
    else:
        logs = target.masked_fill(target == 0, 1).log()
        loss = (target * logs).masked_fill(target == 0, 0) - target * input
    total = reduced(loss, reduction)
    return total / input.shape[0] if batch_mean and input.dim() else total


@operator(method=False)
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of Poisson counts; ``full`` adds Stirling's approximation."""
    reduction = reduction_name(reduction, size_average, reduce)
    if log_input:
        loss = settled(input.exp()) - settled(target * input)
    else:
        loss = input - settled(target * settled(settled(input + eps).log()))
    if full:
        safe = target.masked_fill(target <= 1, 2)
        stirling = settled(settled(safe * settled(safe.log())) - safe)
        stirling = stirling + settled(settled(settled(safe * (2 * math.pi)).log()) * 0.5)
        loss = settled(loss) + settled(stirling).masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of a Gaussian with mean ``input`` and variance ``var``."""
    reduction = reduction_name(reduction)
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input.new_full(input.shape, float(var))
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif input.dim() != var.dim() or any(
            b not in (1, a) for a, b in zip(input.shape, var.shape, strict=True)
        ):
            raise ValueError("var is of incorrect size")
    # The floor has no gradient of its own, only the value changes.
    var = var + (var.detach().clamp(min=eps) - var.detach())
    difference = input - target
    loss = (var.log() + difference * difference / var) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


@operator(method=False)
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``x`` where the target is 1, ``max(0, margin - x)`` where it is -1."""
    reduction = reduction_name(reduction, size_average, reduce)
    away = (margin - input).clamp(min=0).masked_fill(target == 1, 0)
    near = input.masked_fill(target == -1, 0)
    return reduced(away + near, reduction)


@operator(method=False)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, -target * (input1 - input2) + margin)``."""
    reduction = reduction_name(reduction, size_average, reduce)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


@operator(method=False)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1."""
    reduction = reduction_name(reduction, size_average, reduce)
    if target.dim() not in (0, 1):
        raise RuntimeError(
            f"0D or 1D target tensor expected, multi-target not supported (got {target.dim()}D)"
        )
    eps = 1e-12
    dot = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)
    cosine = dot / squares.sqrt()
    near = (1 - cosine).masked_fill(target != 1, 0)
    away = (cosine - margin).clamp(min=0).masked_fill(target != -1, 0)
    return reduced(near + away, reduction)


@operator(method=False)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, |a - p| - |a - n| + margin)``; ``swap`` also considers ``|p - n|``."""
    reduction = reduction_name(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return _triplet(
        anchor,
        positive,
        negative,
        lambda a, b: pairwise_distance(a, b, p, eps),
        margin,
        swap,
        reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Triplet loss under any distance function; Euclidean by default."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction_name(reduction))


def _triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and "
            f"negative {negative.dim()}D inputs"
        )
    near, away = distance(anchor, positive), distance(anchor, negative)
    if swap:
        away = minimum(away, distance(positive, negative))
    return reduced((settled(near + margin) - away).clamp(min=0), reduction)
