"""An optimizer's update of one parameter, recorded as one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola import engine
from cupola.ir import source
from cupola.ir.formula import Formula
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.tensor import Tensor, wrap
from cupola.tensor.written import holding

_EAGER = engine.eager()


class Update:
    """A function of tensors and numbers as a formula.

    Args:
        like: for each result, the place of the tensor whose shape and dtype it has.
        function: ``function(*tensors, *numbers)`` gives a tensor for each result, by operators
            alone. It is called with numbers where a call is captured (they are followed from step
            to step) or operators run at once, and with 0-dim tensors for them where a new program
            is planned.
        name: of the formula.
    """

    def __init__(
        self, like: tuple[int, ...], function: Callable[..., Sequence[Tensor]], name: str
    ) -> None:
        self.function = function
        self.formula = Formula(name, like, self._body)
        self._numbers: tuple[Any, ...] = ()
        self._consts: dict[Any, list[Node]] = {}

    def _body(self, *nodes: Node) -> tuple[Node, ...]:
        walking, mode.walking = mode.walking, None
        holding.level += 1
        try:
            return tuple([t.node for t in self.function(*map(wrap, nodes))])
        finally:
            holding.level -= 1
            mode.walking = walking

    def __call__(self, tensors: tuple[Tensor, ...], numbers: tuple[Any, ...]) -> Sequence[Tensor]:
        """The results for these tensors, all of one dtype, and numbers."""
        nodes = [t.node for t in tensors]
        first = nodes[0]
        if mode.held or _EAGER or mode.walking is not None or first.dtype.category != 2:
            return self.function(*tensors, *numbers)
        if any(n.dtype is not first.dtype or n.shape != first.shape for n in nodes):
            return self.function(*tensors, *numbers)
        joint = self.formula(*nodes, *self._constants(first, numbers))
        return [wrap(source.item(joint, i)) for i in range(len(self.formula.like))]

    def _constants(self, like: Node, numbers: tuple[Any, ...]) -> list[Node]:
        """The numbers as nodes, shared by the parameters that have them in common."""
        if self._numbers != numbers:
            self._numbers = numbers
            self._consts = {}
        key = like.dtype, like.device
        found = self._consts.get(key)
        if found is None:
            found = [source.const(x, (), like.dtype, like.device) for x in numbers]
            self._consts[key] = found
        return found
