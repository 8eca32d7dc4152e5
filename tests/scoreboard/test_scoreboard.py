"""A tenth of PyTorch's own test databases; `make scoreboard` runs them whole."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from scoreboard import page, regressions  # noqa: E402

CHOSEN = regressions.tenth()
NOTICE = "run `python tests/scoreboard/regressions.py` and commit failing.txt"


@pytest.mark.parametrize("chosen", CHOSEN, ids=lambda e: f"{e.database}-{e.name}")
def test_entry(chosen):
    """What failing.txt does not list passes; what it lists still fails."""
    row = regressions.row_of(chosen)
    fails = page.failing(row)
    known = regressions.listed().get(f"{chosen.database} {chosen.name}", set())
    why = {k: [t["reasons"] for t in page.tallies(row, k)] for k in fails - known}
    assert not why, f"{chosen.name} does not pass: {why}"
    assert not known - fails, f"{chosen.name} passes {sorted(known - fails)} now: {NOTICE}"


def test_the_list_names_chosen_entries():
    """No line of failing.txt outlives its entry."""
    names = {f"{e.database} {e.name}" for e in CHOSEN}
    assert set(regressions.listed()) <= names, NOTICE
