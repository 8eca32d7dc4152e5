"""A rank that fails, hangs or does something else ends the job, by name."""

import re
import time

import pytest

from cupola.distributed.watch import judge
from distributed import ranks


def ended(case, **variables):
    done = ranks.run(2, "faults", case, check=False, CUPOLA_MPI_TIMEOUT=3, **variables)
    assert done.returncode != 0
    fault = float(re.search(r"^at ([0-9.]+)", done.stdout, re.MULTILINE).group(1))
    assert time.time() - fault < 30
    return done.stderr


def test_an_exception_shows_the_ranks_own_traceback():
    text = ended("raises")
    assert "[rank 1 of 2] RuntimeError: this rank was told to fail" in text
    assert "faults.py" in text


def test_a_killed_rank_ends_the_job():
    ended("killed")


@pytest.mark.parametrize("case", ["sleeps", "loops"])
def test_a_hanging_rank_is_named_with_its_place(case):
    text = ended(case)
    assert "rank 1 holds the job up" in text and "all_reduce of torch.float32 [3]" in text
    assert "[rank 1 of 2]" in text and "faults.py" in text


def test_a_rank_that_has_ended_is_named():
    assert "rank 1 holds the job up: the program has ended there" in ended("ends")


def test_debug_mode_names_what_differs():
    text = ended("order", CUPOLA_MPI_DEBUG=1)
    assert "disagree" in text and "all_reduce" in text and "broadcast" in text
    assert "[4]" in ended("shape", CUPOLA_MPI_DEBUG=1)


def test_training_goes_on_from_the_last_complete_checkpoint(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    want = ranks.run(2, "resume", whole, 4).stdout.splitlines()
    first = ranks.run(2, "resume", parts, 4, "die", check=False)
    assert first.returncode != 0
    assert [p.name for p in parts.iterdir()] == ["checkpoint.pt"]
    rest = ranks.run(2, "resume", parts, 4).stdout.splitlines()
    assert len(want) == 4 and len(rest) == 2
    assert first.stdout.splitlines()[:2] + rest == want


def status(**changes):
    calm = {"calls": 5, "waits": None, "what": None, "idle": 0.0, "gpu": False, "ended": False}
    return {**calm, "age": 0.5, **changes}


def waiting(seconds, what="all_reduce", **changes):
    return status(waits=seconds, what=what, idle=seconds, **changes)


@pytest.mark.parametrize(
    ("reports", "blamed"),
    [
        ([status(), status()], None),
        ([status(idle=100), status(idle=100)], None),
        ([waiting(19), status(idle=100)], None),
        ([waiting(21), status(idle=3)], None),
        ([waiting(21), status(idle=22)], [1]),
        ([waiting(6), status(ended=True)], [1]),
        ([waiting(2), status(age=30)], [1]),
        ([waiting(21), waiting(21, "barrier")], [0, 1]),
        ([waiting(21), waiting(21)], None),
        ([waiting(201), waiting(201)], [0, 1]),
        ([status(idle=21, calls=9, gpu=True), status(idle=21, calls=8, gpu=True)], [1]),
        ([status(ended=True), status(idle=100)], None),
    ],
)
def test_judgement(reports, blamed):
    verdict = judge(dict(enumerate(reports)), 20)
    assert (verdict and verdict[0]) == blamed
