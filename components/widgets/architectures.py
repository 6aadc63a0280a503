"""Choosing a model by its architecture: a name of the catalogue, a Hub id, or a pasted config.json."""

from __future__ import annotations

import gradio as gr

from components.lesson import Lesson
from pipelines.architecture import entries
from pipelines.errors import InputError


def model_picker(lesson: Lesson) -> tuple[gr.Dropdown, gr.Textbox]:
    """The model by name, and a box for a config.json that stands in for it."""
    with gr.Row(elem_classes="ask"):
        model = lesson.bind(
            "architecture",
            gr.Dropdown(
                [(entry.title, entry.key) for entry in entries()],
                value=lesson.default("architecture"),
                allow_custom_value=True,
                label="Model",
                info="one of the catalogue, or a Hub id; no weights are loaded",
                scale=2,
            ),
        )
        pasted = gr.Textbox(
            "",
            label="config.json",
            info="paste one to count a model of your own",
            lines=1,
            max_lines=4,
            scale=3,
            max_length=200_000,
        )
    return model, pasted


def chosen(model: str | None, pasted: str | None) -> str:
    """What was asked for: a pasted configuration goes before a name. Raises InputError for other text in its box."""
    if pasted and pasted.strip():
        if not pasted.strip().startswith("{"):
            raise InputError("this is not a config.json", "config.json", "Paste it from { to }, or clear the box.")
        return pasted
    return model or ""
