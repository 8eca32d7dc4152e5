"""``explain``: what a call would run, kernel by kernel, without running it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cupola import engine
from cupola.ir.mode import mode
from cupola.ir.program import Item, Lowered, Plan
from cupola.jit.free import _PLAIN
from cupola.tensor import Tensor

_INDEX_MAPS = ("movement", "source", "alias")


@dataclass(frozen=True)
class Step:
    """One launch.

    Attributes:
        kind: ``kernel`` (generated) or ``library``.
        operators: names of the primitives computed by it, in order.
        shapes: of its results.
        read, written: bytes of the arrays that it reads and writes, each counted once.
        flop: floating-point operations; of library calls the multiplications and additions of the
            product or convolution, of kernels one for each operator and element.
        arrays: over how many sets of arrays it runs at once.
    """

    kind: str
    operators: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    read: int
    written: int
    flop: int
    arrays: int = 1


@dataclass(frozen=True)
class Explanation:
    """The launches of a call, in order; printing it gives a table.

    Attributes:
        steps: in every call.
        once: those that derive weights, which are kept while the weights stay the same.
    """

    steps: tuple[Step, ...]
    once: tuple[Step, ...]

    @property
    def kernels(self) -> int:
        """How many generated kernels a call launches."""
        return sum(s.kind == "kernel" for s in self.steps)

    @property
    def calls(self) -> int:
        """How many library calls it makes."""
        return sum(s.kind == "library" for s in self.steps)

    def __str__(self) -> str:
        head = f"{'':9} {'read MB':>9} {'written':>9} {'GFLOP':>9}  result and operators"
        lines = [head, *(_line(s) for s in self.steps)]
        total = [sum(getattr(s, k) for s in self.steps) for k in ("read", "written", "flop")]
        lines.append(
            f"{'total':9} {total[0] / 1e6:9.3f} {total[1] / 1e6:9.3f} {total[2] / 1e9:9.4f}  "
            f"{self.kernels} kernels, {self.calls} library calls"
        )
        if self.once:
            lines.append(f"and {len(self.once)} launches whose results are kept with the weights")
        return "\n".join(lines)


def _line(s: Step) -> str:
    many = f" x {s.arrays}" if s.arrays > 1 else ""
    shapes = ", ".join(str(list(shape)) for shape in s.shapes[:3])
    more = ", ..." if len(s.shapes) > 3 else ""
    return (
        f"{s.kind:9} {s.read / 1e6:9.3f} {s.written / 1e6:9.3f} {s.flop / 1e9:9.4f}  "
        f"{shapes}{more}{many}: {' '.join(s.operators)}"
    )


def explain(function: Callable[..., Any]) -> Callable[..., Explanation]:
    """``explain(f)(*args)``: what a call of ``f`` launches, what each launch fuses and moves.

    ``f`` is recorded, what it returns is planned and not run. What it writes into tensors is
    recorded like any other call's; it is explained if the call returns those tensors.

    Raises:
        ValueError: the call returns no tensor that has still to be computed.
    """

    def explained(*args: Any, **kwargs: Any) -> Explanation:
        held, mode.held = mode.held, True
        try:
            nodes = _nodes(function(*args, **kwargs))
        finally:
            mode.held = held
        nodes = [n for n in nodes if n.value is None]
        if not nodes:
            raise ValueError("the call returns no tensor that has still to be computed")
        main, before = engine.plans(nodes, nodes[0].device)
        return Explanation(_steps(main), _steps(before) if before is not None else ())

    return explained


def _nodes(value: Any) -> list[Any]:
    if isinstance(value, Tensor):
        return [value.node]
    if isinstance(value, dict):
        return [n for v in value.values() for n in _nodes(v)]
    if isinstance(value, _PLAIN):
        return []
    return [n for v in value for n in _nodes(v)]


def _steps(made: Plan) -> tuple[Step, ...]:
    items = made.program.items
    out = []
    for step in made.steps:
        if step[0] in ("kernel", "kernels"):
            lows = step[1] if step[0] == "kernels" else (step[1],)
            out.append(_kernel(items, lows))
        elif step[0] == "call" and items[step[1]].op.name != "item":
            out.append(_library(items, step[1]))
    return tuple(out)


def _bytes(items: list[Item], chosen: Any) -> int:
    total = 0
    for i in set(chosen):
        shapes, kinds = items[i].shape, items[i].dtype
        if items[i].op.multi:
            total += sum(math.prod(s) * d.itemsize for s, d in zip(shapes, kinds, strict=True))
        else:
            total += math.prod(shapes) * kinds.itemsize
    return total


def _kernel(items: list[Item], lows: tuple[Lowered, ...]) -> Step:
    inside: set[int] = set()
    for low in lows:
        stack = list(low.outputs)
        while stack:
            i = stack.pop()
            if i not in inside and (i in low.outputs or i not in low.inputs):
                inside.add(i)
                stack.extend(items[i].srcs)
    computed = sorted(i for i in inside if items[i].op.kind not in _INDEX_MAPS)
    first = sorted(i for i in computed if len(lows) == 1 or i <= max(lows[0].outputs))
    flop = 0
    for i in computed:
        of = items[i].srcs[0] if items[i].op.kind == "reduce" else i
        flop += math.prod(items[of].shape)
    return Step(
        "kernel",
        tuple(items[i].op.name for i in first) or ("copy",),
        tuple(items[i].shape for low in lows for i in low.outputs),
        _bytes(items, [i for low in lows for i in low.inputs]),
        _bytes(items, [i for low in lows for i in low.outputs]),
        flop,
        len(lows),
    )


def _library(items: list[Item], i: int) -> Step:
    item = items[i]
    name, flop = item.op.name, 0
    if name.startswith("matmul"):
        flop = 2 * math.prod(item.shape) * items[item.srcs[0]].shape[-1]
    elif name.startswith("convolution"):
        flop = 2 * _taps(items, item)
    elif name.startswith("attention"):
        flop = _attention(items, item)
    attrs = dict(item.attrs)
    extra = [n for n in ("bias", "residual") if attrs.get(n)]
    if attrs.get("activation"):
        extra.append(attrs["activation"])
    shapes = item.shape if item.op.multi else (item.shape,)
    return Step(
        "library", (name, *extra), tuple(shapes), _bytes(items, item.srcs), _bytes(items, [i]), flop
    )


def _attention(items: list[Item], item: Item) -> int:
    """Two products of queries and keys, or five for the gradients; half of each where causal."""
    backward = item.op.name == "attention_grad"
    q, k, v = (items[s].shape for s in item.srcs[backward : backward + 3])
    pairs = math.prod(q[:3]) * k[2]
    products = (3 * q[3] + 2 * v[3]) if backward else q[3] + v[3]
    return 2 * pairs * products // (2 if item.attr("causal") else 1)


def _taps(items: list[Item], item: Item) -> int:
    """Multiplications of a convolution or of one of its gradients."""
    a, b = (items[s].shape for s in item.srcs[:2])
    if item.op.name.startswith("convolution_weight_grad"):
        # Every element of the result's gradient meets every tap of the kernel.
        return math.prod(a) * math.prod(item.shape[1:])
    if item.op.name.startswith("convolution_input_grad"):
        return math.prod(a) * math.prod(b[1:])
    return math.prod(item.shape) * math.prod(b[1:])
