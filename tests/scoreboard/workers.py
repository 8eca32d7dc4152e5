"""Entries in worker processes: a crash or a hang costs its own entry and nothing else."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Any

NOT_RUN = "not run: the time for the whole was used up"


# What a process says when it has begun; until then it may take START seconds.
READY = "ready"
START = 600.0


def _serve(work: Callable[[int], Any], begin: Callable[[], None], pipe: Any, last: str) -> None:
    words = os.open(last, os.O_WRONLY | os.O_TRUNC)
    os.dup2(words, 2)  # what a crashing library prints becomes part of its entry's reason
    faulthandler.enable(words, all_threads=False)
    begin()
    pipe.send(READY)
    while True:
        number = pipe.recv()
        if number is None:
            return
        os.ftruncate(words, 0)
        os.lseek(words, 0, os.SEEK_SET)
        try:
            result = work(number)
        except Exception as error:
            result = f"failed with {type(error).__name__}: {error}"[:200]
        pipe.send(result)


class _Worker:
    """A process that holds one entry at a time."""

    def __init__(
        self, work: Callable[[int], Any], begin: Callable[[], None], method: str, folder: str
    ) -> None:
        self.context: Any = multiprocessing.get_context(method)
        self.tasks = (work, begin)
        handle, self.last = tempfile.mkstemp(dir=folder)
        os.close(handle)
        self.start()

    def start(self) -> None:
        self.pipe, other = self.context.Pipe()
        arguments = (*self.tasks, other, self.last)
        self.process = self.context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        other.close()
        self.ready = False

    def begin(self, number: int, limit: float) -> None:
        self.number, self.limit = number, limit
        self.deadline = time.monotonic() + (limit if self.ready else START + limit)
        try:
            self.pipe.send(number)
        except OSError:  # it died after its last entry: that is not this one's fault
            self.restart()
            self.deadline += START
            with contextlib.suppress(OSError):
                self.pipe.send(number)

    def restart(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.start()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)

    def poll(self) -> tuple[bool, Any]:
        """(whether the entry has ended, its result; a text says how it went wrong)."""
        try:
            if self.pipe.poll():
                said = self.pipe.recv()
                if said != READY:
                    return True, said
                self.ready, self.deadline = True, time.monotonic() + self.limit
        except (EOFError, OSError):
            self.process.join()
            code, began = self.process.exitcode, self.ready
            why = self._last_words()
            self.restart()
            return True, f"crashed {'' if began else 'at its start '}with exit code {code}{why}"
        if time.monotonic() > self.deadline:
            self.restart()
            return True, "timed out"
        return False, None

    def _last_words(self) -> str:
        """What the process wrote to its standard error at the end, on one line."""
        lines = pathlib.Path(self.last).read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [" ".join(line.split()).replace("|", "/") for line in lines if line.strip()]
        fatal = [k for k, line in enumerate(lines) if line.startswith("Fatal Python error")]
        kept = lines[fatal[0] : fatal[0] + 4] if fatal else lines[-1:]
        return f": {'; '.join(kept)}"[:300] if kept else ""


def each(
    numbers: list[int],
    work: Callable[[int], Any],
    *,
    jobs: int,
    limit: float,
    budget: float = 0.0,
    begin: Callable[[], None] = lambda: None,
    method: str = "fork",
    spoiled: Callable[[Any], bool] = lambda result: False,
) -> Iterator[tuple[int, Any]]:
    """Yields (number, result) as entries end; the result of one that did not end is a text.

    Args:
        numbers: the entries, in the order in which they are begun.
        work: makes an entry's result in a process of its own.
        jobs: how many processes work at the same time.
        limit: seconds after which an entry is stopped.
        budget: seconds after which no entry is begun any more; 0: no such limit.
        begin: what a process calls first.
        method: how processes are made: ``fork``, or ``spawn`` (``work`` and ``begin`` can then
            be pickled), where what the parent has loaded does not survive a fork.
        spoiled: whether a result shows that its process is of no use any more.
    """
    end = time.monotonic() + budget if budget else float("inf")
    waiting = list(reversed(numbers))
    with tempfile.TemporaryDirectory() as folder:
        workers = [_Worker(work, begin, method, folder) for _ in range(min(jobs, len(waiting)))]
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
                if spoiled(result):
                    worker.restart()
                yield worker.number, result
                if waiting and time.monotonic() < end:
                    worker.begin(waiting.pop(), limit)
                else:
                    busy.remove(worker)
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.process.join(5.0)
    for number in reversed(waiting):
        yield number, NOT_RUN
