"""Stage 7: the curve of a recorded run, and its answers turning."""

from __future__ import annotations

from html import escape

from components.widgets.drawings.parts import Caption, Picture, figure, line, pictures, shortened, text
from pipelines.teaching.figures import CurveFigures

ANSWER = 88  # characters


def curve_html(figures: CurveFigures, where: str) -> str:
    """Held-out answers right over the steps; numbered points, whose answers stand below."""
    run = figures.run
    first, last = run.looks[0], run.looks[-1]
    caption = Caption(
        "The answers turn.",
        f"Of {run.questions} held-out questions about things that no training row mentions, the model answers "
        f"{_percent(first.accuracy)} before and {_percent(last.accuracy)} after {run.steps} steps of {run.batch_size} "
        f"conversations. The numbered points are its answers to “{figures.prompt}”",
        f"Measured on {run.date} on {run.machine}, in {run.seconds:.0f} s, most of it the questions: LoRA of rank "
        f"{run.r} on the pocket base, learning rate {run.learning_rate:g}. Made again by "
        "python -m pipelines.teaching.recorded_run",
    )
    turns = "".join(
        f'<li><span class="turn-number">{number}</span><p><b>after {look.step} '
        f"step{'' if look.step == 1 else 's'}, {_percent(look.accuracy)} right</b>"
        f"<span>{escape(shortened(look.answers[figures.prompt], ANSWER))}</span></p></li>"
        for number, look in enumerate(figures.shown, start=1)
    )
    drawn = pictures("practice", where, lambda wide: _draw(figures, wide), caption)
    return figure("practice", f'{drawn}<ol class="turns">{turns}</ol>', caption)


def _draw(figures: CurveFigures, wide: bool) -> Picture:
    width, tall = (960.0, 210.0) if wide else (340.0, 170.0)
    left, top, right = (74.0, 40.0, 18.0) if wide else (54.0, 34.0, 12.0)
    run, ground = figures.run, top + tall

    def place(step: int, share: float) -> tuple[float, float]:
        return left + (width - left - right) * step / run.steps, ground - tall * share

    shapes = [text(0, 16, "held-out questions answered right", "quiet")]
    for share in (0.0, 0.5, 1.0):
        y = ground - tall * share
        shapes.append(line(left, y, width - right, y, "ground" if share == 0 else "grid"))
        shapes.append(text(left - (18 if wide else 13), y + 5, f"{100 * share:.0f} %", "quiet", "end"))
    for step in range(0, run.steps + 1, 20):
        shapes.append(text(place(step, 0)[0], ground + (31 if wide else 26), f"{step}", "quiet", "middle"))
    shapes.append(text(place(run.steps, 0)[0], ground + (52 if wide else 44), "steps", "quiet", "end"))
    points = " ".join("{:.2f},{:.2f}".format(*place(look.step, look.accuracy)) for look in run.looks)
    shapes.append(f'<polyline class="curve" points="{points}"/>')
    for look in run.looks:
        x, y = place(look.step, look.accuracy)
        shapes.append(f'<circle class="look" cx="{x:.2f}" cy="{y:.2f}" r="{4 if wide else 2.5}"/>')
    for number, look in enumerate(figures.shown, start=1):
        x, y = place(look.step, look.accuracy)
        radius = 13 if wide else 10
        shapes.append(f'<circle class="numbered" cx="{x:.2f}" cy="{y:.2f}" r="{radius}"/>')
        shapes.append(text(x, y + (6 if wide else 4.5), f"{number}", "on-number", "middle"))
    return Picture(width, ground + (58 if wide else 48), "".join(shapes))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
