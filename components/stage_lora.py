"""Stage 5, LoRA: a small change in place of a whole model, counted to the parameter."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.frame import stage_frame
from components.lesson import Lesson
from components.lora_experiments import draw_experiments
from components.pressed import number_of
from components.widgets import lora as draw
from components.widgets.architectures import chosen, model_picker
from components.widgets.spans import PRESS
from pipelines.architecture import architecture
from pipelines.lora import PRESETS, LoraSetup, count
from pipelines.lora.block import switched_on, switches, toggle
from pipelines.lora.chapter import lora_claims
from pipelines.lora.script import lora_script

SAVEABLE = ("embed_tokens", "lm_head", "norm")
MAX_RANK = 256
MAX_ALPHA = 4096  # as a run takes it
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("lora") as frame:
        model, pasted = model_picker(lesson)
        with gr.Row(elem_classes="knobs"):
            r = lesson.bind("r", gr.Slider(1, MAX_RANK, lesson.default("r"), step=1, label="Rank r"))
            alpha = lesson.bind(
                "alpha", gr.Number(lesson.default("alpha"), minimum=0, maximum=MAX_ALPHA, label="lora_alpha")
            )
            targets = lesson.bind(
                "targets",
                gr.Dropdown(
                    list(PRESETS),
                    value=lesson.default("targets"),
                    allow_custom_value=True,
                    label="target_modules",
                    info="a preset, or names separated by commas",
                ),
            )
            save = gr.Dropdown(
                list(SAVEABLE),
                value=[],
                multiselect=True,
                allow_custom_value=True,
                label="modules_to_save",
                info="trained in full",
            )
            with gr.Column(min_width=120):
                dora = gr.Checkbox(False, label="DoRA", info="one magnitude per output")
                rslora = gr.Checkbox(False, label="rsLoRA", info="scale by 1/√r")
        figures = gr.HTML("", min_height=110)
        notes = gr.HTML("")
        with gr.Row():
            block = gr.HTML("", js_on_load=PRESS, min_height=300)
            with gr.Column():
                drawn = gr.HTML("", min_height=200)
                scaling = gr.HTML("")
        table = gr.HTML("", min_height=200)
        gr.HTML(f"<h4>The chapter's figures</h4>{draw.claims_html(lora_claims())}")
        asked = [model, pasted, r, alpha, targets, dora, rslora, save]
        frame.follow(view, asked, [figures, notes, block, drawn, scaling, table])
        pressed = block.press(press, [model, pasted, targets], [targets], **QUIET)
        lesson.spread(pressed, "targets", targets)
        draw_experiments(studio, frame, r, alpha, rslora)
        frame.prove(studio)
        frame.take_home(script, asked, "lora.py", play_says=True)


def _setup(r: float, alpha: float | None, targets: str | None, dora: bool, save: list[str] | None) -> LoraSetup:
    return LoraSetup(int(r), float(alpha or 0), targets or "", bool(dora), tuple(save or ()))


def view(
    model: str,
    pasted: str,
    r: float,
    alpha: float,
    targets: str,
    dora: bool,
    rslora: bool,
    save: list[str],
) -> tuple[str, ...]:
    """Everything that is drawn from the settings."""
    found = architecture(chosen(model, pasted))
    setup = _setup(r, alpha, targets, dora, save)
    counted = count(found, setup)
    adapted = [row for row in counted.modules if row.how != "full copy"]
    largest = max(adapted, key=lambda row: row.shape[-1] * row.shape[-2])
    return (
        draw.figures_html(counted),
        draw.notes_html(counted.resolution.notes),
        draw.block_html(found, switches(found), switched_on(found, setup.targets)),
        draw.matrices_html(largest),
        draw.scaling_html(setup, rslora),
        draw.modules_html(counted),
    )


@shows_input_errors
def press(model: str, pasted: str, targets: str, event: gr.EventData) -> str:
    """A press on a module of the block switches its adapter."""
    return toggle(architecture(chosen(model, pasted)), targets or "", number_of(event, "index"))


def script(
    model: str,
    pasted: str,
    r: float,
    alpha: float,
    targets: str,
    dora: bool,
    rslora: bool,
    save: list[str],
) -> str:
    """The handler of Take home."""
    found = architecture(chosen(model, pasted))
    setup = _setup(r, alpha, targets, dora, save)
    return lora_script(found, setup, count(found, setup), bool(rslora))
