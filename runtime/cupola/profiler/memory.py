"""A page with a chart of the memory in use."""

from __future__ import annotations

import html
from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 960, 320, 90, 40


def memory_page(times: Sequence[float], sizes: Sequence[int], device: str) -> str:
    """HTML with an SVG of bytes over microseconds; memory stays as it is between two marks."""
    first, span = times[0], max(times[-1] - times[0], 1e-9)
    most = max(max(sizes), 1)
    x = [_LEFT + (t - first) / span * (_WIDTH - _LEFT - 10) for t in times]
    y = [_HEIGHT - _BOTTOM - n / most * (_HEIGHT - _BOTTOM - 20) for n in sizes]
    path = f"M{x[0]:.1f},{y[0]:.1f}" + "".join(
        f"H{a:.1f}V{b:.1f}" for a, b in zip(x[1:], y[1:], strict=True)
    )
    base = _HEIGHT - _BOTTOM
    marks = "".join(
        f"<text x='{_LEFT - 8}' y='{base - part * (base - 20) + 4:.1f}' text-anchor='end'>"
        f"{most * part / 2**20:.2f} MiB</text>"
        for part in (0, 0.5, 1)
    )
    marks += "".join(
        f"<text x='{_LEFT + part * (_WIDTH - _LEFT - 10):.1f}' y='{_HEIGHT - 14}' "
        f"text-anchor='middle'>{span * part / 1e3:.3g} ms</text>"
        for part in (0, 0.5, 1)
    )
    title = f"Memory on {html.escape(device)}: at most {most / 2**20:.2f} MiB"
    return (
        f"<!doctype html><meta charset=utf-8><title>{title}</title>"
        f"<h1 style='font:600 18px sans-serif'>{title}</h1>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' xmlns='http://www.w3.org/2000/svg' "
        "font-family='sans-serif' font-size='12'>"
        f"<path d='{path}V{base}H{x[0]:.1f}Z' fill='#4682b433' stroke='#4682b4'/>"
        f"<path d='M{_LEFT},20V{base}H{_WIDTH - 10}' fill='none' stroke='#888'/>{marks}</svg>\n"
    )
