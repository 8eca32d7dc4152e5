"""Compositions recorded as one node.

A layer such as batch normalization is dozens of primitives. Where nobody looks inside, it is
recorded as a formula (``ir/formula.py``); kernels and gradients are those of the composition.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from cupola import engine
from cupola.dtypes import dtype as DType
from cupola.ir import source
from cupola.ir.formula import Formula, holds_arrays
from cupola.ir.kind import Form, Kind, form, kind, kind_of
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.tensor.core import Tensor, wrap
from cupola.tensor.written import holding

_EAGER = engine.eager()
_LIMIT = 1024  # structures that are remembered for each composite
_NUMBERS = 16  # tuples of numbers
F = TypeVar("F", bound=Callable[..., Any])


class _Kinds(NamedTuple):
    """Of each result."""

    shapes: tuple[Any, ...]
    dtypes: tuple[Any, ...]
    orders: tuple[Any, ...]


class Composite:
    """A function of tensors and numbers whose operators are recorded as one.

    Args:
        name: of the gradient as PyTorch shows it, such as ``native_batch_norm``.
        function: ``function(*tensors, *numbers, **attrs)`` gives a tuple of tensors, by operators
            alone, and looks at no values. It is called with numbers where a call is captured (they
            are followed from step to step) or operators run at once, and with 0-dim tensors for
            them where a new structure is met or planned.
        smooth: how many of the results, the first ones, gradients flow through (None: all).
        casts: whether autocast may change the precision of the operators inside.
        heavy, rereads, single: as in ``Formula``.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Sequence[Tensor]],
        smooth: int | None = None,
        casts: bool = True,
        heavy: bool = False,
        rereads: bool = False,
        single: bool = False,
    ) -> None:
        self.function = function
        self.smooth = smooth
        self.casts = casts
        self.formula = Formula(name, self._body, heavy, rereads, single)
        self._kinds: dict[Any, _Kinds | None] = {}
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
        if not self.recorded():
            return self.function(*tensors, *numbers, **attrs)
        nodes = [t._n if t._storage is None else t.node for t in tensors]
        if numbers:
            nodes += self._constants(nodes[0], dtype or nodes[0].dtype, numbers)
        found = self.kinds(nodes, attrs)
        if found is None:
            return self.function(*tensors, *numbers, **attrs)
        shapes, dtypes, orders = found
        joint = self.formula.record(tuple(nodes), attrs, shapes, dtypes)
        results = []
        smooth = len(orders) if self.smooth is None else self.smooth
        for i, order in enumerate(orders):
            node = source.item(joint, i)
            if order is not None:
                node.order = order
            if i >= smooth:
                node.requires_grad = False
            results.append(wrap(node))
        return results

    def recorded(self) -> bool:
        """Whether calls are recorded as one node now."""
        if mode.held or _EAGER or mode.walking is not None or holding.level:
            return False
        return mode.casts is None or not self.casts

    def kinds(self, nodes: list[Node], attrs: dict[str, Any]) -> _Kinds | None:
        """What the results are; None if the function has to be called itself."""
        place = nodes[0].device
        key = (tuple([kind_of(n) for n in nodes]), tuple(attrs.items()) if attrs else ())
        kinds = self._kinds
        if key in kinds:
            return kinds[key]
        found = None
        if all(n.device is place for n in nodes) and place.type != "meta":
            symbols = [_symbol(n) for n in nodes]
            recording, mode.grad = mode.grad, False
            try:
                results = self._body(*symbols, **attrs)
            finally:
                mode.grad = recording
            if not holds_arrays(results, tuple(symbols)):
                found = _Kinds(
                    tuple([r.shape for r in results]),
                    tuple([r.dtype for r in results]),
                    tuple([r.order for r in results]),
                )
        if len(kinds) >= _LIMIT:
            kinds.clear()
        kinds[key] = found
        return found

    def _constants(self, like: Node, dtype: DType, numbers: tuple[Any, ...]) -> list[Node]:
        """The numbers as nodes, shared by the calls that have them in common."""
        key = numbers, dtype, like.device
        found = self._consts.get(key)
        if found is None:
            if len(self._consts) >= _NUMBERS:
                self._consts.clear()
            found = [source.const(x, (), dtype, like.device) for x in numbers]
            self._consts[key] = found
        return found


def _symbol(node: Node) -> Node:
    """A node without a value that stands for another."""
    shape, dtype, place = node.shape, node.dtype, node.device
    symbol = Node(source.BUFFER, (), source.EMPTY_ATTRS, shape, dtype, place)
    symbol.order = node.order
    return symbol


_TENSOR = object()  # a tensor's place among arguments


class _Way:
    """How a function is called: its arguments, with a mark for each tensor; the last ones by name.
    Ways are equal if they are the same object.
    """

    __slots__ = ("names", "pattern")

    def __init__(self, pattern: tuple[Any, ...], names: tuple[str, ...]) -> None:
        self.pattern = pattern
        self.names = names


class _Whole:
    """A function of tensors and other arguments whose operators are recorded as one.

    Attributes:
        calls: by the arguments, each tensor's kind in its place: the attributes, kind and form of
            what to record; None: the function has to be called.
    """

    def __init__(self, function: Callable[..., Tensor], composite: dict[str, Any]) -> None:
        self.function = function
        self.composite = Composite(function=self._called, single=True, **composite)
        self._ways: dict[Any, _Way] = {}
        self.calls: dict[Any, tuple[dict[str, Any], Kind, Form] | None] = {}

    def _called(self, *tensors: Tensor, way: _Way) -> tuple[Tensor]:
        rest = iter(tensors)
        values = [next(rest) if p is _TENSOR else p for p in way.pattern]
        k = len(values) - len(way.names)
        named = dict(zip(way.names, values[k:], strict=True))
        return (self.function(*values[:k], **named),)

    def met(self, call: Any, args: Any, kwargs: dict[str, Any], nodes: list[Node]) -> Any:
        """What to record for arguments that have not been met before."""
        known = None
        if nodes:
            values = (*args, *kwargs.values())
            pattern = [
                _TENSOR if isinstance(x, Tensor) else tuple(x) if type(x) is list else x
                for x in values
            ]
            way = _Way(tuple(pattern), tuple(kwargs))
            way = self._ways.setdefault((way.pattern, way.names), way)
            attrs = {"way": way}
            kinds = self.composite.kinds(nodes, attrs)
            if kinds is not None:
                of = kinds.shapes[0], kinds.dtypes[0]
                how = form(self.composite.formula, tuple(attrs.items()), *of)
                known = attrs, kind(*of, kinds.orders[0], nodes[0].device), how
        if len(self.calls) >= _LIMIT:
            self.calls.clear()
        self.calls[call] = known
        return known


def as_one(
    name: str, heavy: bool = False, rereads: bool = False, casts: bool = True
) -> Callable[[F], F]:
    """Records a function as one node: of tensors, and of arguments that can be hashed and do not
    change from step to step. It gives one tensor and looks at no values; the arguments here are
    those of ``Composite``.
    """

    def decorate(f: F) -> F:
        whole = _Whole(f, {"name": name, "heavy": heavy, "rereads": rereads, "casts": casts})
        recorded, calls = whole.composite.recorded, whole.calls
        formula = whole.composite.formula

        @functools.wraps(f)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not recorded():
                return f(*args, **kwargs)
            nodes: list[Node] = []
            key: list[Any] = []
            for x in (*args, *kwargs.values()) if kwargs else args:
                if isinstance(x, Tensor):
                    node = x._n if x._storage is None else x.node
                    nodes.append(node)
                    found = node.kind
                    if found is None or found.order is not node.order:
                        found = kind_of(node)
                    key.append(found)
                else:
                    key.append(tuple(x) if type(x) is list else x)
            if kwargs:
                key.append(tuple(kwargs))
            call = tuple(key)
            try:
                known = calls.get(call, _TENSOR)
            except TypeError:  # an argument that cannot be hashed
                return f(*args, **kwargs)
            if known is _TENSOR:
                known = whole.met(call, args, kwargs, nodes)
            if known is None:
                return f(*args, **kwargs)
            attrs, of, how = known
            out = formula.record(tuple(nodes), attrs, of.shape, of.dtype)
            out.order, out.kind, out.form = of.order, of, how
            return wrap(out)

        return wrapper  # type: ignore[return-value]

    return decorate
