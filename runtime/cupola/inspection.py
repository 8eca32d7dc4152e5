"""Looking at a model: ``cupola.summary`` lists its layers, ``cupola.graph`` draws what runs."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cupola.nn import Module
from cupola.profiler.recorder import Recorder
from cupola.tensor import Tensor, no_grad


def _arguments(input: Any) -> tuple[Any, ...]:
    return tuple(input) if isinstance(input, (tuple, list)) else (input,)


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, dict):
        for v in x.values():
            yield from _tensors(v)
    elif isinstance(x, (list, tuple)):
        for v in x:
            yield from _tensors(v)


class Summary:
    """The layers of a model.

    Attributes:
        rows: (depth, name, class, shapes of the results, parameters of the layer itself).
        parameters, trainable: numbers of elements.
        bytes: of parameters and buffers.
    """

    def __init__(
        self, rows: list[tuple[int, str, str, list[list[int]], int]], model: Module
    ) -> None:
        self.rows = rows
        self.parameters = sum(p.numel() for p in model.parameters())
        self.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        held = [*model.parameters(), *model.buffers()]
        self.bytes = sum(t.numel() * t.element_size() for t in held)

    def __str__(self) -> str:
        cells = [
            ("  " * depth + (name or "(model)"), kind, ", ".join(map(str, shapes)), f"{count:,}")
            for depth, name, kind, shapes, count in self.rows
        ]
        head = ("Layer", "Class", "Output shape", "Parameters")
        widths = [max(len(c[k]) for c in (*cells, head)) for k in range(4)]

        def row(c: tuple[str, str, str, str]) -> str:
            left = "  ".join(f"{x:<{w}}" for x, w in zip(c[:3], widths))
            return f"{left}  {c[3]:>{widths[3]}}"

        line = "-" * (sum(widths) + 6)
        return "\n".join([
            row(head), line, *map(row, cells), line,
            f"Parameters: {self.parameters:,} ({self.trainable:,} trainable), "
            f"{self.bytes / 2**20:.2f} MiB with buffers",
        ])  # fmt: skip

    __repr__ = __str__


def summary(model: Module, input: Any) -> Summary:
    """The layers of a model in the order of their names, with the shapes that an input gives.

    Args:
        model: called once, without gradients, in the mode that it is in.
        input: its argument, or a tuple of them.

    Returns:
        Something to print. Layers that the call does not reach have no shape.
    """
    shapes: dict[int, list[list[int]]] = {}
    hooks = []

    def note(module: Module, args: Any, result: Any) -> None:
        shapes[id(module)] = [list(t.shape) for t in _tensors(result)]

    for module in model.modules():
        hooks.append(module.register_forward_hook(note))
    try:
        with no_grad():
            model(*_arguments(input))
    finally:
        for hook in hooks:
            hook.remove()
    rows = []
    for name, module in model.named_modules():
        own = sum(p.numel() for p in module.parameters(recurse=False))
        depth = name.count(".") + 1 if name else 0
        short = name.rpartition(".")[2]
        rows.append((depth, short, type(module).__name__, shapes.get(id(module), []), own))
    return Summary(rows, model)


class Graph:
    """What runs when a model is called: kernels, library calls and the arrays between them.

    Attributes:
        steps: (label, kind, source line, results' shapes) of each step, in order.
        edges: (step, step) where the second reads what the first computed.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[str, str, str, list[list[int]]]] = []
        self.edges: list[tuple[int, int]] = []

    @property
    def svg(self) -> str:
        """The drawing."""
        return _drawn(self)

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        return "\n".join(
            f"{k:>4} {label} {' '.join(map(str, shapes))}  {line}".rstrip()
            for k, (label, _, line, shapes) in enumerate(self.steps)
        )

    def save(self, path: str) -> None:
        """Writes the drawing to a file."""
        Path(path).write_text(self.svg)


def graph(model: Any, input: Any, path: str | None = None) -> Graph:
    """The fused graph of one call, drawn as SVG.

    Args:
        model: a module or a function of tensors; called once, without gradients.
        input: its argument, or a tuple of them.
        path: where to write the drawing, if given.

    Returns:
        A graph whose ``svg`` is the drawing; notebooks show it.
    """
    given = _arguments(input)
    for t in _tensors(given):
        t.realize()
    if isinstance(model, Module):
        for t in (*model.parameters(), *model.buffers()):
            t.realize()
    recorder = Recorder()
    recorder.start()
    try:
        with no_grad():
            results = list(_tensors(model(*given)))
            for t in results:
                t.realize()
    finally:
        recorder.stop()
    out = Graph()
    for plan, places in recorder.plans:
        _add(out, plan, places)
    if path is not None:
        out.save(path)
    return out


def _add(out: Graph, plan: Any, places: dict[int, str]) -> None:
    """The steps of one plan."""
    items = plan.program.items
    made: dict[int, int] = {}

    def step(label: str, kind: str, outputs: list[int], inputs: Any) -> None:
        line = next((places[i] for i in reversed(outputs) if i in places), "")
        shapes = [list(items[i].shape) for i in outputs]
        number = len(out.steps)
        out.steps.append((label, kind, line, shapes))
        for s in dict.fromkeys(made[i] for i in inputs if i in made):
            out.edges.append((s, number))
        made.update(dict.fromkeys(outputs, number))

    for what in plan.steps:
        if what[0] in ("kernel", "kernels"):
            lows = what[1] if what[0] == "kernels" else (what[1],)
            outputs = [i for low in lows for i in low.outputs]
            inputs = [i for low in lows for i in low.inputs if i not in outputs]
            label = Recorder.kernel_name(items, lows[0])
            step(label if len(lows) == 1 else f"{label} ({len(lows)} arrays)", "kernel",
                 outputs, inputs)  # fmt: skip
        elif what[0] == "view":
            if what[2].base in made:
                made[what[1]] = made[what[2].base]
        elif what[0] == "call":
            item = items[what[1]]
            if item.op.name == "item" and item.srcs[0] in made:
                made[what[1]] = made[item.srcs[0]]
            else:
                step(item.op.name, "library", [what[1]], item.srcs)


_COLORS = {"kernel": ("#e8f1fb", "#3b78b5"), "library": ("#fdeedd", "#c07722")}
_WIDE, _HIGH, _GAP_X, _GAP_Y = 250, 52, 24, 34


def _drawn(g: Graph) -> str:
    """Steps in rows by their longest way from the start; edges as curves, beside the boxes where
    they pass over rows.
    """
    level = [0] * len(g.steps)
    for a, b in g.edges:  # steps are in order, so every edge leads forward
        level[b] = max(level[b], level[a] + 1)
    rows: dict[int, list[int]] = {}
    for k, row in enumerate(level):
        rows.setdefault(row, []).append(k)
    most = max((len(r) for r in rows.values()), default=1)
    width = most * (_WIDE + _GAP_X) + _GAP_X
    height = len(rows) * (_HIGH + _GAP_Y) + _GAP_Y
    at: dict[int, tuple[float, float]] = {}
    for row, members in rows.items():
        left = (width - len(members) * (_WIDE + _GAP_X) + _GAP_X) / 2
        for k, member in enumerate(members):
            at[member] = left + k * (_WIDE + _GAP_X), _GAP_Y / 2 + row * (_HIGH + _GAP_Y)
    ends = [max((at[k][0] for k in rows[row]), default=0) + _WIDE for row in range(len(rows))]
    over = [level[b] - level[a] for a, b in g.edges if level[b] - level[a] > 1]
    width += _GAP_X * min(max(over, default=0), 6)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for a, b in g.edges:
        x1, y1 = at[a][0] + _WIDE / 2, at[a][1] + _HIGH
        x2, y2 = at[b][0] + _WIDE / 2, at[b][1]
        middle, apart = (y1 + y2) / 2, level[b] - level[a]
        if apart > 1:
            # A cubic curve reaches three quarters of the way to its control points.
            reach = max(ends[level[a] : level[b] + 1]) + _GAP_X * min(apart, 6) * 0.9
            x1, x2, y1, y2 = x1 + _WIDE / 2, x2 + _WIDE / 2, y1 - _HIGH / 2, y2 + _HIGH / 2
            turn = (reach - (x1 + x2) / 8) * 4 / 3
            out.append(
                f'<path d="M{x1:g},{y1:g} C{turn:g},{y1:g} {turn:g},{y2:g} {x2:g},{y2:g}" '
                'fill="none" stroke="#8a8f98"/>'
            )
            continue
        out.append(
            f'<path d="M{x1:g},{y1:g} C{x1:g},{middle:g} {x2:g},{middle:g} {x2:g},{y2:g}" '
            'fill="none" stroke="#8a8f98"/>'
        )
    for k, (label, kind, line, shapes) in enumerate(g.steps):
        x, y = at[k]
        fill, edge = _COLORS[kind]
        text = [_short(label, 40), _short(" ".join(map(str, shapes)), 44), _short_line(line)]
        out.append(
            f'<g><title>{html.escape(f"{label} {shapes} {line}")}</title><rect x="{x:g}" y="{y:g}" '
            f'width="{_WIDE}" height="{_HIGH}" rx="5" fill="{fill}" stroke="{edge}"/>'
        )
        for n, words in enumerate(text):
            style = ' font-weight="bold"' if n == 0 else ' fill="#555555"'
            out.append(
                f'<text x="{x + 8:g}" y="{y + 16 + 15 * n:g}"{style}>{html.escape(words)}</text>'
            )
        out.append("</g>")
    out.append("</svg>")
    return "\n".join(out) + "\n"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _short_line(line: str) -> str:
    name, _, number = line.rpartition(":")
    return _short(f"{Path(name).name}:{number}", 44) if name else ""
