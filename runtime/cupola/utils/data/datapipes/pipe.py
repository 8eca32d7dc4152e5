"""What every data pipe is: a data set whose steps can be called as its methods."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Self

from cupola.utils.data.dataset import Dataset, IterableDataset
from cupola.utils.data.sampler import draw_seed

__all__ = ["DataChunk", "IterDataPipe", "MapDataPipe", "functional_datapipe"]


class _Steps:
    """Steps that were registered under a name, as methods of every pipe of the kind."""

    functions: ClassVar[dict[str, Callable[..., Any]]]

    def __getattr__(self, name: str) -> Any:
        step = self.functions.get(name)
        if step is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return partial(step, self)

    @classmethod
    def register_function(cls, function_name: str, function: Callable[..., Any]) -> None:
        """Makes ``function(pipe, ...)`` a method of every pipe of this kind."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(
        cls, function_name: str, cls_to_register: Any, enable_df_api_tracing: bool = False
    ) -> None:
        """Makes a class of pipes a method of every pipe of this kind.

        Raises:
            Exception: the name is taken.
        """
        if function_name in cls.functions:
            raise Exception(
                f"Unable to add DataPipe function name {function_name} as it is already taken"
            )
        cls.functions[function_name] = cls_to_register


class IterDataPipe(_Steps, IterableDataset[Any]):
    """A pipe that is iterated over (torch.utils.data.IterDataPipe): subclasses define __iter__."""

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    def reset(self) -> None:
        """Called by users of a pipe before it is read again; nothing here."""


class MapDataPipe(_Steps, Dataset[Any]):
    """A pipe that is read by index (torch.utils.data.MapDataPipe)."""

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}


class InRandomOrder(IterDataPipe):
    """A pipe that shuffles: the switch, and the seed of the next pass."""

    _enabled = True
    _seed: int | None = None

    def set_shuffle(self, shuffle: bool = True) -> Self:
        """Switches the shuffling on or off."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Self:
        """Fixes the order of the next pass."""
        self._seed = seed
        return self

    def _generator(self) -> random.Random:
        """A generator for one pass, seeded from cupola's unless a seed was set."""
        seed = draw_seed() if self._seed is None else self._seed
        self._seed = None
        return random.Random(seed)


class functional_datapipe:
    """Registers a class of pipes as a method (torch.utils.data.functional_datapipe)."""

    def __init__(self, name: str, enable_df_api_tracing: bool = False) -> None:
        self.name = name

    def __call__(self, cls: Any) -> Any:
        """The class itself; one that is no pipe is left alone, as PyTorch does."""
        for kind in (IterDataPipe, MapDataPipe):
            if issubclass(cls, kind):
                kind.register_datapipe_as_function(self.name, cls)
        return cls


class DataChunk(list[Any]):
    """Samples of a batch (torch.utils.data.DataChunk)."""

    def __init__(self, items: Any) -> None:
        items = list(items)
        super().__init__(items)
        self.items = items

    def as_str(self, indent: str = "") -> str:
        """The samples as one line of text."""
        return f"{indent}[{', '.join(map(str, self))}]"

    def raw_iterator(self) -> Iterator[Any]:
        """The samples as they are."""
        yield from self.items
