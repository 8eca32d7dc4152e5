"""The comparison as one HTML page: no scripts, no fonts, no network."""

from __future__ import annotations

from html import escape

from cupola_compat.parity.training.curves import Comparison, Divergence, Point
from cupola_compat.parity.training.plots import SHADES, curves, error_map

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #b35900; --dim: #777; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: .95rem; margin: 1rem 0 .2rem; }
code { font: 13px/1.45 ui-monospace, monospace; }
.verdict { font-size: 1.15rem; padding: .8rem 1rem; border-left: 4px solid; margin: 1rem 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .dim { color: var(--dim); }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.tiles div { border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem; }
.tiles b { display: block; font-size: 1.5rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .25rem .6rem .25rem 0; vertical-align: top;
 border-bottom: 1px solid var(--line); }
svg { width: 100%; max-width: 60rem; height: auto; display: block; }
svg text { font: 11px ui-monospace, monospace; fill: var(--dim); }
path { fill: none; } .grid { stroke: var(--line); }
path.original { stroke: #8b949e; stroke-width: 5; opacity: .55; }
path.converted, path.error { stroke: #1f6feb; stroke-width: 1.5; }
.key { display: inline-block; width: 1.6rem; height: .3rem; margin: 0 .4rem .15rem 1rem; }
.key.original { background: #8b949e; } .key.converted, .key.error { background: #1f6feb; }
.cell { display: inline-block; width: 1rem; height: .8rem; }
"""
MOST_LISTED = 200


def _shades() -> str:
    """Colours of the map: one hue, stronger with every decade."""
    return "".join(
        f"rect.s{k} {{ fill: #1f6feb; fill-opacity: {strength:.2f}; }}"
        f" .cell.s{k} {{ background: #1f6feb; opacity: {strength:.2f}; }}\n"
        for k, strength in ((k, 0.06 + 0.94 * (k / (SHADES - 1)) ** 2) for k in range(SHADES))
    )


def page(comparison: Comparison, entry: str) -> str:
    """The report of one comparison; entry: the command that was run."""
    lines = comparison.verdict()
    mood = "good" if comparison.passed else "bad"
    tiles = [("steps", f"{len(comparison.points):,}")]
    tiles += [(f"largest {kind} error", f"{e:.1e}") for kind, e in comparison.worst().items()]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'><title>cupola training report</title>",
        f"<style>{STYLE}{_shades()}</style><h1>Training report</h1>",
        f"<p class=dim><code>{escape(entry)}</code></p>",
        f"<p class='verdict {mood}'>{'<br>'.join(map(escape, lines))}</p>",
        "<div class=tiles>",
        *(f"<div><b>{number}</b>{escape(name)}</div>" for name, number in tiles),
        "</div>",
        *_divergences(comparison.divergences),
    ]
    numbers = sorted({p.optimizer for p in comparison.points})
    for number in numbers:
        title = f"Optimizer {number + 1}" if len(numbers) > 1 else "Curves"
        points = [p for p in comparison.points if p.optimizer == number]
        parts += [f"<h2>{title}</h2>", *_charts(points)]
    return "\n".join(parts) + "\n"


def _divergences(found: list[Divergence]) -> list[str]:
    if not found:
        return []
    rows = [
        f"<tr><td>{d.step}<td>{escape(d.kind)}<td><code>{escape(d.name)}</code>"
        f"<td>{d.error:.1e}<td>{d.allowed:.0e}<td>{'' if d.before is None else f'{d.before:.1e}'}"
        f"<td>{escape(d.note)}"
        for d in found[:MOST_LISTED]
    ]
    head = "<table><tr><th>step<th>value<th>parameter<th>error<th>allowed<th>step before<th>"
    more = len(found) - len(rows)
    rest = f"<p class=dim>and {more:,} more</p>" if more else ""
    return ["<h2>First divergence of each value</h2>", head, *rows, "</table>", rest]


def _charts(points: list[Point]) -> list[str]:
    steps = [p.step for p in points]

    def both(attribute: str) -> str:
        pairs = [getattr(p, attribute) for p in points]
        return curves(
            steps,
            [
                ("original", "original", [a for a, _ in pairs]),
                ("converted", "converted", [b for _, b in pairs]),
            ],
        )

    return [
        "<h3>Loss</h3>",
        both("loss"),
        "<h3>Relative error of the loss</h3>",
        curves(steps, [("error", "error", [p.loss_error for p in points])], log=True),
        "<h3>Gradient norm</h3>",
        both("norm"),
        "<h3>Learning rate</h3>",
        both("rate"),
        "<h3>Relative error of each parameter's weights</h3>",
        error_map(steps, {n: [p.weights[n] for p in points] for n in points[0].weights}),
        "<h3>Relative error of each parameter's gradient</h3>",
        error_map(steps, {n: [p.gradients[n] for p in points] for n in points[0].gradients}),
    ]
