"""What a run will take and what it took, as markup."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from pipelines.finetune import Prediction, RunView


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes in MiB, or in GiB from one on."""
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def prediction_html(prediction: Prediction) -> str:
    """One line for the form: seconds and bytes, and what each rests on."""
    time = "not known yet" if prediction.seconds is None else f"about <b>{duration(prediction.seconds)}</b>"
    memory = "not known for this model" if prediction.memory is None else f"<b>{size(prediction.memory)}</b>"
    counted = f" ({escape(prediction.counted)})" if prediction.counted else ""
    return f'<p class="run-prediction">Predicted: time {time} ({escape(prediction.how)}) · memory {memory}{counted}</p>'


def compared_html(view: RunView) -> str:
    """Predicted beside measured, with the difference in per cent of what was measured."""
    predicted, took = view.prediction, view.measured
    if predicted is None:
        return ""
    rows = [
        _row("time", predicted.seconds, view.took, duration, predicted.how),
        _row("peak memory", predicted.memory, took.memory if took else None, size, predicted.counted),
    ]
    return (
        '<div class="data-scroll run-compared" tabindex="0" role="region" aria-label="Predicted and measured">'
        '<table class="data-table"><thead><tr><th scope="col"></th><th scope="col">predicted</th>'
        '<th scope="col">measured</th><th scope="col">off by</th><th scope="col">from</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(
    name: str, predicted: float | None, measured: float | None, said: Callable[[float], str], rests_on: str
) -> str:
    off = f"{predicted / measured - 1:+.0%}".replace("-", "−") if predicted is not None and measured else ""
    cells = ["–" if predicted is None else said(predicted), said(measured) if measured else "…", off]
    return (
        f'<tr><th scope="row">{name}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + f"<td>{escape(rests_on)}</td></tr>"
    )
