"""Batches made in this process: without workers, and for a rank's share under mpirun.

MPI does not survive a fork, so a rank makes its workers' batches in turn itself. Each worker has
the random state that a worker process has, so that random augmentation gives the same samples.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from cupola.random import default_generator
from cupola.utils.data import _utils
from cupola.utils.data._fetch import Fetcher, Recipe
from cupola.utils.data._streams import seed_streams
from cupola.utils.data.sampler import draw_seed


class _Worker:
    """One worker: who it is, and where its random streams are."""

    def __init__(self, number: int, loader: Any, base_seed: int) -> None:
        self.info = _utils.WorkerInfo(
            number, loader.num_workers, base_seed + number, loader.dataset
        )
        self.fetcher: Fetcher | None = None
        self.ended = False
        self._state: Any = None
        with self:
            seed_streams(base_seed, number)
            if loader.worker_init_fn is not None:
                loader.worker_init_fn(number)

    def __enter__(self) -> _Worker:
        self._outside = self._now()
        self._outer_info = _utils._worker_info
        if self._state is not None:
            self._resume(self._state)
        _utils._worker_info = self.info
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._state = self._now()
        self._resume(self._outside)
        _utils._worker_info = self._outer_info

    @staticmethod
    def _now() -> tuple[Any, Any, Any]:
        return default_generator.get_state(), np.random.get_state(), random.getstate()

    @staticmethod
    def _resume(state: tuple[Any, Any, Any]) -> None:
        default_generator.set_state(state[0])
        np.random.set_state(state[1])
        random.setstate(state[2])


class Here:
    """One pass over a loader; ``share`` is what a rank of several takes of it."""

    def __init__(self, loader: Any, share: Any) -> None:
        self._recipe = Recipe.of(loader)
        self._length = lambda: len(loader._index_sampler)
        self._pin = loader.pin_memory and _utils.gpu_present()
        # Drawn even where unused: it keeps the generator in step with PyTorch's.
        self._base_seed = draw_seed(loader.generator)
        self._indices = iter(loader._index_sampler)
        self._part = None
        if share is not None:
            self._indices = share.follow(self._indices, self._base_seed)
            self._part = share.part
        self._num_yielded = 0
        self._turn = 0
        self._workers = [
            _Worker(number, loader, self._base_seed) for number in range(loader.num_workers)
        ]
        self._fetcher = None if self._workers else Fetcher(self._recipe, self._part)

    def __iter__(self) -> Here:
        return self

    def __len__(self) -> int:
        return self._length()

    def __next__(self) -> Any:
        if self._fetcher is None:
            data = self._next_of_workers()
        else:
            data = self._fetcher.fetch(next(self._indices))
        self._num_yielded += 1
        return _utils.pin(data) if self._pin else data

    def _next_of_workers(self) -> Any:
        """The next batch, from the worker whose turn it is; those without samples drop out."""
        while not all(worker.ended for worker in self._workers):
            worker = self._workers[self._turn % len(self._workers)]
            self._turn += 1
            if worker.ended:
                continue
            index = next(self._indices)
            with worker:
                if worker.fetcher is None:
                    worker.fetcher = Fetcher(self._recipe, self._part)
                try:
                    return worker.fetcher.fetch(index)
                except StopIteration:
                    worker.ended = True
        raise StopIteration
