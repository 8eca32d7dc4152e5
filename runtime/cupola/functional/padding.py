"""Padding of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cupola.functional._convert import own
from cupola.functional._register import operator
from cupola.functional.joining import cat
from cupola.ops import movement as ops
from cupola.tensor import Tensor, apply


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Pad the last dimensions; ``pad`` lists (before, after) from the last dimension backwards.

    Modes: ``constant`` (negative amounts crop), ``reflect``, ``replicate``, ``circular``.
    """
    amounts = [int(p) for p in pad]
    if len(amounts) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(amounts) > 2 * input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(amounts)} and input of dimension {input.dim()}"
        )
    count = len(amounts) // 2
    pairs = [(amounts[2 * i], amounts[2 * i + 1]) for i in reversed(range(count))]
    if mode == "constant":
        return _constant(input, pairs, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if not (
        (count == 1 and input.dim() in (2, 3))
        or (count == 2 and input.dim() in (3, 4))
        or (count == 3 and input.dim() in (4, 5))
    ):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    given = input
    for i, (lo, hi) in enumerate(pairs):
        if lo or hi:
            input = _extend(input, input.dim() - count + i, lo, hi, mode)
    return own(input, given)


@operator(method=False)
def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Any = 0) -> Tensor:
    """Padding with a constant (torch.constant_pad_nd)."""
    return _pad(input, pad, "constant", value)


_pad = pad


def _constant(input: Tensor, pairs: list[tuple[int, int]], value: Any) -> Tensor:
    first = input.dim() - len(pairs)
    for i, (lo, hi) in enumerate(pairs):
        dim = first + i
        if input.shape[dim] + lo + hi < 0:
            raise RuntimeError(
                f"The input size {input.shape[dim]}, plus negative padding {lo} and {hi} resulted "
                f"in a negative output size, which is invalid. Check dimension {dim} of your input."
            )
        if lo < 0 or hi < 0:
            start = max(-lo, 0)
            input = input.narrow(dim, start, input.shape[dim] - start - max(-hi, 0))
    widths = tuple((max(lo, 0), max(hi, 0)) for lo, hi in pairs)
    if not any(lo or hi for lo, hi in widths):
        return input.clone()
    return apply(ops.pad, input, pairs=((0, 0),) * first + widths, value=value)


def _extend(input: Tensor, dim: int, lo: int, hi: int, mode: str) -> Tensor:
    """Pad one dimension with values of the input."""
    size = input.shape[dim]
    if size == 0:
        raise RuntimeError(
            f"Expected a non-empty input dimension {dim} for {mode} padding, but got size 0"
        )
    if mode == "reflect" and (lo >= size or hi >= size):
        raise RuntimeError(
            "Padding size should be less than the corresponding input dimension, but got: "
            f"padding ({lo}, {hi}) at dimension {dim} of input {list(input.shape)}"
        )
    if mode == "circular" and (lo > size or hi > size):
        raise RuntimeError("Padding value causes wrapping around more than once.")
    start, stop = max(-lo, 0), size - max(-hi, 0)
    if stop < start:
        raise RuntimeError(f"padding ({lo}, {hi}) is too small for input size {size}")
    if mode == "circular" and (start or stop < size):
        # What wraps around is what is left after cropping.
        return _extend(input.narrow(dim, start, stop - start), dim, max(lo, 0), max(hi, 0), mode)
    parts = []
    if lo > 0:
        if mode == "reflect":
            parts.append(input.narrow(dim, 1, lo).flip(dim))
        elif mode == "circular":
            parts.append(input.narrow(dim, size - lo, lo))
        else:
            parts.append(_repeat_edge(input, dim, 0, lo))
    if stop > start:
        parts.append(input if stop - start == size else input.narrow(dim, start, stop - start))
    if hi > 0:
        if mode == "reflect":
            parts.append(input.narrow(dim, size - 1 - hi, hi).flip(dim))
        elif mode == "circular":
            parts.append(input.narrow(dim, 0, hi))
        else:
            parts.append(_repeat_edge(input, dim, size - 1, hi))
    return parts[0] if len(parts) == 1 else cat(parts, dim)


def _repeat_edge(input: Tensor, dim: int, index: int, count: int) -> Tensor:
    shape = list(input.shape)
    shape[dim] = count
    return input.narrow(dim, index, 1).expand(shape)
