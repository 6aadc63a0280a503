"""The curve of a run as files that leave the studio: a table, the bare losses, and a picture complete in itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

from pipelines.axes import ends, number, scale, ticks
from pipelines.finetune.view import RunView
from pipelines.tables import csv_text

COLUMNS = ("step", "loss", "learning_rate", "grad_norm", "heldout_loss", "accuracy", "win_rate")
MAX_POINTS = 1000  # of one curve: a picture of 320 pixels shows no more

_WIDTH, _HEIGHT = 760, 320  # of the whole picture, pixels
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 46, 12, 58, 40, 66
# Written out instead of a style sheet: viewers of model cards drop <style>. Ink on white, so that a dark page shows it.
_COLOURS = ("#2a54bd", "#b0530a", "#17693a", "#6a3fb5")
_DASHES = ("", "7 3", "2 3", "7 3 2 3")
_INK, _GRID = "#1d2430", "#d9dee6"

Curve = tuple[str, Sequence[tuple[float, float]]]


def losses_csv(seen: RunView) -> str:
    """One line for each step that was trained or looked at; a value that was not measured is empty.

    Step 0 is the model before training. accuracy and win_rate are shares from 0 to 1.
    """
    points = {point.step: point for point in seen.points}
    heldout, looks = dict(seen.heldout), {look.step: look for look in seen.evals}
    rows = []
    for step in sorted({*points, *heldout, *looks}):
        point, look = points.get(step), looks.get(step)
        rows.append(
            (
                step,
                point and point.loss,
                point and point.learning_rate,
                point and point.grad_norm,
                heldout.get(step, look and look.loss),
                look and look.accuracy,
                look and look.win_rate,
            )
        )
    return csv_text(COLUMNS, rows)


def losses_json(seen: RunView) -> str:
    """[[step, loss], …] of the run."""
    return json.dumps([[point.step, point.loss] for point in seen.points])


def losses_svg(seen: RunView) -> str:
    """Loss on the left, shares of held-out questions on the right, over the steps of the run."""
    loss: list[Curve] = [
        ("training loss", [(float(point.step), point.loss) for point in seen.points]),
        ("held-out loss", [(float(step), value) for step, value in seen.heldout]),
    ]
    shares: list[Curve] = [
        (name, [(float(look.step), share) for look in seen.evals if (share := getattr(look, field)) is not None])
        for name, field in (
            ("answered rightly", "accuracy"),
            ("pairs won", "win_rate"),
            ("your pairs, word by word", "taught"),
        )
    ]
    span = (0.0, float(max(seen.steps, seen.step, 1)))
    width = (_WIDTH - 2 * _LEFT - _RIGHT - (_GAP - _LEFT)) / 2
    drawn = [
        _panel("Loss", loss, _LEFT, width, span, None),
        _panel("Held-out questions", shares, _LEFT + width + _GAP, width, span, (0, 1)),
    ]
    title = f"Run {seen.run_id[:6]}: loss and held-out answers over {seen.step} steps"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12" role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>\n' + "".join(drawn) + "</svg>\n"
    )


def _panel(
    title: str,
    curves: Sequence[Curve],
    left: float,
    width: float,
    x_range: tuple[float, float],
    y_range: tuple[float, float] | None,
) -> str:
    """One pair of axes with its curves, `left` pixels from the edge and `width` wide."""
    height = _HEIGHT - _TOP - _BOTTOM
    finite = [(name, [point for point in points if math.isfinite(point[1])]) for name, points in curves]
    drawn = [(name, _thinned(points)) for name, points in finite if points]
    low, high = ends(y_range, [y for _, points in drawn for _, y in points], pad=True)
    across, up = scale(*x_range, log=False), scale(low, high, log=False)

    def place(x: float, y: float) -> tuple[float, float]:
        return left + width * across(x), _TOP + height * (1 - up(y))

    parts = [_text(left - _LEFT + 8, 20, title, weight="bold")]
    for y in ticks(low, high):
        level = place(0, y)[1]
        parts.append(
            f'<line x1="{left:.1f}" x2="{left + width:.1f}" y1="{level:.1f}" y2="{level:.1f}" stroke="{_GRID}"/>'
        )
        parts.append(_text(left - 6, level + 4, f"{y:.0%}" if y_range else number(y), anchor="end"))
    for x in ticks(*x_range):
        parts.append(_text(place(x, low)[0], _TOP + height + 17, number(x), anchor="middle"))
    parts.append(_text(left + width / 2, _HEIGHT - 8, "step", anchor="middle"))
    at = left - _LEFT + 8
    for index, (name, points) in enumerate(drawn):
        style = f'stroke="{_COLOURS[index]}" stroke-width="1.8" fill="none" stroke-dasharray="{_DASHES[index]}"'
        parts.append(f'<line x1="{at:.1f}" x2="{at + 22:.1f}" y1="38" y2="38" {style}/>' + _text(at + 27, 42, name))
        at += 40 + 6.4 * len(name)
        places = [place(x, y) for x, y in points]
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" {style}/>')
        if len(points) <= 20:  # few enough to be seen one by one: measurements, not a curve
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{_COLOURS[index]}"/>' for x, y in places]
    return "\n".join(parts) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{_INK}">'
        f"{escape(text)}</text>"
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every n-th point and the last."""
    stride = -(-len(points) // MAX_POINTS) or 1
    kept = list(points[::stride])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]
