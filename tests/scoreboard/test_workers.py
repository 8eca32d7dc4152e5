"""What becomes of entries whose process dies, hangs or raises."""

from __future__ import annotations

import os
import signal
import time

import pytest

from scoreboard import workers


def work(number):
    """0 and 5 end well; the others go wrong, each in its own way."""
    if number == 1:
        os.write(2, b"a library's last words\n")
        os._exit(3)
    if number == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        raise KeyError("lost")
    if number == 4:
        time.sleep(60)
    return {"number": number, "process": os.getpid()}


def begin():
    """Nothing to prepare."""


def refuse():
    """A process that cannot begin."""
    raise OSError("no device")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_dying_process_costs_its_entry_only(method):
    found = dict(
        workers.each([0, 1, 2, 3, 4, 5], work, jobs=1, limit=3.0, begin=begin, method=method)
    )
    assert found[0]["number"] == 0 and found[5]["number"] == 5
    assert found[1] == "crashed with exit code 3: a library's last words"
    assert found[2].startswith("crashed with exit code -11: Fatal Python error: Segmentation fault")
    assert found[3] == "failed with KeyError: 'lost'"
    assert found[4] == "timed out"


def test_a_process_that_cannot_begin_says_why():
    found = dict(workers.each([0, 5], work, jobs=2, limit=3.0, begin=refuse, method="spawn"))
    why = "crashed at its start with exit code 1: OSError: no device"
    assert found == {0: why, 5: why}


def test_a_spoiled_process_is_replaced():
    found = dict(workers.each([0, 5], work, jobs=1, limit=9.0, begin=begin, spoiled=lambda r: True))
    assert found[0]["process"] != found[5]["process"]
