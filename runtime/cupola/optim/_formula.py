"""An optimizer's updates of many parameters, recorded as one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola.functional._register import write_into
from cupola.ir.number import Dynamic
from cupola.tensor import Tensor
from cupola.tensor.composite import Composite

_Row = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # what is written, what is read


class Update:
    """A function of tensors and numbers as a composite, for any number of parameters at once.

    Args:
        function: ``function(*tensors, *numbers)`` gives a tensor for each result.
        name: of the formula.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], name: str) -> None:
        self.function = function
        self._composite = Composite(name, self._each)

    def _each(self, *values: Any, count: int, width: int) -> list[Tensor]:
        """The results for ``count`` rows of ``width`` tensors; the numbers come after them."""
        numbers = values[count * width :]
        results: list[Tensor] = []
        for k in range(0, count * width, width):
            results += self.function(*values[k : k + width], *numbers)
        return results

    def __call__(self, rows: list[tuple[Tensor, ...]], numbers: tuple[Any, ...]) -> list[Tensor]:
        """The results for all rows of tensors, one row after the other."""
        flat = tuple([t for row in rows for t in row])
        return list(self._composite(flat, numbers, count=len(rows), width=len(rows[0])))

    def one(self, tensors: tuple[Tensor, ...], numbers: tuple[Any, ...]) -> Sequence[Tensor]:
        """The results for one row."""
        return self([tensors], numbers) if suited(tensors) else self.function(*tensors, *numbers)


def suited(tensors: tuple[Tensor, ...]) -> bool:
    """Whether an update may be a part of a larger one: one floating-point dtype, one shape."""
    first = tensors[0]._n
    return first.dtype.category == 2 and all(
        t._n.dtype is first.dtype and t._n.shape == first.shape for t in tensors[1:]
    )


class Updates:
    """The updates of one step: those that differ in their tensors only are recorded together."""

    def __init__(self) -> None:
        self._rows: dict[Any, tuple[tuple[Any, ...], list[_Row]]] = {}

    def add(
        self,
        update: Update,
        targets: tuple[Tensor, ...],
        tensors: tuple[Tensor, ...],
        numbers: tuple[Any, ...],
    ) -> None:
        """Has the results of ``update`` written into ``targets`` when the step ends."""
        if not suited(tensors):
            for target, result in zip(targets, update.function(*tensors, *numbers), strict=True):
                write_into(target, result)
            return
        alike = tuple([n.key if type(n) is Dynamic else n for n in numbers])
        key = update, alike, tensors[0].dtype, tensors[0].device
        self._rows.setdefault(key, (numbers, []))[1].append((targets, tensors))

    def write(self) -> None:
        """Records and writes what was added."""
        for (update, *_), (numbers, rows) in self._rows.items():
            results = iter(update([tensors for _, tensors in rows], numbers))
            for targets, _ in rows:
                for target in targets:
                    write_into(target, next(results))
        self._rows.clear()
