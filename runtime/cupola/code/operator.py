"""An operator made by ``cupola.code``: its forward stage, and how gradients pass through it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cupola import engine
from cupola.code.stage import Shape, Stage
from cupola.code.where import Caller, Text
from cupola.dtypes import dtype as DType
from cupola.ir import source
from cupola.ir.device import device as Device
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ops.custom import code as primitive
from cupola.tensor import Tensor, wrap

Sources = Sequence[Text | None] | Text | None
PythonGradient = Callable[[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]], Any]


@dataclass(frozen=True)
class Gradient:
    """How gradients are computed.

    Attributes:
        function: a Python function ``(grads, inputs, outputs) -> gradient an input``.
        sources: by device type: one text an input, or one text for all of them.
    """

    function: PythonGradient | None
    sources: dict[str, Sources]


class Operator:
    """What a call of ``cupola.code`` says apart from tensors, sizes and numbers.

    Attributes:
        dtypes: element types of the outputs.
    """

    def __init__(self, stage: Stage, gradient: Gradient, called: Caller) -> None:
        self.stage = stage
        self.gradient = gradient
        self.called = called
        self.dtypes = stage.outputs
        self._stages: dict[Any, tuple[Operator, tuple[str, ...]]] = {}

    def __repr__(self) -> str:
        return f"<cupola.code at {self.called.filename}:{self.called.lineno}>"

    def with_function(self, function: PythonGradient) -> Operator:
        """The same operator with a Python gradient: a new one for each call, since functions that
        are written in place are new objects each time.
        """
        return Operator(self.stage, Gradient(function, {}), self.called)

    def run(
        self, xp: Any, arrays: Sequence[Any], shapes: tuple[Shape, ...], numbers: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Runs the source for the device that ``xp`` is the array module of."""
        device_type = "cpu" if xp.__name__ == "numpy" else "cuda"
        if not self.stage.given:
            arrays = arrays[: len(self.stage.inputs)]  # without inputs there is a stand-in
        found: tuple[Any, ...] = self.stage.runner(device_type)(arrays, shapes, numbers)
        return found

    def gradients(
        self,
        gs: tuple[Node, ...],
        node: Node,
        srcs: tuple[Node, ...],
        shapes: tuple[Shape, ...],
        numbers: tuple[Any, ...],
    ) -> list[Node | None]:
        """One gradient an input, from one an output.

        Raises:
            RuntimeError: none was given for this device, or a Python gradient returns wrong shapes.
        """
        count = len(self.stage.inputs)
        inputs, rest = srcs[:count], [None] * (len(srcs) - count)
        outs = [source.item(node, k) for k in range(len(shapes))]
        if self.gradient.function is not None:
            return [*self._by_function(gs, inputs, outs), *rest]
        given = self.gradient.sources.get(node.device.type)
        if given is None:
            where = self.called
            raise RuntimeError(
                f"cupola.code at {where.filename}:{where.lineno} has no gradient on the "
                f"{node.device.type} device. Give {node.device.type}_grad_src= or grad= (a Python "
                "function), or call it under no_grad() if none is needed."
            )
        known = {f"in{k}": x for k, x in enumerate(inputs)}
        known.update((f"pout{k}", x) for k, x in enumerate(outs))
        known.update((f"dout{k}", g) for k, g in enumerate(gs))
        found: list[Node | None] = [None] * count
        if isinstance(given, Text):
            wanted = [k for k, x in enumerate(inputs) if x.dtype.category >= 2]
            for k, g in zip(wanted, self._launch(given, wanted, known, inputs, numbers)):
                found[k] = g
        else:
            for k, text in enumerate(given):
                if text is not None and inputs[k].requires_grad:
                    found[k] = self._launch(text, [k], known, inputs, numbers)[0]
        return [*found, *rest]

    def _by_function(
        self, gs: tuple[Node, ...], inputs: tuple[Node, ...], outs: list[Node]
    ) -> list[Node | None]:
        function = self.gradient.function
        assert function is not None
        given = function(tuple(map(wrap, gs)), tuple(map(wrap, inputs)), tuple(map(wrap, outs)))
        results = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        if len(results) != len(inputs):
            raise RuntimeError(
                f"cupola.code: grad= returned {len(results)} gradients for {len(inputs)} inputs; "
                "return one tensor, or None, for each"
            )
        made: list[Node | None] = []
        for k, (r, x) in enumerate(zip(results, inputs)):
            if r is None:
                made.append(None)
                continue
            if not isinstance(r, Tensor):
                raise TypeError(
                    f"cupola.code: grad= returned {type(r).__name__} for in{k}; return a tensor"
                )
            if r._n.shape != x.shape or r._n.dtype is not x.dtype:
                raise RuntimeError(
                    f"cupola.code: grad= returned shape {list(r.shape)} and dtype {r.dtype} for "
                    f"in{k}, which has shape {list(x.shape)} and dtype {x.dtype}"
                )
            made.append(r.node)
        return made

    def _launch(
        self,
        text: Text,
        wanted: list[int],
        known: dict[str, Node],
        inputs: tuple[Node, ...],
        numbers: tuple[Any, ...],
    ) -> list[Node]:
        """Gradients for the inputs ``wanted``, by one source."""
        device_type = inputs[0].device.type
        operator, names = self._gradient_stage(device_type, text, wanted, known, inputs)
        shapes = tuple(inputs[k].shape for k in wanted)
        joint = primitive(
            *[known[n] for n in names], operator=operator, shapes=shapes, numbers=numbers
        )
        return [source.item(joint, k) for k in range(len(wanted))]

    def _gradient_stage(
        self,
        device_type: str,
        text: Text,
        wanted: list[int],
        known: dict[str, Node],
        inputs: tuple[Node, ...],
    ) -> tuple[Operator, tuple[str, ...]]:
        dtypes: tuple[DType, ...] = tuple(inputs[k].dtype for k in wanted)
        ranks = tuple(len(inputs[k].shape) for k in wanted)
        key = (device_type, text.argument, text.text, tuple(wanted), dtypes, ranks)
        made = self._stages.get(key)
        if made is None:
            header = self.stage.texts[device_type][0]
            single = len(self.stage.outputs) == 1
            short = (("pout", "pout0"), ("dout", "dout0")) if single else ()
            # What the source does not mention is neither kept nor computed for it.
            words = set(re.findall(r"\w+", header.text + " " + text.text))
            roots = {re.sub(r"(_\w+)?$", "", w) for w in words}
            roots |= {old for new, old in short if new in roots}
            names = tuple(n for n in known if n in roots) or ("dout0",)
            outputs = tuple(f"out{k}" for k in wanted) if len(wanted) > 1 else ()
            stage = Stage(
                {device_type: (header, text)}, names, dtypes, ranks, ((),) * len(wanted),
                self.stage.data, self.stage.options, output_names=outputs,
                names=(*short, *((("out", "out0"),) if len(wanted) == 1 else ())),
            )  # fmt: skip
            made = self._stages[key] = (Operator(stage, Gradient(None, {}), text.called), names)
        return made


def launch_now(
    operator: Operator,
    nodes: Sequence[Node],
    shapes: tuple[Shape, ...],
    numbers: tuple[Any, ...],
    device: Device,
) -> list[Node]:
    """Runs an operator at once and records it for gradients: one node with a value an output."""
    engine.stats["calls"] += 1
    arrays = [n.value for n in nodes]
    outs = operator.stage.runner(device.type)(arrays, shapes, numbers, device.index)
    if mode.grad:
        for n in nodes:
            if n.requires_grad:
                joint = primitive(*nodes, operator=operator, shapes=shapes, numbers=numbers)
                joint.value = outs
                if operator.stage.dynamic:
                    joint.shape = tuple(o.shape for o in outs)
                return [_with_value(source.item(joint, k), o) for k, o in enumerate(outs)]
    return [source.buffer(o, d, device) for o, d in zip(outs, operator.dtypes)]


def _with_value(node: Node, value: Any) -> Node:
    node.value = value
    return node
