"""``DataLoader``: batches of a data set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from cupola import distributed
from cupola.utils.data import _utils
from cupola.utils.data._streams import Worker
from cupola.utils.data.dataset import Dataset, IterableDataset
from cupola.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)

__all__ = ["DataLoader"]

T_co = TypeVar("T_co", covariant=True)


class _InfiniteConstantSampler(Sampler):
    """Draws from an iterable data set have no index."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T_co]):
    """Iterates over batches of a data set.

    The seed drawn at the start of each pass and the order of shuffled samples are PyTorch's.
    Workers are not processes: this process makes their batches in turn, each with the random
    streams that PyTorch's worker has, so that the batches are the same.
    """

    dataset: Dataset[T_co]

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError(
                "num_workers option should be non-negative; use num_workers=0 to disable "
                "multiprocessing."
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing.let "
                "num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            if shuffle:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified shuffle option, but got "
                    f"shuffle={shuffle}"
                )
            if sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified sampler option, but got "
                    f"sampler={sampler}"
                )
            if batch_sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified batch_sampler option, "
                    f"but got batch_sampler={batch_sampler}"
                )
        shuffle = bool(shuffle)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            if self._iterable:
                sampler = _InfiniteConstantSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            batching = self._auto_collation
            collate_fn = _utils.default_collate if batching else _utils.default_convert
        self.collate_fn = collate_fn

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._index_sampler)
        length = len(self.dataset)
        if self.batch_size is None:
            return length
        if self.drop_last:
            return length // self.batch_size
        return -(-length // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        return _Pass(self)


class _Pass:
    """One pass over a loader."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader
        self._share = distributed.share_of(loader)
        # Drawn even where unused: it keeps the generator in step with PyTorch's.
        self._base_seed = draw_seed(loader.generator)
        self._indices = iter(loader._index_sampler)
        if self._share is not None:
            self._indices = self._share.follow(self._indices, self._base_seed)
        self._num_yielded = 0
        self._turn = 0
        self._workers = [
            Worker(number, loader, self._base_seed) for number in range(loader.num_workers)
        ]
        self._samples = None
        if loader._iterable and not self._workers:
            self._samples = iter(loader.dataset)

    def __iter__(self) -> _Pass:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self) -> Any:
        data = self._next_of_workers() if self._workers else self._fetch(next(self._indices), self)
        self._num_yielded += 1
        if self._loader.pin_memory and _gpu_present():
            data = _utils.pin(data)
        return data

    def _next_of_workers(self) -> Any:
        """The next batch, from the worker whose turn it is; those without samples drop out."""
        while not all(worker.ended for worker in self._workers):
            worker = self._workers[self._turn % len(self._workers)]
            self._turn += 1
            if worker.ended:
                continue
            index = next(self._indices)
            with worker:
                if self._loader._iterable and worker.samples is None:
                    worker.samples = iter(self._loader.dataset)
                try:
                    return self._fetch(index, worker)
                except StopIteration:
                    worker.ended = True
        raise StopIteration

    def _fetch(self, index: Any, place: Any) -> Any:
        loader = self._loader
        if loader._iterable:
            samples = self._samples if place is self else place.samples
            return self._fetch_next(index, samples)
        if not loader._auto_collation:
            return loader.collate_fn(loader.dataset[index])
        fetch = getattr(loader.dataset, "__getitems__", None)
        rows = fetch(index) if callable(fetch) else [loader.dataset[i] for i in index]
        return loader.collate_fn(rows)

    def _fetch_next(self, index: Any, samples: Any) -> Any:
        loader = self._loader
        if not loader._auto_collation:
            return loader.collate_fn(next(samples))
        rows = list(itertools.islice(samples, len(index)))
        if not rows or (loader.drop_last and len(rows) < len(index)):
            raise StopIteration
        return loader.collate_fn(rows if self._share is None else self._share.part(rows))


def _gpu_present() -> bool:
    from cupola.cuda import is_available

    return is_available()
