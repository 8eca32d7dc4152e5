"""Random streams of a loader's workers.

Workers are not processes here: their batches are made in turn by this one. Each worker has the
random state that PyTorch's worker process has, for cupola, NumPy and ``random``, so that random
augmentation gives the same samples.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from cupola.random import default_generator
from cupola.utils.data import _utils


class Worker:
    """One worker: who it is, and where its random streams are."""

    def __init__(self, number: int, loader: Any, base_seed: int) -> None:
        self.info = _utils.WorkerInfo(
            number, loader.num_workers, base_seed + number, loader.dataset
        )
        self.samples: Iterator[Any] | None = None
        self.ended = False
        self._state: Any = None
        low, high = base_seed & 0xFFFFFFFF, base_seed >> 32
        with self:
            random.seed(self.info.seed)
            default_generator.manual_seed(self.info.seed)
            np.random.seed(np.random.SeedSequence([number, low, high, 0]).generate_state(4))
            if loader.worker_init_fn is not None:
                loader.worker_init_fn(number)

    def __enter__(self) -> Worker:
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
