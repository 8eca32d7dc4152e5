"""What every data pipe is: a data set whose steps can be called as its methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

from cupola.utils.data.dataset import Dataset, IterableDataset

__all__ = ["DataChunk", "IterDataPipe", "MapDataPipe", "functional_datapipe"]


class _Steps:
    """Steps that were registered under a name, as methods of every pipe of the kind."""

    functions: ClassVar[dict[str, Callable[..., Any]]]

    def __getattr__(self, name: str) -> Any:
        step = self.functions.get(name) if name != "functions" else None
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

    def __getstate__(self) -> Any:
        return self.__dict__

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)

    def reset(self) -> None:
        """Called by users of a pipe before it is read again; nothing here."""


class MapDataPipe(_Steps, Dataset[Any]):
    """A pipe that is read by index (torch.utils.data.MapDataPipe)."""

    functions: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __getstate__(self) -> Any:
        return self.__dict__

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


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

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()

    def raw_iterator(self) -> Iterator[Any]:
        """The samples as they are."""
        yield from self.items
