"""Applying a function to some of a sample's columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def arguments(sample: Any, columns: Any) -> list[Any]:
    """What a function gets: the sample, or some of its columns."""
    if columns is None:
        return [sample]
    return [sample[c] for c in columns] if isinstance(columns, (list, tuple)) else [sample[columns]]


def applied(fn: Callable[..., Any], sample: Any, given: Any, taken: Any) -> Any:
    """The sample with a function's result in its place, or in that of a column.

    Args:
        given: the columns that the function gets (None: the whole sample).
        taken: the column that the result goes to (None: the first of ``given``; -1: a new one).
    """
    result = fn(*arguments(sample, given))
    if given is None and taken is None:
        return result
    fixed = isinstance(sample, tuple)
    out = list(sample) if fixed else sample
    if taken is None:
        several = isinstance(given, (list, tuple))
        out[given[0] if several else given] = result
        if several:
            for c in sorted(given[1:], reverse=True):
                del out[c]
    elif taken == -1:
        out.append(result)
    else:
        out[taken] = result
    return tuple(out) if fixed else out


def check(given: Any, taken: Any) -> None:
    """Raises ValueError where columns cannot be used together."""
    if given is None and taken is not None:
        raise ValueError("`output_col` must be None when `input_col` is None.")
    if isinstance(taken, (list, tuple)) and len(taken) > 1:
        raise ValueError("`output_col` must be a single-element list or tuple")
