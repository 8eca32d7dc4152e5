"""Charts as inline SVG: curves over steps, and a map of errors by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 220, 64, 10, 24
# Columns of a map; of more steps, the largest error of each group is shown.
COLUMNS, ROW, LABEL = 120, 14, 230
# Errors from 1e-8 and below (lightest) to 1 and above, a shade a decade.
SHADES = 9

Curve = tuple[str, str, Sequence[float]]


def _ticks(low: float, high: float) -> list[float]:
    """About four round numbers between two bounds."""
    span = (high - low) / 4
    step = 10.0 ** math.floor(math.log10(span))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= span)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _bounds(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - pad, high + pad


def curves(steps: Sequence[int], series: Sequence[Curve], log: bool = False) -> str:
    """A chart of (label, CSS class, values) over steps; on a logarithmic scale, zeros are left out.

    Values that are not finite break the line.
    """

    def height(value: float) -> float | None:
        if not math.isfinite(value) or (log and value <= 0):
            return None
        return math.log10(value) if log else value

    shown = [[height(v) for v in values] for _, _, values in series]
    finite = [v for values in shown for v in values if v is not None]
    if not finite:
        return "<p class=dim>Nothing to draw: every value is zero or not finite.</p>"
    low, high = _bounds(finite)
    first, last = steps[0], max(steps[-1], steps[0] + 1)

    def x(step: float) -> float:
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - 8)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img>"]
    for tick in _ticks(low, high):
        label = f"1e{tick:.3g}" if log else f"{tick:.4g}"
        parts.append(
            f"<line class=grid x1={LEFT} x2={WIDTH - 8} y1={y(tick):.1f} y2={y(tick):.1f} />"
            f"<text x={LEFT - 6} y={y(tick) + 4:.1f} text-anchor=end>{label}</text>"
        )
    for step in sorted({int(t) for t in _ticks(first, last)} | {first}):
        parts.append(f"<text x={x(step):.1f} y={HEIGHT - 6} text-anchor=middle>{step}</text>")
    for (label, kind, _), values in zip(series, shown, strict=True):
        path, pen = [], "M"
        for step, value in zip(steps, values, strict=True):
            if value is None:
                pen = "M"
            else:
                path.append(f"{pen}{x(step):.1f} {y(value):.1f}")
                pen = "L"
        parts.append(
            f"<path class={kind} d='{''.join(path)}'><title>{escape(label)}</title></path>"
        )
    legend = " ".join(f"<span class='key {kind}'></span>{escape(n)}" for n, kind, _ in series)
    return "".join(parts) + f"</svg><p class=dim>{legend}</p>"


def shade(error: float) -> int:
    """0 for an error up to 1e-8, one more a decade, 8 from 1 on; 8 for what is not finite."""
    if not math.isfinite(error):
        return SHADES - 1
    if error <= 1e-8:
        return 0
    return max(0, min(SHADES - 1, math.ceil(8 + math.log10(error))))


def error_map(steps: Sequence[int], layers: dict[str, Sequence[float]]) -> str:
    """A row a layer, a column a step, darker where the relative error is larger."""
    groups = min(COLUMNS, len(steps))
    edges = [round(k * len(steps) / groups) for k in range(groups + 1)]
    width = (WIDTH - LABEL) / groups
    parts = [f"<svg viewBox='0 0 {WIDTH} {len(layers) * ROW + BOTTOM}' role=img>"]
    for row, (name, errors) in enumerate(layers.items()):
        top = row * ROW
        short = name if len(name) <= 36 else "…" + name[-35:]
        parts.append(f"<text x={LABEL - 6} y={top + 11} text-anchor=end>{escape(short)}</text>")
        cells = [max(errors[a:b]) for a, b in zip(edges, edges[1:], strict=False)]
        start = 0
        while start < groups:  # neighbours of one shade are one rectangle
            end = start
            while end < groups and shade(cells[end]) == shade(cells[start]):
                end += 1
            worst = max(cells[start:end])
            where = f"steps {steps[edges[start]]} to {steps[edges[end] - 1]}"
            parts.append(
                f"<rect class=s{shade(cells[start])} x={LABEL + start * width:.1f} y={top} "
                f"width={(end - start) * width:.1f} height={ROW - 1}>"
                f"<title>{escape(name)}, {where}: {worst:.1e}</title></rect>"
            )
            start = end
    bottom = len(layers) * ROW + 16
    parts.append(f"<text x={LABEL} y={bottom}>step {steps[0]}</text>")
    parts.append(f"<text x={WIDTH} y={bottom} text-anchor=end>step {steps[-1]}</text></svg>")
    keys = "".join(f"<span class='cell s{k}'></span>" for k in range(SHADES))
    return "".join(parts) + f"<p class=dim>1e-8 and less {keys} 1 and more</p>"
