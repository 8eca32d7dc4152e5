"""The other spellings of an operator: as a method, in place, and with ``out=``."""

from __future__ import annotations

from typing import Any

import torch

import cupola
from scoreboard.compare import flatten, judged
from scoreboard.samples import call, copied, expected, parts_of, start
from scoreboard.tally import error_of, guarded, raises
from scoreboard.translate import Skipped, exception, translate


def method(op: Any, sample: Any, within: Any, values: bool) -> str | None:
    """Compares ``x.name(...)``."""
    parts = parts_of(sample)
    if not isinstance(parts[0], torch.Tensor):
        raise Skipped("no tensor to call a method of")
    want = expected(op.method_variant, parts)

    def compare() -> str | None:
        start()
        got = call(translate(op.method_variant), translate(copied(parts)))
        return judged(op, sample, got, want, within, values)

    return guarded(compare)


def inplace(op: Any, sample: Any, within: Any, values: bool) -> str | None:
    """Compares ``x.name_(...)``: the result, and that it is the first argument."""
    parts = parts_of(sample)
    if not isinstance(parts[0], torch.Tensor):
        raise Skipped("no tensor to write into")
    want = expected(op.inplace_variant, parts)

    def compare() -> str | None:
        start()
        ours = translate(copied(parts))
        got = call(translate(op.inplace_variant), ours)
        if got is not ours[0]:
            return "the result is not the first argument"
        return judged(op, sample, got, want, within, values)

    return guarded(compare)


def _strides(t: Any) -> list[int]:
    """The strides that matter: those of dimensions with more than one element."""
    if not t.numel():
        return []
    return [s for s, n in zip(t.stride(), t.shape, strict=True) if n > 1]


def _other_strides(t: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape in the reversed order of memory."""
    dims = tuple(range(t.ndim))[::-1]
    return torch.full(t.shape[::-1], 3, dtype=t.dtype).permute(dims)


# Targets of ``out=``: filled with other values, strided, empty (it is resized), of another dtype.
TARGETS = {
    "filled": lambda t: torch.full_like(t, 3),
    "strided": _other_strides,
    "empty": lambda t: torch.empty(0, dtype=t.dtype),
    "dtype": lambda t: torch.zeros(
        t.shape, dtype=torch.int64 if t.is_floating_point() or t.is_complex() else torch.float32
    ),
}


def out(op: Any, sample: Any, which: str, within: Any, values: bool) -> str | None:
    """Compares a call with ``out=`` for one kind of target: value, dtype, strides, error type."""
    parts = parts_of(sample)
    plain = expected(op.op, parts)
    leaves = flatten(plain)
    if not all(isinstance(x, torch.Tensor) for x in leaves):
        raise Skipped("no tensors to write")
    made = [TARGETS[which](x.detach().resolve_conj()) for x in leaves]
    before = [m.stride() for m in made]
    many = isinstance(plain, (tuple, list))
    # Copies: a tensor whose memory NumPy has seen cannot be resized any more.
    ours: list[Any] = [translate(m.clone()) for m in made]

    def call_theirs() -> Any:
        start()
        return call(op.op, copied(parts), out=tuple(made) if many else made[0])

    def call_ours() -> Any:
        start()
        result = call(
            translate(op.op), translate(copied(parts)), out=tuple(ours) if many else ours[0]
        )
        return result, [o.cpu().numpy() for o in ours if o.dtype is not cupola.bfloat16]

    error = error_of(call_theirs)
    if error is not None:
        return raises(exception(type(error)), call_ours)

    def compare() -> str | None:
        call_ours()
        for m, o, old in zip(made, ours, before, strict=True):
            # Memory that torch writes where it lies is not moved by cupola either.
            if m.stride() == old and _strides(o) != _strides(m):
                return f"strides: {o.stride()}, {old} expected"
        got, want = (tuple(ours), tuple(made)) if many else (ours[0], made[0])
        return judged(op, sample, got, want, within, values)

    return guarded(compare)
