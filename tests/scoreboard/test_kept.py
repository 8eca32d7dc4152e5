"""Results that outlive a run: what counts as answered, what is joined, what is measured anew."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from scoreboard import page  # noqa: E402
from scoreboard.kept import Kept, commits  # noqa: E402
from scoreboard.workers import NOT_RUN  # noqa: E402

ASKED = {"dtypes": ("float32",), "further": (), "samples": 0, "kinds": ()}
GOOD = {"run": 3, "failed": 0, "skipped": 0, "reasons": {}}
BAD = {"run": 3, "failed": 1, "skipped": 0, "reasons": {"value": 1}}
KEY = ("operators", "sin")


def row(name="sin", **kinds):
    """A row as a run makes it."""
    return {"database": "operators", "name": name, "seconds": 1.5, **kinds}


def test_a_run_continues_where_another_was_cut_off(tmp_path):
    path = tmp_path / "out" / "cpu.jsonl"
    first = Kept(path, ASKED)
    first.add(row(forward={"float32": GOOD}), "aaaa")
    first.add({**row("cos"), "broken": NOT_RUN, "kinds": ("forward",)}, "aaaa")
    first.add(row("tan", forward={"float32": GOOD}), "aaaa")
    path.write_bytes(path.read_bytes()[:-30])  # the process ended while it wrote
    second = Kept(path, ASKED)
    assert set(second.answers()) == {KEY}
    second.add(row("tan", forward={"float32": BAD}), "bbbb")
    assert page.failing(Kept(path, ASKED).joined()["operators", "tan"]) == {"forward"}
    assert not Kept(path, {**ASKED, "samples": 1}).answers()


def test_columns_and_dtypes_of_several_runs_are_joined(tmp_path):
    path = tmp_path / "cpu.jsonl"
    Kept(path, ASKED).add(row(forward={"float32": GOOD}, out={"float32": BAD}), "aaaa")
    more = Kept(path, {**ASKED, "dtypes": ("int64", "bool"), "kinds": ("forward",)})
    assert not more.answers()
    more.add(row(forward={"int64": GOOD, "bool": BAD}), "bbbb")
    Kept(path, {**ASKED, "samples": 1}).add(row(errors=BAD), "aaaa")
    Kept(path, {**ASKED, "kinds": ("out",)}).add(row(out={"float32": GOOD}), "cccc")
    every = Kept(path, ASKED)
    assert every.dtypes() == ["bool", "float32", "int64"]
    joined = every.joined()
    assert joined[KEY]["forward"] == {"float32": GOOD, "int64": GOOD, "bool": BAD}
    assert joined[KEY]["seconds"] == 4.5 and "errors" not in joined[KEY]
    assert page.failing(joined[KEY]) == {"forward"}
    assert commits(joined.values()) == {"cccc": 1}


def test_a_later_result_replaces_an_earlier_one(tmp_path):
    kept = Kept(tmp_path / "cpu.jsonl", ASKED)
    kept.add({**row(), "broken": "timed out", "kinds": ("forward", "out")}, "aaaa")
    assert page.failing(kept.joined()[KEY]) == {"forward", "out"}
    kept.add(row(forward={"float32": GOOD}), "bbbb")
    assert not page.failing(kept.joined()[KEY]) and kept.answers()[KEY]["commit"] == "bbbb"


def test_torch_may_be_the_less_exact_side():
    """Whoever is farther from double precision is judged, not whoever is other than torch."""
    import torch

    from scoreboard.compare import nearer, widened

    exact = torch.tensor([1.0, 2.0], dtype=torch.float64)
    near, far = exact.float() + 1e-6, exact.float() + 1e-3
    assert nearer([(near, far, exact)]) and nearer([(near, near, exact)])
    assert not nearer([(far, near, exact)])
    assert not nearer([(torch.full((2,), torch.nan), far, exact)])
    assert not nearer([(near, far.double(), exact)])  # double precision judges nobody
    wide = widened(([torch.ones(2, dtype=torch.bfloat16, requires_grad=True)], {"k": 3}))
    assert wide[0][0].dtype is torch.float64 and wide[0][0].requires_grad and wide[1] == {"k": 3}
