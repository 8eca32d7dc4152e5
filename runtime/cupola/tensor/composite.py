"""Compositions recorded as one node.

A layer such as batch normalization is dozens of primitives. Where nobody looks inside, it is
recorded as a formula (``ir/formula.py``); kernels and gradients are those of the composition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola import engine
from cupola.dtypes import dtype as DType
from cupola.ir import source
from cupola.ir.formula import Formula
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.tensor.core import Tensor, wrap
from cupola.tensor.written import holding

_EAGER = engine.eager()


class Composite:
    """A function of tensors and numbers whose operators are recorded as one.

    Args:
        name: of the gradient as PyTorch shows it, such as ``native_batch_norm``.
        function: ``function(*tensors, *numbers, **attrs)`` gives a tuple of tensors, by operators
            alone. It is called with numbers where a call is captured (they are followed from step
            to step) or operators run at once, and with 0-dim tensors for them where a new program
            is planned.
        infer: ``infer(*nodes, **attrs)`` gives the results' shapes and dtypes, a tuple of each.
        smooth: how many of the results, the first ones, gradients flow through (None: all).
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Sequence[Tensor]],
        infer: Callable[..., Any],
        smooth: int | None = None,
    ) -> None:
        self.function = function
        self.smooth = smooth
        self.formula = Formula(name, infer, self._body)
        self._numbers: tuple[Any, ...] = ()
        self._consts: dict[Any, list[Node]] = {}

    def _body(self, *nodes: Node, **attrs: Any) -> tuple[Node, ...]:
        before = mode.walking, mode.casts
        mode.walking = mode.casts = None
        holding.level += 1
        try:
            return tuple([t.node for t in self.function(*map(wrap, nodes), **attrs)])
        finally:
            holding.level -= 1
            mode.walking, mode.casts = before

    def __call__(
        self,
        tensors: tuple[Tensor, ...],
        numbers: tuple[Any, ...] = (),
        dtype: DType | None = None,
        **attrs: Any,
    ) -> Sequence[Tensor]:
        """The results for these tensors and numbers, the latter in ``dtype`` (by default that of
        the first tensor); attributes can be hashed and do not change from step to step.
        """
        nodes = [t.node for t in tensors]
        first = nodes[0]
        if mode.held or _EAGER or mode.walking is not None or holding.level:
            return self.function(*tensors, *numbers, **attrs)
        if any(n.device is not first.device for n in nodes):
            return self.function(*tensors, *numbers, **attrs)
        if numbers:
            nodes += self._constants(first, dtype or first.dtype, numbers)
        joint = self.formula(*nodes, **attrs)
        results = [source.item(joint, i) for i in range(len(joint.shape))]
        if self.smooth is not None:
            for node in results[self.smooth :]:
                node.requires_grad = False
        return [wrap(node) for node in results]

    def _constants(self, like: Node, dtype: DType, numbers: tuple[Any, ...]) -> list[Node]:
        """The numbers as nodes, shared by the calls that have them in common."""
        if self._numbers != numbers:
            self._numbers = numbers
            self._consts = {}
        key = dtype, like.device
        found = self._consts.get(key)
        if found is None:
            found = [source.const(x, (), dtype, like.device) for x in numbers]
            self._consts[key] = found
        return found


def alike(*places: int) -> Callable[..., Any]:
    """``infer`` of results that have the shapes and dtypes of these operands."""

    def infer(*nodes: Node, **_: Any) -> Any:
        return tuple([nodes[k].shape for k in places]), tuple([nodes[k].dtype for k in places])

    return infer
