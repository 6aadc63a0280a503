"""A fine-tuning run as markup: where it stands, its curves, its answers. Functions from a RunView to HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.widgets.charts import Series, line_chart, number
from components.widgets.predictions import compared_html, duration
from pipelines.finetune import RunView

MAX_POINTS = 400  # of one curve; more cannot be told apart on a screen
_STATES = {
    "queued": "waiting",
    "running": "running",
    "stopped": "stopped; what it had learned is kept",
    "finished": "finished",
    "failed": "failed",
}


def status_html(view: RunView) -> str:
    """The state of the run in large figures, and its error in full."""
    state = _STATES[view.status]
    if view.status == "queued" and view.place:
        state = f"waiting: {_in_line(view.place)}"
        state += "" if view.wait is None else f", about {duration(view.wait)}"
    elif view.phase:
        state = view.phase
    figures = [("steps", f"{view.step} / {view.steps}"), ("seconds", f"{view.seconds:.1f}")]
    accuracy = _last(view, "accuracy")
    if accuracy is not None:
        figures.append(("held-out answers right", f"{accuracy:.0%}"))
    won = [look.win_rate for look in view.evals if look.win_rate is not None]
    if won:
        figures.append(("held-out pairs won, before → now", f"{won[0]:.0%} → {won[-1]:.0%}"))
    taught = _last(view, "taught")
    if taught is not None:
        figures.append(("of your pairs, word by word", f"{taught:.0%}"))
    if view.points:
        figures.append(("loss", f"{_smoothed_last(view):.2f}"))
    if view.tokens_per_second:
        figures.append(("tokens a second", f"{view.tokens_per_second:,.0f}"))
    if view.status == "running" and view.seconds_left is not None:
        figures.append(("left", duration(view.seconds_left)))
    items = "".join(
        f'<li><span class="figure-large">{escape(value)}</span><span class="figure-label">{escape(name)}</span></li>'
        for name, value in figures
    )
    error = f'<p class="run-error" role="alert">{escape(view.error)}</p>' if view.error else ""
    return (
        f'<p class="run-state is-{view.status}" role="status"><b>{escape(view.title)}</b> · {escape(state)}</p>'
        f'<ul class="data-figures">{items}</ul>{error}{compared_html(view)}'
    )


def curves_html(view: RunView, others: Sequence[RunView] = (), *, smoothing: int = 1, log_y: bool = False) -> str:
    """Loss and held-out accuracy, and below them learning rate and gradient norm.

    others:    runs drawn over it
    smoothing: each loss is the mean of that many steps before it
    """
    steps = max([view.steps, *(other.steps for other in others)]) or 1
    losses, shares = [], []
    for one in (view, *others):
        name = f" · {one.run_id[:6]}" if others else ""
        losses.append(Series(f"training loss{name}", _thinned(_losses(one, smoothing))))
        losses.append(Series(f"held-out loss{name}", one.heldout, marks=True))
        right = [(look.step, look.accuracy) for look in one.evals if look.accuracy is not None]
        shares.append(Series(f"answered rightly{name}", right, marks=True))
        won = [(look.step, look.win_rate) for look in one.evals if look.win_rate is not None]
        if won:
            shares.append(Series(f"pairs won{name}", won, marks=True))
        learned = [(look.step, look.taught) for look in one.evals if look.taught is not None]
        if learned:
            shares.append(Series(f"your pairs, word by word{name}", learned, marks=True))
    span = (0.0, float(steps))
    rates = [Series("learning rate", _thinned([(point.step, point.learning_rate) for point in view.points]))]
    norms = [
        Series(
            "gradient norm",
            _thinned([(point.step, point.grad_norm) for point in view.points if point.grad_norm is not None]),
        )
    ]
    charts = [
        line_chart(losses, "Loss", x_label="step", x_range=span, log_y=log_y),
        line_chart(
            shares,
            "Held-out questions",
            x_label="step",
            x_range=span,
            y_range=(0.0, 1.0),
            y_format=lambda y: f"{y:.0%}",
        ),
        line_chart(rates, "Learning rate", x_label="step", x_range=span, y_format=number),
        line_chart(norms, "Gradient norm before clipping", x_label="step", x_range=span, log_y=log_y),
    ]
    margins = [(point.step, point.margin) for point in view.points if point.margin is not None]
    if margins:
        rewards = [Series("margin", _thinned(margins))]
        charts.append(line_chart(rewards, "Reward of preferred over rejected answers", x_label="step", x_range=span))
    return '<div class="run-curves">' + "".join(f"<div>{chart}</div>" for chart in charts) + "</div>"


def samples_html(view: RunView) -> str:
    """The same prompts at every checkpoint: one row for a prompt, one column for a checkpoint."""
    steps = sorted({sample.step for sample in view.samples})
    if not steps:
        return ""
    texts = {(sample.prompt, sample.step): sample.text for sample in view.samples}
    prompts = dict.fromkeys(sample.prompt for sample in view.samples)
    head = "".join(f'<th scope="col">{_when(step)}</th>' for step in steps)
    rows = "".join(
        f'<tr><th scope="row">{escape(prompt)}</th>'
        + "".join(f"<td>{_said(texts.get((prompt, step)))}</td>" for step in steps)
        + "</tr>"
        for prompt in prompts
    )
    return (
        '<div class="data-scroll run-samples" tabindex="0" role="region" aria-label="Answers at every checkpoint">'
        f'<table class="data-table"><thead><tr><th scope="col">The same questions</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _in_line(place: int) -> str:
    """1 → "next in line", 2 → "second in line", … 12 → "place 12 in line"."""
    words = ("next", "second", "third", "fourth", "fifth", "sixth")
    return f"{words[place - 1]} in line" if place <= len(words) else f"place {place} in line"


def _when(step: int) -> str:
    return "before training" if step == 0 else f"after {step} steps"


def _said(text: str | None) -> str:
    if text is None:
        return ""
    return escape(text) if text else '<span class="quiet">nothing</span>'


def _last(view: RunView, name: str) -> float | None:
    measured = [value for look in view.evals if (value := getattr(look, name)) is not None]
    return measured[-1] if measured else None


def _losses(view: RunView, smoothing: int) -> list[tuple[float, float]]:
    found = [(float(point.step), point.loss) for point in view.points if point.loss is not None]
    if smoothing <= 1:
        return found
    window = [loss for _, loss in found]
    return [
        (step, sum(part := window[max(0, index - smoothing + 1) : index + 1]) / len(part))
        for index, (step, _) in enumerate(found)
    ]


def _smoothed_last(view: RunView) -> float:
    smoothed = _losses(view, 8)
    return smoothed[-1][1] if smoothed else float("nan")


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every n-th point and the last, at most MAX_POINTS or so."""
    stride = -(-len(points) // MAX_POINTS) or 1
    kept = list(points[::stride])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]
