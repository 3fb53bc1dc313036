"""Curves as an SVG, one panel for each pair of quantities, both axes logarithmic.

No plotting library: what is needed is a few lines, and the file is small and the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .results import Series

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 430, 300, 70, 20, 40, 50
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")


def svg(series: Sequence[Series]) -> str:
    """All of *series*; those with the same title share a panel."""
    panels: dict[str, list[Series]] = {}
    for one in series:
        panels.setdefault(one.title, []).append(one)
    columns = 2
    rows = math.ceil(len(panels) / columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{columns * WIDTH}" height="{rows * HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, (title, curves) in enumerate(panels.items()):
        x, y = index % columns * WIDTH, index // columns * HEIGHT
        parts.append(f'<g transform="translate({x},{y})">{_panel(title, curves)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(title: str, curves: Sequence[Series]) -> str:
    xs = _Axis([x for one in curves for x, _ in one.points], LEFT, WIDTH - RIGHT)
    ys = _Axis([y for one in curves for _, y in one.points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<text x="{WIDTH / 2}" y="16" text-anchor="middle" font-weight="bold">{escape(title)}</text>'
    ]
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(curves[0].x)}</text>'
    )
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 8}">{escape(curves[0].y)}</text>')
    for tick in xs.ticks():
        at = xs.place(tick)
        parts.append(
            f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
        )
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{_short(tick)}</text>'
        )
    for tick in ys.ticks():
        at = ys.place(tick)
        parts.append(
            f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>'
        )
        parts.append(
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(tick)}</text>'
        )
    legend = []
    for index, one in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        places = [(xs.place(x), ys.place(y)) for x, y in one.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        legend.append(f'<tspan fill="{colour}">{escape(one.name)}</tspan>')
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{TOP - 8}" text-anchor="end">{" · ".join(legend)}</text>'
    )
    return "".join(parts)


class _Axis:
    """A logarithmic scale from whole powers of ten to whole powers of ten."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._begin, self._end = begin, end

    def place(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
