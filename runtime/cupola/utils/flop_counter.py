"""Operations of floating point that a program asks for (torch.utils.flop_counter)."""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from typing import Any

from cupola.autodiff.memo import Tape
from cupola.errors import UnsupportedError
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import Primitive, pending
from cupola.nn import Module
from cupola.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from cupola.tensor.written import holding

__all__ = ["FlopCounterMode"]

_SUFFIXES = ("", "K", "M", "B", "T")


def _product(out: Node, a: Node, b: Node, attrs: dict[str, Any]) -> int:
    return 2 * math.prod(out.shape) * a.shape[-1]


def _convolution(out: Node, x: Node, w: Node, attrs: dict[str, Any]) -> int:
    return 2 * math.prod(out.shape) * math.prod(w.shape[1:])


def _to_input(out: Node, g: Node, w: Node, attrs: dict[str, Any]) -> int:
    return 2 * math.prod(g.shape) * math.prod(w.shape[1:])


def _to_weight(out: Node, g: Node, x: Node, attrs: dict[str, Any]) -> int:
    return 2 * math.prod(g.shape) * math.prod(out.shape[1:])


def _attention(out: Node, q: Node, k: Node, v: Node, *rest: Any) -> int:
    return 2 * math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


_FORMULAS: dict[str, Any] = {
    "matmul": _product,
    "convolution": _convolution,
    "convolution_input_grad": _to_input,
    "convolution_weight_grad": _to_weight,
    "attention": _attention,
}


class FlopCounterMode:
    """Counts multiplications and additions of matrix products and convolutions, as they are asked
    for, in the forward and in the backward pass (torch.utils.flop_counter.FlopCounterMode).

    Counts are found under the modules that were being called, ``"Global"`` and, in PyTorch's words,
    ``"Net"``, ``"Net.layer"``; gradients count for the module whose operator they belong to. Below
    that they are found under the names of cupola's operators ("matmul", "convolution", …), where
    PyTorch has its own. Nothing is counted of a captured call that is replayed.

    Args:
        mods: ignored, as in PyTorch.
        depth: how deep the modules of the table lie; None for all.
        display: whether the table is printed at the end.

    Raises:
        UnsupportedError: ``custom_mapping`` is given.
    """

    def __init__(
        self, mods: Any = None, depth: int | None = 2, display: bool = True,
        custom_mapping: Any = None,
    ) -> None:  # fmt: skip
        if custom_mapping:
            raise UnsupportedError("FlopCounterMode(custom_mapping)", "it names ATen's operators")
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._names: dict[int, str] = {}
        self._stack: list[str] = []
        # Which modules were being called when the node of a serial was recorded.
        self._since: list[int] = []
        self._within: list[frozenset[str]] = []
        self._undo: list[Any] = []

    def get_total_flops(self) -> int:
        """The sum of all counts."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """Counts by operator, by module."""
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts of modules up to a depth as text."""
        most = self.depth if depth is None else depth
        total = self.get_total_flops()
        names = sorted(n for n in self.flop_counts if n != "Global")
        if not any(sum(self.flop_counts[n].values()) == total for n in names):
            names.insert(0, "Global")
        rows = [("Module", "FLOP", "% Total")]
        for name in names:
            level = 0 if name == "Global" else name.count(".")
            if most is not None and level >= most:
                continue
            counts = self.flop_counts[name]
            for label, n in (
                (name, sum(counts.values())),
                *((f" - {k}", counts[k]) for k in counts),
            ):
                rows.append((" " * level + label, _short(n, total), f"{n / (total or 1):.2%}"))
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self._mark()
        before = register_module_forward_pre_hook(self._enter_module)
        after = register_module_forward_hook(self._leave_module, always_call=True)
        record, items = Primitive.__call__, Tape._items
        count = self._count

        def counted(op: Primitive, *srcs: Node, **attrs: Any) -> Node:
            out = record(op, *srcs, **attrs)
            if op.name in _FORMULAS:
                count(op.name, out, srcs, attrs)
            return out

        # Every operator is recorded on its own, every gradient by its rule.
        holding.level += 1
        Primitive.__call__ = counted  # type: ignore[method-assign]
        Tape._items = lambda *_: None  # type: ignore[method-assign]

        def undo() -> None:
            holding.level -= 1
            Primitive.__call__ = record  # type: ignore[method-assign]
            Tape._items = items  # type: ignore[method-assign]

        self._undo = [before.remove, after.remove, undo]
        return self

    def __exit__(self, *exc: object) -> None:
        for undo in self._undo:
            undo()
        self._undo.clear()
        self._stack.clear()
        if self.display:
            print(self.get_table())

    def _mark(self) -> None:
        self._since.append(pending.count)
        self._within.append(frozenset({"Global", *self._stack}))

    def _enter_module(self, module: Module, args: Any) -> None:
        name = self._names.setdefault(id(module), type(module).__name__)
        for child, inner in module.named_children():
            self._names.setdefault(id(inner), f"{name}.{child}")
        self._stack.append(name)
        self._mark()

    def _leave_module(self, module: Module, args: Any, output: Any) -> None:
        if self._stack:
            self._stack.pop()
        self._mark()

    def _count(self, name: str, out: Node, srcs: tuple[Node, ...], attrs: dict[str, Any]) -> None:
        serial = mode.serial if mode.walking is not None and mode.serial >= 0 else pending.count
        at = max(bisect.bisect_left(self._since, serial) - 1, 0)
        flops = int(_FORMULAS[name](out, *srcs, attrs))
        for module in self._within[at]:
            self.flop_counts[module][name] += flops


def _short(n: int, total: int) -> str:
    """A number in the unit of the total."""
    unit = max(0, min(len(_SUFFIXES) - 1, (len(str(total)) - 2) // 3))
    return f"{n / 1000**unit:.3f}{_SUFFIXES[unit]}"
