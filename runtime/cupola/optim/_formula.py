"""An optimizer's update of one parameter, recorded as one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola.tensor import Tensor
from cupola.tensor.composite import Composite


class Update:
    """A function of tensors and numbers as a composite.

    Args:
        function: ``function(*tensors, *numbers)`` gives a tensor for each result.
        name: of the formula.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], name: str) -> None:
        self._composite = Composite(name, function)

    def __call__(self, tensors: tuple[Tensor, ...], numbers: tuple[Any, ...]) -> Sequence[Tensor]:
        """The results for these tensors and numbers."""
        first = tensors[0].node
        others = [t.node for t in tensors[1:]]
        if first.dtype.category != 2 or any(
            n.dtype is not first.dtype or n.shape != first.shape for n in others
        ):
            return self._composite.function(*tensors, *numbers)
        return self._composite(tensors, numbers)
