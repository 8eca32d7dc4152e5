"""Entries in worker processes: a crash or a hang costs its own entry and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Any

NOT_RUN = "not run: the time for the whole was used up"


def _serve(work: Callable[[int], Any], begin: Callable[[], None], pipe: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what a crashing library prints says nothing about the others
    begin()
    while True:
        number = pipe.recv()
        if number is None:
            return
        pipe.send(work(number))


class _Worker:
    """A forked process that holds one entry at a time."""

    def __init__(self, work: Callable[[int], Any], begin: Callable[[], None]) -> None:
        self.context = multiprocessing.get_context("fork")
        self.tasks = (work, begin)
        self.start()

    def start(self) -> None:
        self.pipe, other = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(*self.tasks, other), daemon=True)
        self.process.start()
        other.close()

    def begin(self, number: int, limit: float) -> None:
        self.number, self.deadline = number, time.monotonic() + limit
        self.pipe.send(number)

    def restart(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.start()

    def poll(self) -> tuple[bool, Any]:
        """(whether the entry has ended, its result; a text says how it went wrong)."""
        try:
            if self.pipe.poll():
                return True, self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            self.restart()
            return True, f"crashed with exit code {code}"
        if time.monotonic() > self.deadline:
            self.restart()
            return True, "timed out"
        return False, None


def each(
    numbers: list[int],
    work: Callable[[int], Any],
    *,
    jobs: int,
    limit: float,
    budget: float = 0.0,
    begin: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Any]]:
    """Yields (number, result) as entries end; the result of one that did not end is a text.

    Args:
        numbers: the entries, in the order in which they are begun.
        work: makes an entry's result in a process of its own.
        jobs: how many processes work at the same time.
        limit: seconds after which an entry is stopped.
        budget: seconds after which no entry is begun any more; 0: no such limit.
        begin: what a process calls first.
    """
    end = time.monotonic() + budget if budget else float("inf")
    waiting = list(reversed(numbers))
    workers = [_Worker(work, begin) for _ in range(min(jobs, len(waiting)))]
    busy = []
    for worker in workers:
        worker.begin(waiting.pop(), limit)
        busy.append(worker)
    while busy:
        wait([worker.pipe for worker in busy], timeout=0.5)
        for worker in list(busy):
            ended, result = worker.poll()
            if not ended:
                continue
            yield worker.number, result
            if waiting and time.monotonic() < end:
                worker.begin(waiting.pop(), limit)
            else:
                busy.remove(worker)
    for worker in workers:
        worker.pipe.send(None)
    for number in reversed(waiting):
        yield number, NOT_RUN
