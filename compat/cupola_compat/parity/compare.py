"""The comparison itself: same weights, same inputs, same seed; then every value side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cupola_compat.parity.report import Report, Row, compared
from cupola_compat.parity.side import Side, Trace

OUTPUT_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4


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
    return Report(tuple(rows + _rows(want, got, output_tolerance, gradient_tolerance)))


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
