"""Steps over pipes that are read by index (``torch.utils.data.datapipes.map``)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from cupola.utils.data.datapipes.iter import IterableWrapper
from cupola.utils.data.datapipes.pipe import (
    DataChunk,
    InRandomOrder,
    IterDataPipe,
    MapDataPipe,
    functional_datapipe,
)

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Shuffler", "Zipper"]


class SequenceWrapper(MapDataPipe):
    """A sequence or mapping as a pipe."""

    def __init__(self, sequence: Any, deepcopy: bool = True) -> None:
        if deepcopy:
            try:
                sequence = copy.deepcopy(sequence)
            except TypeError:  # it holds something that cannot be copied
                pass
        self.sequence = sequence

    def __getitem__(self, index: Any) -> Any:
        return self.sequence[index]

    def __len__(self) -> int:
        return len(self.sequence)


@functional_datapipe("map")
class Mapper(MapDataPipe):
    """``fn`` applied to every sample."""

    def __init__(self, datapipe: Any, fn: Callable[[Any], Any] = lambda data: data) -> None:
        self.datapipe, self.fn = datapipe, fn

    def __getitem__(self, index: Any) -> Any:
        return self.fn(self.datapipe[index])

    def __len__(self) -> int:
        return len(self.datapipe)


@functional_datapipe("batch")
class Batcher(MapDataPipe):
    """Lists of ``batch_size`` samples; the last may be shorter, or is dropped."""

    def __init__(
        self,
        datapipe: Any,
        batch_size: int,
        drop_last: bool = False,
        wrapper_class: Callable[[list[Any]], Any] = DataChunk,
    ) -> None:
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size = datapipe, batch_size
        self.drop_last, self.wrapper_class = drop_last, wrapper_class

    def __getitem__(self, index: int) -> Any:
        indices = range(index * self.batch_size, (index + 1) * self.batch_size)
        count = len(self.datapipe)
        if indices.stop <= count:
            return self.wrapper_class([self.datapipe[i] for i in indices])
        if self.drop_last or indices.start >= count:
            raise IndexError(f"Index {index} is out of bound.")
        return self.wrapper_class([self.datapipe[i] for i in range(indices.start, count)])

    def __len__(self) -> int:
        count = len(self.datapipe)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


@functional_datapipe("concat")
class Concater(MapDataPipe):
    """One pipe after the other."""

    def __init__(self, *datapipes: Any) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        self.datapipes = datapipes

    def __getitem__(self, index: int) -> Any:
        rest = index
        for pipe in self.datapipes:
            if rest < len(pipe):
                return pipe[rest]
            rest -= len(pipe)
        raise IndexError(f"Index {index} is out of range.")

    def __len__(self) -> int:
        return sum(map(len, self.datapipes))


@functional_datapipe("zip")
class Zipper(MapDataPipe):
    """Tuples of one sample of each pipe."""

    def __init__(self, *datapipes: Any) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        self.datapipes = datapipes

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(pipe[index] for pipe in self.datapipes)

    def __len__(self) -> int:
        return min(map(len, self.datapipes))


class Shuffler(InRandomOrder):
    """The samples in random order; it is iterated over."""

    def __init__(self, datapipe: Any, *, indices: list[Any] | None = None) -> None:
        self.datapipe = datapipe
        self.indices = list(range(len(datapipe))) if indices is None else indices

    def __iter__(self) -> Iterator[Any]:
        order = self.indices
        if self._enabled:
            order = self._generator().sample(order, len(order))
        for index in order:
            yield self.datapipe[index]

    def __len__(self) -> int:
        return len(self.datapipe)


MapDataPipe.register_datapipe_as_function("shuffle", Shuffler)


def _to_iter_datapipe(pipe: MapDataPipe, indices: Any = None) -> IterDataPipe:
    keys = range(len(pipe)) if indices is None else indices
    return IterableWrapper([pipe[k] for k in keys], deepcopy=False)


MapDataPipe.register_function("to_iter_datapipe", _to_iter_datapipe)


def _to_map_datapipe(pipe: IterDataPipe, key_value_fn: Any = None) -> MapDataPipe:
    def pairs() -> Iterator[Any]:
        for sample in pipe:
            yield sample if key_value_fn is None else key_value_fn(sample)

    return SequenceWrapper(dict(pairs()), deepcopy=False)


IterDataPipe.register_function("to_map_datapipe", _to_map_datapipe)
