"""Stage 3: the notable data sets as circles; the area of each is its number of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from components.widgets.drawings.parts import Caption, Picture, figure, line, pictures, text
from pipelines.teaching.figures import Circle, CircleFigures

GIANTS = 2  # that stand apart in the narrow picture
_STANDING = 4  # of the wide picture, named below; the smaller ones are named above, at the end of a leader


def circles_html(figures: CircleFigures, where: str) -> str:
    """The circles on one line, largest first; narrow, the giants on top and the others in a column."""
    sets = figures.circles
    first, last = sets[0], sets[-1]
    caption = Caption(
        "Data sets, true to scale.",
        f"The area of a circle is its number of rows. {first.title} has {_size(first)} {first.unit}, {last.title} "
        f"{_size(last)}: {first.rows / last.rows:,.0f} times fewer. The small ones were written and chosen by people.",
        "Sizes from the publishers' cards and papers; with a letter, as the chapter says, since no exact count is "
        f"published. {figures.others} more are in the catalogue below.",
    )
    drawn = pictures("data", where, lambda wide: (_wide if wide else _narrow)(sets), caption)
    return figure("data", drawn, caption)


def _wide(sets: Sequence[Circle]) -> Picture:
    largest, width, ground, begin = 108.0, 960.0, 258.0, 735.0
    radii = _radii(sets, largest)
    gaps = (12.0, 44.0, 96.0)  # room for the names below
    shapes, left = [line(0, ground, width, ground, "ground")], 0.0
    for number, (circle, radius) in enumerate(zip(sets[:_STANDING], radii, strict=False)):
        x = left + radius
        shapes.append(_circle(circle, x, ground - radius, radius))
        shapes.append(text(x, ground + 22, circle.title, "strong", "middle"))
        shapes.append(text(x, ground + 43, _size(circle), "", "middle"))
        shapes.append(text(x, ground + 63, circle.made, "quiet", "middle"))
        left += 2 * radius + (gaps[number] if number < len(gaps) else 0.0)
    rest = list(zip(sets, radii, strict=True))[_STANDING:]
    step = (width - 30.0 - begin) / max(1, len(rest) - 1)
    for number, (circle, radius) in enumerate(rest):
        x, height = begin + number * step, 92.0 + 27.0 * number
        shapes.append(line(x, ground - 2 * radius - 3, x, ground - height + 6, "leader"))
        shapes.append(_circle(circle, x, ground - radius, radius))
        name = circle.title.partition(" (")[0]
        last = number == len(rest) - 1
        words = f"{name} · {_size(circle)} · {circle.made}"
        shapes.append(text(x + 6, ground - height, words, "strong" if last else "", "end"))
    return Picture(width, ground + 74, "".join(shapes))


def _narrow(sets: Sequence[Circle]) -> Picture:
    width, largest = 340.0, 80.0
    radii = _radii(sets, largest)
    ground = 2 * largest + 4
    shapes, left = [line(0, ground, width, ground, "ground")], 0.0
    for circle, radius in zip(sets[:GIANTS], radii, strict=False):
        x = left + radius
        shapes.append(_circle(circle, x, ground - radius, radius))
        shapes.append(text(x, ground + 18, circle.title, "strong", "middle"))
        shapes.append(text(x, ground + 35, f"{_size(circle)} · {circle.made}", "quiet", "middle"))
        left = width - 2 * radii[1] if len(radii) > 1 else 0.0
    top = ground + 50.0
    for circle, radius in list(zip(sets, radii, strict=True))[GIANTS:]:
        height = max(2 * radius + 4, 24.0)
        y = top + height / 2
        shapes.append(line(30 + radius + 2, y, 60, y, "leader"))
        shapes.append(_circle(circle, 30, y, radius))
        kind = "strong" if circle is sets[-1] else ""
        shapes.append(text(64, y + 5, f"{circle.title.partition(' (')[0]} · {_size(circle)} · {circle.made}", kind))
        top += height
    return Picture(width, top + 4, "".join(shapes))


def _radii(sets: Sequence[Circle], largest: float) -> list[float]:
    """So that areas are rows."""
    return [largest * math.sqrt(circle.rows / sets[0].rows) for circle in sets]


def _circle(circle: Circle, x: float, y: float, radius: float) -> str:
    return f'<circle class="made-{circle.made}" cx="{x:.2f}" cy="{y:.3f}" r="{radius:.4f}"/>'


def _size(circle: Circle) -> str:
    return circle.said or f"{circle.rows:,}"
