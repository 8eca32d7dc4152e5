"""Losses of classifiers: cross entropy, negative log likelihood, margins, CTC."""

from __future__ import annotations

import math
from typing import Any

from cupola.functional._reduce import reduced, reduction_name
from cupola.functional._register import operator, settled
from cupola.functional.activation import log_softmax, logsigmoid
from cupola.functional.convolution import linear
from cupola.functional.creation import arange
from cupola.tensor import Tensor, tensor
from cupola.tensor.composite import as_one


def _check_target(input: Tensor, target: Tensor, weight: Tensor | None, channel: int) -> None:
    classes = input.shape[channel]
    if target.dtype.is_floating_point or target.dtype.itemsize not in (1, 8):
        raise RuntimeError(f"expected scalar type Long but found {target.dtype}")
    if input.dim() and channel and target.shape[:1] != input.shape[:1]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size "
            f"({target.shape[0] if target.dim() else 0})."
        )
    if weight is not None and (weight.dim() != 1 or weight.numel() != classes):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)}"
        )
    expected = (*input.shape[:channel], *input.shape[channel + 1 :])
    if tuple(target.shape) != tuple(expected):
        raise RuntimeError(
            f"size mismatch (got input: {list(input.shape)}, target: {list(target.shape)})"
        )


def _nll(
    logs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> Tensor:
    """Negative log likelihood; logs (N, C, *) and target (N, *), or (C,) and ()."""
    channel = 1 if logs.dim() > 1 else 0
    _check_target(logs, target, weight, channel)
    if target.dtype.itemsize != 8:
        target = target.long()
    # A target outside the classes can only be legal if it is the ignored one.
    ignoring = not 0 <= ignore_index < logs.shape[channel]
    ignored = target == ignore_index
    safe = target.masked_fill(ignored, 0) if ignoring else target
    picked = -logs.gather(channel, safe.unsqueeze(channel)).squeeze(channel)
    if weight is not None:
        scale = weight.index_select(0, safe.reshape(-1)).reshape(safe.shape)
        scale = scale.masked_fill(ignored, 0)
        loss = (picked * scale).masked_fill(ignored, 0)
        return loss.sum() / scale.sum() if reduction == "mean" else reduced(loss, reduction)
    loss = picked.masked_fill(ignored, 0)
    if reduction == "mean":
        return loss.sum() / ignored.logical_not().sum().to(loss.dtype)
    return reduced(loss, reduction)


_nll_loss = as_one("nll_loss")(_nll)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood of class indices; input (N, C, *) log probabilities, target (N, *).

    The mean is weighted with the targets' class weights; ``ignore_index`` counts for nothing.
    """
    reduction = reduction_name(reduction, size_average, reduce)
    return _nll_loss(input, target, weight, ignore_index, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy of logits (N, C, *) with class indices (N, *) or probabilities (N, C, *)."""
    reduction = reduction_name(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    return _cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


@as_one("nll_loss", rereads=True)
def _cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    channel = 1 if input.dim() > 1 else 0
    logs = log_softmax(input, channel)
    if target.shape == input.shape:
        return _soft_cross_entropy(logs, target, weight, channel, reduction, label_smoothing)
    loss = _nll(logs, target, weight, ignore_index, reduction)
    if label_smoothing == 0.0:
        return loss
    return loss * (1 - label_smoothing) + label_smoothing / input.shape[channel] * _uniform_loss(
        logs, target, weight, ignore_index, channel, reduction
    )


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """Cross entropy of ``linear(input, linear_weight)``.

    input (N, in) or (in,), linear_weight (C, *, in) -> logits (N, C, *). ``options`` has no effect.
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}"
        )
    *classes, size = linear_weight.shape
    if input.shape[-1] != size:
        raise RuntimeError(
            f"expected equal input and linear_weight last dimensions, got {input.shape[-1]} and "
            f"{size}"
        )
    if classes[1:] and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} "
            f"requires batched input, (N, {size}), got unbatched input"
        )
    if ignore_index is not None and target.dtype.is_floating_point:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = settled(linear(input, linear_weight.reshape(math.prod(classes), size), bias))
    return cross_entropy(
        logits.reshape((*input.shape[:-1], *classes)),
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


def _class_weight(weight: Tensor, ndim: int, channel: int) -> Tensor:
    return weight.reshape((-1,) + (1,) * (ndim - channel - 1))


def _soft_cross_entropy(
    logs: Tensor,
    target: Tensor,
    weight: Tensor | None,
    channel: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    if not target.dtype.is_floating_point:
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {target.dtype}"
        )
    classes = logs.shape[channel]
    if smoothing > 0.0:
        target = target * (1 - smoothing) + smoothing / classes
    scored = logs * target
    if weight is not None:
        scored = scored * _class_weight(weight, logs.dim(), channel)
    if reduction == "none":
        return -scored.sum(channel)
    total = -scored.sum()
    return total / max(logs.numel() // classes, 1) if reduction == "mean" else total


def _uniform_loss(
    logs: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    channel: int,
    reduction: str,
) -> Tensor:
    """The loss against equal probabilities for all classes, for label smoothing."""
    ignored = target == ignore_index
    scored = logs if weight is None else logs * _class_weight(weight, logs.dim(), channel)
    loss = (-scored.sum(channel)).masked_fill(ignored, 0)
    if reduction != "mean":
        return reduced(loss, reduction)
    if weight is None:
        return loss.sum() / ignored.logical_not().sum().to(loss.dtype)
    safe = target.masked_fill(ignored, 0)
    scale = weight.index_select(0, safe.reshape(-1)).reshape(safe.shape).masked_fill(ignored, 0)
    return loss.sum() / scale.sum()


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over classes of the binary cross entropy of logits (N, C)."""
    reduction = reduction_name(reduction, size_average, reduce)
    hit = settled(target * settled(logsigmoid(input)))
    loss = settled(hit + settled(settled(1 - target) * settled(logsigmoid(-input))))
    if weight is not None:
        loss = settled(loss * weight)
    return reduced(-settled(loss.sum(-1)) / input.shape[-1], reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Margins between target and other classes; target (N, C) lists classes, ended by -1."""
    reduction = reduction_name(reduction, size_average, reduce)
    if not input.numel() and 0 in input.shape[1 if input.dim() == 2 else 0 :]:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(input.shape)}"
        )
    if input.dim() > 2 or tuple(input.shape) != tuple(target.shape):
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    single = input.dim() < 2
    x, y = (v.reshape(1, -1) if single else v for v in (input, target))
    classes = x.shape[1]
    valid = (y < 0).long().cumsum(1) == 0
    safe = y.masked_fill(valid.logical_not(), 0)
    hits = y.new_zeros(y.shape).scatter_add(1, safe, valid.long()) > 0
    # pairs (n, j, i): target j against class i
    chosen = x.gather(1, safe).unsqueeze(2)
    margins = (1 - (chosen - x.unsqueeze(1))).relu()
    counted = valid.unsqueeze(2) & hits.logical_not().unsqueeze(1)
    loss = margins.masked_fill(counted.logical_not(), 0).sum((1, 2)) / classes
    return reduced(loss.squeeze(0) if single else loss, reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Margins between the target class and the others, to the power ``p`` (1 or 2)."""
    reduction = reduction_name(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    single = input.dim() < 2
    x = input.reshape(1, -1) if single else input
    y = target.reshape(-1)
    if y.shape[0] != x.shape[0]:
        raise RuntimeError(
            f"inconsistent target size, expected {x.shape[0]} but got {list(target.shape)}"
        )
    chosen = x.gather(1, y.unsqueeze(1))
    loss = (margin - chosen + x).relu()
    if p == 2:
        loss = loss * loss
    if weight is not None:
        loss = loss * weight.index_select(0, y).unsqueeze(1)
    own = x.detach().new_zeros(x.shape).scatter(1, y.unsqueeze(1), 1.0) != 0
    loss = loss.masked_fill(own, 0).sum(1) / x.shape[1]
    return reduced(loss.squeeze(0) if single and target.dim() == 0 else loss, reduction)


@operator(method=False)
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification (Graves et al., 2006).

    log_probs (T, N, C) or (T, C); targets (N, S) or concatenated (sum of lengths,).
    """

    reduction = reduction_name(reduction)
    batched = log_probs.dim() == 3
    logs = log_probs if batched else log_probs.unsqueeze(1)
    steps, batch, classes = logs.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    in_lengths, out_lengths = _lengths(input_lengths), _lengths(target_lengths)
    if len(in_lengths) != batch or len(out_lengths) != batch:
        raise RuntimeError("input_lengths and target_lengths must be of size batch_size")
    if max(in_lengths, default=0) > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {max(in_lengths)}"
        )
    labels = _labels(targets, out_lengths, batched)
    longest = max(out_lengths, default=0)
    # The extended sequence: blank, label, blank, ..., label, blank.
    extended, skips = [], []
    for row in labels:
        line = [blank] * (2 * longest + 1)
        line[1 : 2 * len(row) : 2] = row
        extended.append(line)
        skips.append(
            [i >= 2 and line[i] != blank and line[i] != line[i - 2] for i in range(len(line))]
        )
    device = logs.device
    index, skip = tensor(extended, device=device), tensor(skips, device=device)
    width = 2 * longest + 1
    emitted = logs.gather(2, index.unsqueeze(0).expand((steps, batch, width)))
    low = -math.inf
    first = tensor(
        [[i < 2 and (i == 0 or n > 0) for i in range(width)] for n in out_lengths], device=device
    )
    alpha = emitted[0].masked_fill(first.logical_not(), low)
    ends_in = tensor(in_lengths, device=device)
    from cupola.functional.padding import pad

    for t in range(1, steps):
        shifted = pad(alpha, (1, 0), value=low)[:, :width]
        jumped = pad(alpha, (2, 0), value=low)[:, :width].masked_fill(skip.logical_not(), low)
        new = _log_add(_log_add(alpha, shifted), jumped) + emitted[t]
        alpha = Tensor.where(new, (ends_in > t).unsqueeze(1), alpha)
    last = tensor([[2 * n] for n in out_lengths], device=device)
    before = tensor([[max(2 * n - 1, 0)] for n in out_lengths], device=device)
    final = alpha.gather(1, last).squeeze(1)
    previous = alpha.gather(1, before).squeeze(1)
    previous = previous.masked_fill(tensor([n == 0 for n in out_lengths], device=device), low)
    loss = -_log_add(final, previous)
    if 0 in in_lengths:
        nothing = tensor([0.0 if n == 0 else math.inf for n in out_lengths], device=device)
        empty = tensor([n == 0 for n in in_lengths], device=device)
        loss = Tensor.where(nothing.to(loss.dtype), empty, loss)
    # PyTorch's gradient takes log_probs for the output of log_softmax: it includes the softmax.
    late = arange(steps, device=device).unsqueeze(1) >= ends_in
    mass = logs.exp().sum(-1).masked_fill(late, 0).sum(0)
    loss = loss + (mass - mass.detach())
    if zero_infinity:
        loss = loss.masked_fill(loss == math.inf, 0)
    if reduction == "mean":
        divisor = tensor([max(n, 1) for n in out_lengths], dtype=loss.dtype, device=device)
        return (loss / divisor).mean()
    if not batched and reduction == "none":
        return loss.squeeze(0)
    return reduced(loss, reduction)


def _log_add(a: Tensor, b: Tensor) -> Tensor:
    """``log(exp(a) + exp(b))``; minus infinity takes part in neither value nor gradient."""
    low = -math.inf
    high = Tensor.where(a, a > b, b).detach()
    shift = high.masked_fill(high == low, 0)
    dead = high == low
    total = (a - shift).exp() + (b - shift).exp()
    return (total.masked_fill(dead, 1).log() + shift).masked_fill(dead, low)


def _lengths(value: Any) -> list[int]:
    value = value.tolist() if isinstance(value, Tensor) else value
    return [value] if isinstance(value, int) else [int(v) for v in value]


def _labels(targets: Tensor, lengths: list[int], batched: bool) -> list[list[int]]:
    """Label sequences from padded or concatenated targets."""
    values = targets.tolist()
    if targets.dim() == 2:
        return [row[:n] for row, n in zip(values, lengths, strict=True)]
    if not batched:
        return [values[: lengths[0]]]
    rows, start = [], 0
    for n in lengths:
        rows.append(values[start : start + n])
        start += n
    return rows
