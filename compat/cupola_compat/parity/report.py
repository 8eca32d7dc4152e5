"""What a comparison found: rows in the order of execution, as a table, as JSON, as a verdict."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Row:
    """One compared value.

    Attributes:
        kind: `state`, `submodule`, `output`, `gradient` or `input gradient`.
        name: the parameter's or the submodule's dotted name, or the output's place.
        shape: the original's shape.
        error: |converted - original| / |original| in the Euclidean norm; inf where they cannot be
            compared, with the cause in `note`.
        tolerance: the largest error that passes.
        note: why they cannot be compared, or empty.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    error: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # NaN fails


def compared(
    kind: str, name: str, want: np.ndarray | None, got: np.ndarray | None, tolerance: float
) -> Row:
    """Returns the row for two arrays, None standing for a value that one side does not have."""
    if want is None or got is None:
        if want is got:
            return Row(kind, name, (), 0.0, tolerance, "absent on both sides")
        side = "original" if want is None else "converted"
        shape = (got if want is None else want).shape
        return Row(kind, name, shape, float("inf"), tolerance, f"the {side} has none")
    if want.shape != got.shape:
        note = f"the converted shape is {got.shape}"
        return Row(kind, name, want.shape, float("inf"), tolerance, note)
    if want.dtype != got.dtype:
        note = f"{want.dtype} became {got.dtype}"
        return Row(kind, name, want.shape, float("inf"), tolerance, note)
    return Row(kind, name, want.shape, _error(want, got), tolerance)


def _error(want: np.ndarray, got: np.ndarray) -> float:
    if want.dtype.kind in "biu":
        different = int((want != got).sum())
        return different / max(1, want.size)
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    want, got = want.astype(wide), got.astype(wide)
    # Infinities and NaN that stand at the same places agree; anywhere else they are an error.
    odd = ~np.isfinite(want)
    if not np.array_equal(want[odd], got[odd], equal_nan=True):
        return float("inf")
    want, got = np.where(odd, 0, want), np.where(odd, 0, got)
    size, apart = np.linalg.norm(want), np.linalg.norm(got - want)
    return float(apart / size) if size else float(apart)


@dataclasses.dataclass(frozen=True)
class Report:
    """A comparison's rows, in the order in which the values came into being."""

    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether every value agrees."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    @property
    def first_divergence(self) -> Row | None:
        """The first value that differs, or None."""
        return next((row for row in self.rows if not row.passed), None)

    def kinds(self) -> dict[str, list[Row]]:
        """Returns the rows by kind."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.kind, []).append(row)
        return found

    def verdict(self) -> str:
        """Returns the result as one line."""
        if not self.rows:
            return "parity: nothing was compared"
        first = self.first_divergence
        if first is None:
            worst = max(row.error for row in self.rows)
            exact = sum(
                row.passed and row.note.startswith("agrees in float64") for row in self.rows
            )
            doubled = f", {exact} gradients of them compared in float64" if exact else ""
            return (
                f"parity: all {len(self.rows)} values agree, largest relative error {worst:.1e}"
                f"{doubled}"
            )
        wrong = sum(not row.passed for row in self.rows)
        why = first.note or f"relative error {first.error:.1e}, allowed {first.tolerance:.0e}"
        return (
            f"parity: {wrong} of {len(self.rows)} values differ, "
            f"first {first.kind} {first.name}: {why}"
        )

    def to_json(self) -> str:
        """Returns the report as a JSON object: `passed`, `first_divergence` and `rows`."""
        first = self.first_divergence
        return json.dumps(
            {
                "passed": self.passed,
                "first_divergence": first and _plain(first),
                "rows": [_plain(row) for row in self.rows],
            },
            indent=1,
        )

    def table(self, everything: bool = False) -> Any:
        """Returns a rich table: a line a kind and each value that differs, or every value."""
        from rich.table import Table

        table = Table(title="converted against original")
        table.add_column("value")
        table.add_column("name", overflow="fold")
        for title in ("shape", "error", "allowed"):
            table.add_column(title, justify="right")
        table.add_column("verdict")
        for kind, rows in self.kinds().items():
            passed = [row for row in rows if row.passed]
            if not everything and passed:
                worst = max(passed, key=lambda row: row.error)
                name = f"{len(passed)} agree; worst {worst.name}"
                table.add_row(kind, name, *_cells(worst), "agrees")
            for row in rows:
                if everything or not row.passed or row.note.startswith("agrees in float64"):
                    verdict = row.note or ("agrees" if row.passed else "DIFFERS")
                    table.add_row(kind, row.name, *_cells(row), verdict)
        return table


def _cells(row: Row) -> tuple[str, str, str]:
    shape = "×".join(map(str, row.shape)) or "scalar"
    return shape, f"{row.error:.1e}", f"{row.tolerance:.0e}"


def _plain(row: Row) -> dict[str, Any]:
    # JSON has no infinity.
    error = row.error if np.isfinite(row.error) else None
    return {**dataclasses.asdict(row), "error": error, "passed": row.passed}
