"""One or more passes over a loader whose batches worker processes make.

A fork while another thread of the program computes can leave a library's lock (OpenMP's, say) taken
in the child, which then waits for ever. Such programs choose ``multiprocessing_context="spawn"``.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
import weakref
from collections import deque
from multiprocessing import connection as pipes
from typing import Any

from cupola.utils.data import _utils
from cupola.utils.data._fetch import Recipe
from cupola.utils.data._transport import IN_FLIGHT, receive, send
from cupola.utils.data._worker import OPEN, Again, Ended, Failure, Order, work
from cupola.utils.data.sampler import draw_seed

# Seconds that workers get to finish what they do before they are ended.
_PATIENCE = 5.0


class _Worker:
    """The parent's side of a worker."""

    def __init__(self, order: Order, context: Any) -> None:
        self.connection, other = context.Pipe()
        OPEN.add(self.connection)
        self.process = context.Process(target=work, args=(order, other), daemon=True)
        try:
            self.process.start()
        finally:
            # Only the worker holds its end: when it dies, this one reads the end of the file.
            other.close()
        self.begin()

    def begin(self) -> None:
        """Forgets the last pass."""
        self.ended = False
        self.waiting: deque[Any] = deque()  # not sent yet
        self.sent = 0

    @property
    def tasks(self) -> int:
        """How many batches it still owes."""
        return len(self.waiting) + self.sent

    def put(self, index: Any) -> None:
        """Orders a batch."""
        self.waiting.append(index)
        self._send()

    def _send(self) -> None:
        while self.waiting and self.sent < IN_FLIGHT:
            self.sent += 1
            try:
                send(self.connection, self.waiting.popleft())
            except ConnectionError:
                raise self.death() from None

    def take(self) -> Any:
        """The next batch it made; waits for it.

        Raises:
            RuntimeError: the worker has died.
        """
        try:
            answer = receive(self.connection)
        except (EOFError, ConnectionError):
            raise self.death() from None
        self.sent -= 1
        self._send()
        return answer

    def restart(self) -> None:
        """Drops what the last pass left and begins another."""
        left, self.waiting = self.sent, deque()
        try:
            send(self.connection, Again())
            for _ in range(left + 1):
                receive(self.connection)
        except (EOFError, ConnectionError):
            raise self.death() from None
        self.begin()

    def death(self) -> RuntimeError:
        """How it died."""
        self.process.join(_PATIENCE)
        code, pid = self.process.exitcode, self.process.pid
        if code is not None and code < 0:
            name = signal.strsignal(-code) or f"signal {-code}"
            hint = (
                " It might be short of memory." if -code in (signal.SIGKILL, signal.SIGBUS) else ""
            )
            return RuntimeError(f"DataLoader worker (pid {pid}) is killed by signal: {name}.{hint}")
        return RuntimeError(
            f"DataLoader worker (pid(s) {pid}) exited unexpectedly with exit code {code}. Details "
            "are lost due to multiprocessing. Rerunning with num_workers=0 may give better error "
            "trace."
        )


def _stop(workers: list[_Worker], owner: int) -> None:
    """Ends the workers: those that still work get some seconds."""
    if os.getpid() != owner:
        return
    for worker in workers:
        worker.connection.close()
    limit = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.process.join(max(0.0, limit - time.monotonic()))
    for end in ("terminate", "kill"):
        for worker in workers:
            if worker.process.is_alive():
                getattr(worker.process, end)()
                worker.process.join(1)
    workers.clear()


class Processes:
    """An iterator over a loader's batches; with ``persistent_workers`` it is used again.

    Index lists are drawn ahead, ``prefetch_factor`` for each worker, and given to the workers in
    turn; batches come in that order.
    """

    def __init__(self, loader: Any) -> None:
        self._iter_sampler = lambda: iter(loader._index_sampler)
        self._indices = self._iter_sampler()
        self._base_seed = draw_seed(loader.generator)
        self._num_yielded = 0
        self._timeout, self._in_order = loader.timeout, loader.in_order
        self._persistent = loader.persistent_workers
        self._prefetch = loader.prefetch_factor
        self._length = lambda: len(loader._index_sampler)
        self._pin = loader.pin_memory and _utils.gpu_present()
        context = loader.multiprocessing_context or multiprocessing.get_context()
        forked = context.get_start_method() == "fork"
        recipe, count = Recipe.of(loader), loader.num_workers
        self._workers: list[_Worker] = []
        self._stop = weakref.finalize(self, _stop, self._workers, os.getpid())
        for number in range(count):
            init = loader.worker_init_fn
            order = Order(recipe, self._base_seed, number, count, init, forked)
            self._workers.append(_Worker(order, context))
        self._begin()

    def _begin(self) -> None:
        self._turns = itertools.cycle(list(self._workers))
        self._tasks: deque[_Worker] = deque()
        for _ in range(self._prefetch * len(self._workers)):
            self._order()

    def again(self) -> Processes:
        """Begins another pass with the same workers."""
        self._indices = self._iter_sampler()
        self._num_yielded = 0
        for worker in self._workers:
            worker.restart()
        self._begin()
        return self

    @property
    def alive(self) -> bool:
        """Whether it has workers for another pass."""
        return self._stop.alive

    def _order(self) -> None:
        """Gives the next index to the worker whose turn it is."""
        index = next(self._indices, self)
        if index is self:
            return
        active = sum(not worker.ended for worker in self._workers)
        for _ in self._workers:
            worker = next(self._turns)
            most = self._prefetch * len(self._workers) // max(active, 1)
            if not worker.ended and (self._in_order or worker.tasks < most):
                worker.put(index)
                self._tasks.append(worker)
                return

    def __iter__(self) -> Processes:
        return self

    def __len__(self) -> int:
        return self._length()

    def __next__(self) -> Any:
        try:
            return self._next()
        except RuntimeError:
            if any(not worker.process.is_alive() for worker in self._workers):
                self._stop()
            raise

    def _next(self) -> Any:
        while self._tasks:
            worker = self._ready()
            self._tasks.remove(worker)  # the oldest of its tasks
            answer = worker.take()
            if isinstance(answer, Ended):
                if not worker.ended:
                    worker.ended = True
                    self._order()
                continue
            self._order()
            if isinstance(answer, Failure):
                answer.reraise()
            self._num_yielded += 1
            return _utils.pin(answer) if self._pin else answer
        if not self._persistent:
            self._stop()
        raise StopIteration

    def _ready(self) -> _Worker:
        """The worker that has the next batch."""
        wanted = {self._tasks[0]} if self._in_order else set(self._tasks)
        by_pipe = {worker.connection: worker for worker in wanted}
        by_end = {worker.process.sentinel: worker for worker in self._workers}
        found = pipes.wait([*by_pipe, *by_end], self._timeout or None)
        if not found:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        for one in found:
            if one in by_pipe:
                return by_pipe[one]  # type: ignore[index]
        raise by_end[found[0]].death()  # type: ignore[index]

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")
