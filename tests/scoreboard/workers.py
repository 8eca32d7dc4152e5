"""Entries in worker processes: a crash or a hang costs its own entry and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from typing import Any


def _serve(work: Callable[[int], Any], pipe: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what a crashing library prints says nothing about the others
    while True:
        number = pipe.recv()
        if number is None:
            return
        pipe.send(work(number))


class _Worker:
    """A forked process that holds one entry at a time."""

    def __init__(self, work: Callable[[int], Any]) -> None:
        self.context = multiprocessing.get_context("fork")
        self.work = work
        self.start()

    def start(self) -> None:
        self.pipe, other = self.context.Pipe()
        self.process = self.context.Process(target=_serve, args=(self.work, other), daemon=True)
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
            if self.pipe.poll(0.05):
                return True, self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            self.restart()
            return True, f"crashed with exit code {code}"
        if time.monotonic() > self.deadline:
            self.restart()
            return True, "timed out"
        return False, None


def each(
    numbers: list[int], work: Callable[[int], Any], jobs: int, limit: float
) -> Iterator[tuple[int, Any]]:
    """Yields (number, result) as entries end; the result of one that did not end is a text."""
    waiting = list(reversed(numbers))
    workers = [_Worker(work) for _ in range(min(jobs, len(waiting)))]
    busy = []
    for worker in workers:
        worker.begin(waiting.pop(), limit)
        busy.append(worker)
    while busy:
        for worker in list(busy):
            ended, result = worker.poll()
            if not ended:
                continue
            yield worker.number, result
            if waiting:
                worker.begin(waiting.pop(), limit)
            else:
                busy.remove(worker)
    for worker in workers:
        worker.pipe.send(None)
