"""Making one batch of a data set: the same in this process and in a worker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cupola.tensor import tensor
from cupola.utils.data._utils import default_collate
from cupola.utils.data.dataset import Subset, TensorDataset


@dataclass
class Recipe:
    """What it takes to make a loader's batches; a spawned worker gets it pickled."""

    dataset: Any
    iterable: bool
    batched: bool
    collate_fn: Callable[[Any], Any]
    drop_last: bool

    @staticmethod
    def of(loader: Any) -> Recipe:
        """That of a ``DataLoader``."""
        return Recipe(
            loader.dataset,
            loader._iterable,
            loader._auto_collation,
            loader.collate_fn,
            loader.drop_last,
        )


def _stacked(recipe: Recipe, index: Any) -> list[Any] | None:
    """The batch of a ``TensorDataset``, or a part of one, without taking its samples one by one:
    rows of each tensor; None for other data sets.
    """
    dataset = recipe.dataset
    if recipe.collate_fn is not default_collate or type(index) is not list or not index:
        return None
    while type(dataset) is Subset:
        index, dataset = [dataset.indices[i] for i in index], dataset.dataset
    if type(dataset) is not TensorDataset or any(type(i) is not int for i in index):
        return None
    low, high = min(index), max(index)
    if low < -len(dataset) or high >= len(dataset):
        return None
    places = {t.device: tensor(index, device=t.device) for t in dataset.tensors}
    return [t[places[t.device]] for t in dataset.tensors]


class Fetcher:
    """One pass over the data set: an iterable one is iterated once."""

    def __init__(self, recipe: Recipe, part: Callable[[list[Any]], list[Any]] | None = None):
        self._recipe = recipe
        self._part = part
        self._samples: Iterator[Any] | None = iter(recipe.dataset) if recipe.iterable else None

    def fetch(self, index: Any) -> Any:
        """The batch, or the sample, of an index.

        Raises:
            StopIteration: an iterable data set has no more.
        """
        recipe = self._recipe
        if self._samples is not None:
            return self._fetch_next(index)
        if not recipe.batched:
            return recipe.collate_fn(recipe.dataset[index])
        rows = _stacked(recipe, index)
        if rows is not None:
            return rows
        fetch = getattr(recipe.dataset, "__getitems__", None)
        rows = fetch(index) if callable(fetch) else [recipe.dataset[i] for i in index]
        return recipe.collate_fn(rows)

    def _fetch_next(self, index: Any) -> Any:
        recipe, samples = self._recipe, self._samples
        assert samples is not None
        if not recipe.batched:
            return recipe.collate_fn(next(samples))
        rows = list(itertools.islice(samples, len(index)))
        if not rows or (recipe.drop_last and len(rows) < len(index)):
            raise StopIteration
        return recipe.collate_fn(rows if self._part is None else self._part(rows))
