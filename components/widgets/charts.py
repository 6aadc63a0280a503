"""Charts as markup: lines, bars and stacked bars. Functions from data to HTML with SVG, no component.

The drawing scales with its box while its text does not: curves are an SVG stretched to the box, with lines
that keep their width, and everything written is HTML placed over it in percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain

from components.widgets.figures import figure_html
from pipelines.axes import ends, number, scale, ticks

SERIES = 8  # colours and dash patterns in studio.css, --series-1 …
_WIDTH, _HEIGHT = 1000.0, 500.0


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: `points` are (x, y) in ascending x. `marks` draws a dot at each point."""

    name: str
    points: Sequence[tuple[float, float]]
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stacked bar; `note` is shown on hover and focus. Parts of one name have one colour."""

    name: str
    value: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its name, and the parts it is stacked from (one part for a plain bar)."""

    name: str
    parts: Sequence[Part]
    note: str = ""


def line_chart(
    series: Sequence[Series],
    title: str,
    *,
    x_label: str = "",
    y_format: Callable[[float], str] = number,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    log_y: bool = False,
) -> str:
    """Curves over a common axis. With `log_y`, points at or below zero are left out.

    y_range, x_range: fixed ends, so that nothing jumps while a run is drawn; else the data's.
    """
    drawn = [
        Series(
            line.name,
            [(x, y) for x, y in line.points if math.isfinite(y) and (y > 0 or not log_y)],
            line.marks,
        )
        for line in series
    ]
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    left, right = ends(x_range, xs)
    low, high = ends(y_range, ys, pad=not log_y)
    across = scale(left, right, log=False)
    up = scale(low, high, log=log_y)
    curves, dots = [], []
    for index, line in enumerate(drawn):
        style = index % SERIES + 1
        path = " ".join(f"{_WIDTH * across(x):.1f},{_HEIGHT * (1 - up(y)):.1f}" for x, y in line.points)
        if len(line.points) > 1:
            curves.append(f'<polyline class="line s{style}" points="{path}"/>')
        if line.marks or len(line.points) == 1:
            dots += [
                f'<span class="dot s{style}" style="left:{100 * across(x):.2f}%;bottom:{100 * up(y):.2f}%" '
                f'title="{escape(line.name)}: {escape(y_format(y))} at {number(x)}"></span>'
                for x, y in line.points
            ]
    y_ticks = ticks(low, high, log=log_y)
    grid = "".join(
        f'<line x1="0" x2="{_WIDTH:.0f}" y1="{_HEIGHT * (1 - up(y)):.1f}" y2="{_HEIGHT * (1 - up(y)):.1f}"/>'
        for y in y_ticks
    )
    written = "".join(
        f'<span class="tick-y" style="bottom:{100 * up(y):.2f}%">{escape(y_format(y))}</span>' for y in y_ticks
    ) + "".join(
        f'<span class="tick-x" style="left:{100 * across(x):.2f}%">{number(x)}</span>' for x in ticks(left, right)
    )
    legend = _legend([line.name for line in drawn])
    body = (
        f'<div class="plot" role="img" aria-label="{escape(_in_words(title, drawn, y_format))}">'
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" aria-hidden="true">'
        f'<g class="grid">{grid}</g>{"".join(curves)}</svg>{"".join(dots)}{written}</div>'
        f'<p class="axis-label">{escape(x_label)}</p>'
    )
    columns = (x_label or "x", *(line.name for line in drawn))
    return figure_html("chart", title, body, columns, _by_x(drawn), legend)


def bar_chart(
    bars: Sequence[Bar],
    title: str,
    *,
    value_format: Callable[[float], str] = number,
    marks: Sequence[tuple[str, float]] = (),
    log: bool = False,
    maximum: float | None = None,
) -> str:
    """Horizontal bars, stacked when they have more than one part.

    marks:   (label, value): vertical lines across all bars, such as the memory of a GPU
    log:     a logarithmic axis; only for bars of one part, since lengths no longer add up
    maximum: the value at the right end; else the largest of bars and marks
    """
    if log and any(len(bar.parts) > 1 for bar in bars):
        raise ValueError("stacked bars on a logarithmic axis do not add up")
    totals = [sum(part.value for part in bar.parts) for bar in bars]
    top = maximum or max([*totals, *(value for _, value in marks)], default=1.0) or 1.0
    low = min((total for total in totals if total > 0), default=1.0)
    place = scale(low / 10, top, log=True) if log else scale(0.0, top, log=False)
    names = list(dict.fromkeys(part.name for bar in bars for part in bar.parts))
    lines = "".join(
        f'<span class="mark" style="left:{100 * place(value):.2f}%"></span>' for _, value in marks if value <= top
    )
    rows = []
    for bar, total in zip(bars, totals, strict=True):
        parts = "".join(
            f'<span class="part s{names.index(part.name) % SERIES + 1}" tabindex="0" role="img" '
            f'aria-label="{escape(bar.name)}, {escape(part.name)}: {escape(value_format(part.value))}" '
            f'style="width:{100 * (place(part.value) if part.value > 0 else 0):.2f}%" '
            f'data-note="{escape(part.name)}: {escape(value_format(part.value))}'
            f'{escape(chr(10) + part.note) if part.note else ""}"></span>'
            for part in bar.parts
            if part.value > 0
        )
        note = f" <small>{escape(bar.note)}</small>" if bar.note else ""
        rows.append(
            f'<li class="stack-row"><span class="stack-name">{escape(bar.name)}{note}</span>'
            f'<span class="stack-track">{parts}{lines}</span>'
            f'<span class="stack-value">{escape(value_format(total))}</span></li>'
        )
    marked = "".join(f"<li>│ {escape(label)} {escape(value_format(value))}</li>" for label, value in marks)
    legend = _legend(names) if len(names) > 1 else ""
    body = f'<ul class="stack-list">{"".join(rows)}</ul>' + (f'<ul class="mark-list">{marked}</ul>' if marked else "")
    values = [(bar.name, *(_part(bar, name) for name in names)) for bar in bars]
    return figure_html("chart", title, body, ("", *names), [*values, *marks], legend)


def _by_x(lines: Sequence[Series]) -> list[tuple[float | None, ...]]:
    """A row for each x that any curve has: x, then the value of each curve there."""
    values = [dict(line.points) for line in lines]
    return [(x, *(line.get(x) for line in values)) for x in sorted(set(chain.from_iterable(values)))]


def _part(bar: Bar, name: str) -> float | None:
    return next((part.value for part in bar.parts if part.name == name), None)


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<li><span class="swatch s{index % SERIES + 1}"></span>{escape(name)}</li>' for index, name in enumerate(names)
    )
    return f'<ul class="chart-legend">{items}</ul>' if names else ""


def _in_words(title: str, lines: Sequence[Series], y_format: Callable[[float], str]) -> str:
    """What a screen reader says in place of the curves."""
    ends = [
        f"{line.name} from {y_format(line.points[0][1])} to {y_format(line.points[-1][1])}"
        for line in lines
        if line.points
    ]
    return f"{title}: {'; '.join(ends) or 'nothing yet'}"
