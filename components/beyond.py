"""Beyond the chapter's eight claims: further experiments under the Prove block, and a claim of the visitor's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from components import prove
from components.context import Studio
from components.widgets.experiments import claim_html
from pipelines.errors import InputError
from pipelines.experiments import BEYOND
from pipelines.experiments.own import CHOICES, MEASURES, RANGES, Setting, claim_key, own_claim

if TYPE_CHECKING:
    from components.frame import StageFrame

OWN_TAB = "practice"
_VERB = "Measure"
_LABELS = {
    "method": "Method",
    "r": "Rank r",
    "learning_rate": "Learning rate",
    "steps": "Steps",
    "rows": "Rows",
    "train_on": "Trained on",
    "template": "Template",
    "noise": "Faulty rows",
}
_WHOLE = ("r", "steps", "rows")
# What a first look shows: two ranks far apart.
_FIRST = {"a": Setting(r=8), "b": Setting(r=1)}


def draw(studio: Studio, frame: StageFrame) -> None:
    """The experiments that this tab shows, folded up."""
    for key, experiment in BEYOND.items():
        if experiment.tab == frame.key:
            with gr.Accordion(experiment.title, open=False, elem_classes="beyond"):
                prove.draw(studio, key, _VERB)
    if frame.key == OWN_TAB:
        with gr.Accordion("A claim of your own", open=False, elem_classes="beyond own-claim"):
            _draw_own(studio, frame)


def _draw_own(studio: Studio, frame: StageFrame) -> None:
    gr.HTML(
        '<p class="quiet">Two arms with equal rows, questions and seed: is A better than B, by what you choose?</p>'
    )
    measure = gr.Dropdown(
        [(one.title, key) for key, one in MEASURES.items()],
        value="accuracy",
        label="Better by",
        elem_classes="own-measure",
    )
    settings: list[Any] = [measure]
    for arm, first in _FIRST.items():
        with gr.Row(elem_classes="knobs"):
            settings += [_field(arm, name, getattr(first, name)) for name in _LABELS]
    claim = gr.HTML("", min_height=120)
    frame.follow(lambda *values: claim_html(own_claim(key_of(*values))), settings, [claim])
    prove.draw_runner(studio, key_of, settings, _VERB)


def _field(arm: str, name: str, value: Any) -> gr.components.Component:
    label = f"{arm.upper()}: {_LABELS[name]}"
    if name in CHOICES:
        return gr.Dropdown(list(CHOICES[name]), value=value, label=label, min_width=130)
    low, high = RANGES[name]
    return gr.Number(value, minimum=low, maximum=high, label=label, min_width=110)


def key_of(measure: str, *values: Any) -> str:
    """The key of what the form says. Raises InputError naming the field."""
    return claim_key(_setting(values[: len(_LABELS)]), _setting(values[len(_LABELS) :]), measure)


def _setting(values: Sequence[Any]) -> Setting:
    given = dict(zip(_LABELS, values, strict=True))
    return Setting(**given | {name: _number(name, given[name]) for name in RANGES})


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("a number is missing", _LABELS[name], "Type one.")
    if name not in _WHOLE:
        return float(value)
    if value != value or value != int(value):
        raise InputError(f"{value} is not a whole number", _LABELS[name], "Use one without a fraction.")
    return int(value)
