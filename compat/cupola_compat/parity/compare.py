"""The comparison itself: same weights, same inputs, same seed; then every value side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cupola_compat.parity.report import Report, Row, compared
from cupola_compat.parity.side import Side, Trace

OUTPUT_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
# What two right implementations of one function agree to in float64.
DOUBLE_TOLERANCE = 1e-8
KINK = "agrees in float64: in float32 a rounding falls on a kink (ReLU, max)"


def compare(
    original: Any,
    converted: Any,
    inputs: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    train: bool = False,
    backward: bool = True,
    seed: int = 0,
    output_tolerance: float = OUTPUT_TOLERANCE,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
) -> Report:
    """Compares a torch module with its conversion on the same weights, inputs and random numbers.

    The original's weights are copied into the converted module. Both are run once; the backward
    pass starts from the outputs weighted by fixed random numbers, so that a wrong element is not
    averaged away.

    Args:
        original: a torch.nn.Module.
        converted: the cupola.nn.Module that it became.
        inputs: positional arguments; NumPy arrays become tensors, anything else is passed as it is.
        kwargs: keyword arguments, treated likewise.
        train: run in training mode instead of evaluation mode.
        backward: compare gradients too.
        seed: for manual_seed on both sides before the run (dropout masks and the like).
        output_tolerance: largest relative error (Euclidean norm) of an output, of a submodule too.
        gradient_tolerance: the same for gradients.

    Returns:
        A Report: rows for state, each submodule's output, outputs and gradients, in that order.
    """
    kwargs = kwargs or {}
    ours, theirs = Side("torch", original), Side("cupola", converted)
    rows = _share_state(ours, theirs)
    options = {"train": train, "seed": seed, "backward": backward}
    want = ours.run(tuple(inputs), kwargs, **options)
    got = theirs.run(tuple(inputs), kwargs, **options)
    rows += _rows(want, got, output_tolerance, gradient_tolerance)
    if any(not row.passed for row in rows) and all(row.passed or _kinked(row) for row in rows):
        rows = _settled_in_double(rows, ours, theirs, tuple(inputs), kwargs, options)
    return Report(tuple(rows))


def _kinked(row: Row) -> bool:
    """Whether a rounding at a kink could explain a difference: a gradient, of no odd shape."""
    return row.kind in ("gradient", "input gradient") and not row.note


def _settled_in_double(
    rows: list[Row], ours: Side, theirs: Side, inputs: tuple, kwargs: Mapping, options: Mapping
) -> list[Row]:
    """Repeats the comparison in float64 where all outputs agree and only gradients differ.

    Near zero, one rounding more or less decides whether a ReLU passes a gradient, so that two right
    implementations can differ in float32. In float64 they agree, and wrong ones still differ.
    """

    def wide(value: Any) -> Any:
        return value.astype(np.float64) if getattr(value, "dtype", None) == np.float32 else value

    if not all(side.is_float32() for side in (ours, theirs)):
        return rows
    named = {k: wide(v) for k, v in kwargs.items()}
    traces = []
    for side in (ours, theirs):
        side.module.double()
        try:
            traces.append(side.run(tuple(wide(v) for v in inputs), named, **options))
        finally:
            side.module.float()  # exact: every value came from float32
    exact = _rows(*traces, DOUBLE_TOLERANCE, DOUBLE_TOLERANCE)
    found = {(row.kind, row.name): row for row in exact}
    out = []
    for row in rows:
        twin = found.get((row.kind, row.name))
        if not row.passed and twin is not None and twin.passed:
            row = Row(row.kind, row.name, row.shape, twin.error, DOUBLE_TOLERANCE, KINK)
        out.append(row)
    return out


def _share_state(ours: Side, theirs: Side) -> list[Row]:
    """Copies the original's state over; returns rows for what the two do not have in common."""
    want, got = ours.state(), theirs.state()
    rows = []
    for name in {**want, **got}:
        mine, its = want.get(name), got.get(name)
        if mine is None or its is None or (mine.shape, mine.dtype) != (its.shape, its.dtype):
            rows.append(compared("state", name, mine, its, 0.0))
    theirs.load({k: v for k, v in want.items() if k in got and v.shape == got[k].shape})
    return rows


def _rows(want: Trace, got: Trace, outputs: float, gradients: float) -> list[Row]:
    rows = _paired("submodule", want.submodules, got.submodules, outputs)
    rows += _paired("output", want.outputs, got.outputs, outputs)
    rows += _paired("gradient", want.gradients, got.gradients, gradients)
    rows += _paired("input gradient", want.input_gradients, got.input_gradients, gradients)
    return rows


def _paired(
    kind: str,
    want: list[tuple[str, np.ndarray | None]],
    got: list[tuple[str, np.ndarray | None]],
    tolerance: float,
) -> list[Row]:
    """Pairs values by name, in the original's order; what only the conversion has comes last."""
    mine, its = dict(want), dict(got)
    return [compared(kind, n, mine.get(n), its.get(n), tolerance) for n in {**mine, **its}]
