"""Making one batch of a data set: the same in this process and in a worker."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


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
