"""Steps over pipes that are iterated over (``torch.utils.data.datapipes.iter``)."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

from cupola.utils.data._utils import default_collate
from cupola.utils.data.datapipes import _columns
from cupola.utils.data.datapipes.pipe import (
    DataChunk,
    InRandomOrder,
    IterDataPipe,
    functional_datapipe,
)
from cupola.utils.data.sampler import SequentialSampler

__all__ = [
    "Batcher",
    "Collator",
    "Concater",
    "Filter",
    "Grouper",
    "IterableWrapper",
    "Mapper",
    "Multiplexer",
    "Sampler",
    "ShardingFilter",
    "Shuffler",
    "UnBatcher",
    "Zipper",
]


def _length(pipe: IterDataPipe, *parts: Any) -> list[int]:
    for part in parts:
        if not isinstance(part, Sized):
            raise TypeError(f"{type(pipe).__name__} instance doesn't have valid length")
    return [len(part) for part in parts]


class IterableWrapper(IterDataPipe):
    """An iterable as a pipe; it is copied before each pass where it can be."""

    def __init__(self, iterable: Iterable[Any], deepcopy: bool = True) -> None:
        self.iterable = iterable
        self.deepcopy = deepcopy

    def __iter__(self) -> Iterator[Any]:
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(source)
            except TypeError:  # a generator, say, which can be read once
                pass
        yield from source

    def __len__(self) -> int:
        return _length(self, self.iterable)[0]


@functional_datapipe("map")
class Mapper(IterDataPipe):
    """``fn`` applied to every sample, or to some of its columns."""

    def __init__(
        self, datapipe: Any, fn: Callable[..., Any], input_col: Any = None, output_col: Any = None
    ) -> None:
        _columns.check(input_col, output_col)
        if isinstance(output_col, (list, tuple)):
            output_col = output_col[0]
        self.datapipe, self.fn = datapipe, fn
        self.input_col, self.output_col = input_col, output_col

    def __iter__(self) -> Iterator[Any]:
        for sample in self.datapipe:
            yield _columns.applied(self.fn, sample, self.input_col, self.output_col)

    def __len__(self) -> int:
        return _length(self, self.datapipe)[0]


@functional_datapipe("filter")
class Filter(IterDataPipe):
    """The samples for which ``filter_fn`` is true.

    Raises:
        ValueError: it gives something other than a bool, when the pipe is read.
    """

    def __init__(self, datapipe: Any, filter_fn: Callable[..., Any], input_col: Any = None) -> None:
        self.datapipe, self.filter_fn, self.input_col = datapipe, filter_fn, input_col

    def __iter__(self) -> Iterator[Any]:
        for sample in self.datapipe:
            kept = self.filter_fn(*_columns.arguments(sample, self.input_col))
            if not isinstance(kept, bool):
                raise ValueError(
                    "Boolean output is required for `filter_fn` of FilterIterDataPipe, "
                    f"got {type(kept)}"
                )
            if kept:
                yield sample


@functional_datapipe("batch")
class Batcher(IterDataPipe):
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

    def __iter__(self) -> Iterator[Any]:
        batch: list[Any] = []
        for sample in self.datapipe:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.wrapper_class(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.wrapper_class(batch)

    def __len__(self) -> int:
        (count,) = _length(self, self.datapipe)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


@functional_datapipe("unbatch")
class UnBatcher(IterDataPipe):
    """The samples of lists, ``unbatch_level`` deep (-1: of all)."""

    def __init__(self, datapipe: Any, unbatch_level: int = 1) -> None:
        self.datapipe, self.unbatch_level = datapipe, unbatch_level

    def __iter__(self) -> Iterator[Any]:
        for element in self.datapipe:
            yield from self._within(element, self.unbatch_level)

    def _within(self, element: Any, level: int) -> Iterator[Any]:
        if level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        if level == 0 or level == -1 and not isinstance(element, (list, DataChunk)):
            yield element
            return
        if not isinstance(element, (list, DataChunk)):
            raise IndexError(
                f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe"
            )
        for inner in element:
            yield from self._within(inner, level if level < 0 else level - 1)


@functional_datapipe("collate")
class Collator(Mapper):
    """Batches as tensors."""

    def __init__(
        self, datapipe: Any, conversion: Any = default_collate, collate_fn: Any = None
    ) -> None:
        super().__init__(datapipe, conversion if collate_fn is None else collate_fn)


@functional_datapipe("concat")
class Concater(IterDataPipe):
    """One pipe after the other."""

    def __init__(self, *datapipes: Any) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        self.datapipes = datapipes

    def __iter__(self) -> Iterator[Any]:
        for pipe in self.datapipes:
            yield from pipe

    def __len__(self) -> int:
        return sum(_length(self, *self.datapipes))


@functional_datapipe("zip")
class Zipper(IterDataPipe):
    """Tuples of one sample of each pipe, until one ends."""

    def __init__(self, *datapipes: Any) -> None:
        if not all(isinstance(p, IterDataPipe) for p in datapipes):
            raise TypeError("All inputs are required to be `IterDataPipe` for `ZipIterDataPipe`.")
        self.datapipes = datapipes

    def __iter__(self) -> Iterator[Any]:
        yield from zip(*self.datapipes)

    def __len__(self) -> int:
        return min(_length(self, *self.datapipes))


@functional_datapipe("mux")
class Multiplexer(IterDataPipe):
    """One sample of each pipe in turn, until one ends."""

    def __init__(self, *datapipes: Any) -> None:
        self.datapipes = datapipes

    def __iter__(self) -> Iterator[Any]:
        for samples in zip(*self.datapipes):
            yield from samples

    def __len__(self) -> int:
        return min(_length(self, *self.datapipes)) * len(self.datapipes)


@functional_datapipe("groupby")
class Grouper(IterDataPipe):
    """Samples whose ``group_key_fn`` is equal, together."""

    def __init__(
        self,
        datapipe: Any,
        group_key_fn: Callable[[Any], Any],
        *,
        keep_key: bool = False,
        buffer_size: int = 10000,
        group_size: int | None = None,
        guaranteed_group_size: int | None = None,
        drop_remaining: bool = False,
    ) -> None:
        if guaranteed_group_size is None:
            guaranteed_group_size = group_size
        self.datapipe, self.group_key_fn, self.keep_key = datapipe, group_key_fn, keep_key
        self.buffer_size, self.group_size = buffer_size, group_size
        self.least, self.drop_remaining = guaranteed_group_size, drop_remaining

    def _given(self, key: Any, group: list[Any]) -> Any:
        return (key, DataChunk(group)) if self.keep_key else DataChunk(group)

    def __iter__(self) -> Iterator[Any]:
        groups: dict[Any, list[Any]] = defaultdict(list)
        held = 0
        for sample in self.datapipe:
            key = self.group_key_fn(sample)
            groups[key].append(sample)
            held += 1
            if self.group_size is not None and self.group_size == len(groups[key]):
                held -= len(groups[key])
                yield self._given(key, groups.pop(key))
            if held == self.buffer_size:
                longest = max(groups, key=lambda k: len(groups[k]))
                group = groups.pop(longest)
                held -= len(group)
                if self.least is not None and len(group) < self.least and not self.drop_remaining:
                    raise RuntimeError("Failed to group items", str(group))
                if self.least is None or len(group) >= self.least:
                    yield self._given(longest, group)
        for key in tuple(groups):
            yield self._given(key, groups.pop(key))


@functional_datapipe("shuffle")
class Shuffler(InRandomOrder):
    """Samples in random order, drawn from a buffer that is filled first."""

    def __init__(self, datapipe: Any, *, buffer_size: int = 10000, unbatch_level: int = 0) -> None:
        if buffer_size <= 0:
            raise ValueError("buffer_size should be larger than 0")
        self.datapipe = datapipe.unbatch(unbatch_level=unbatch_level) if unbatch_level else datapipe
        self.buffer_size = buffer_size

    def __iter__(self) -> Iterator[Any]:
        if not self._enabled:
            yield from self.datapipe
            return
        draw, held = self._generator(), []
        for sample in self.datapipe:
            if len(held) < self.buffer_size:
                held.append(sample)
                continue
            k = draw.randint(0, len(held) - 1)
            given, held[k] = held[k], sample
            yield given
        while held:
            yield held.pop(draw.randint(0, len(held) - 1))

    def __len__(self) -> int:
        return _length(self, self.datapipe)[0]


class Sampler(IterDataPipe):
    """Indices of a pipe's samples, as a sampler gives them."""

    def __init__(
        self,
        datapipe: Any,
        sampler: Any = SequentialSampler,
        sampler_args: tuple[Any, ...] | None = None,
        sampler_kwargs: dict[str, Any] | None = None,
    ) -> None:
        _length(self, datapipe)
        self.datapipe = datapipe
        self.sampler = sampler(
            *(sampler_args or ()), data_source=datapipe, **(sampler_kwargs or {})
        )

    def __iter__(self) -> Iterator[Any]:
        return iter(self.sampler)

    def __len__(self) -> int:
        return _length(self, self.sampler)[0]


@functional_datapipe("sharding_filter")
class ShardingFilter(IterDataPipe):
    """Every n-th sample: the part of one of several workers."""

    def __init__(self, source_datapipe: Any, sharding_group_filter: Any = None) -> None:
        self.source_datapipe = source_datapipe
        self.num_of_instances, self.instance_id = 1, 0

    def apply_sharding(
        self, num_of_instances: int, instance_id: int, sharding_group: Any = None
    ) -> None:
        """Chooses the part.

        Raises:
            ValueError: there is no such part.
        """
        if instance_id >= num_of_instances:
            raise ValueError(
                f"instance_id({instance_id}) should be smaller than "
                f"num_of_instances({num_of_instances})"
            )
        self.num_of_instances, self.instance_id = num_of_instances, instance_id

    def __iter__(self) -> Iterator[Any]:
        for k, sample in enumerate(self.source_datapipe):
            if k % self.num_of_instances == self.instance_id:
                yield sample

    def __len__(self) -> int:
        (count,) = _length(self, self.source_datapipe)
        more = self.instance_id < count % self.num_of_instances
        return count // self.num_of_instances + more
