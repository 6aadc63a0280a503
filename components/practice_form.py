"""The settings of a run as a form: each with one sentence on what it does to memory, time and quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.context import Studio
from components.lesson import Lesson
from pipelines.data.catalogue import dataset_catalogue
from pipelines.finetune.config import DTYPES, SCHEDULERS, TRAIN_ON

OBJECTIVES = [("SFT: answers", "sft"), ("DPO: preferences", "dpo")]
METHODS = [("LoRA", "lora"), ("Full fine-tuning", "full"), ("QLoRA", "qlora")]
TARGETS = ["all-linear", "q,v", "q,k,v,o", "mlp"]
OWN = "the model's own"
_CHOSEN = "by the model"


@dataclass(frozen=True, slots=True)
class Form:
    """The components; a field's name is the key of the configuration that it sets."""

    model: gr.Dropdown
    objective: gr.Radio
    method: gr.Radio
    data: gr.Dropdown
    pairs: gr.Dataframe
    r: gr.Slider
    lora_alpha: gr.Number
    target_modules: gr.Dropdown
    learning_rate: gr.Number
    max_steps: gr.Number
    batch_size: gr.Number
    gradient_accumulation: gr.Number
    max_length: gr.Number
    scheduler: gr.Dropdown
    train_on: gr.Dropdown
    template: gr.Dropdown
    dtype: gr.Dropdown
    eval_steps: gr.Number
    beta: gr.Number
    seed: gr.Number
    report_to: gr.Checkbox

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return cls.__slots__  # type: ignore[return-value]

    def components(self) -> list[gr.components.Component]:
        return [getattr(self, name) for name in self.names()]


def draw_form(studio: Studio, lesson: Lesson) -> Form:
    """Draw it; what other tabs set too (rank, alpha, targets, data) follows them."""
    with gr.Row():
        model = gr.Dropdown(
            _models(studio),
            value="base",
            label="Model",
            allow_custom_value=True,
            info="what is trained: one of the pair, or the key of another model of this studio",
        )
        objective = gr.Radio(
            OBJECTIVES, value="sft", label="Objective",
            info="SFT learns to answer; DPO learns which of two answers is preferred, from the instruct model on",
        )  # fmt: skip
        method = gr.Radio(
            METHODS, value="lora", label="Method",
            info="LoRA trains a few percent beside frozen weights; full trains all, at four times the memory or more; "
            "QLoRA is LoRA over 4-bit weights: least memory, slower",
        )  # fmt: skip
        data = lesson.bind(
            "data",
            gr.Dropdown(
                _data(), value=lesson.default("data"), label="Data", allow_custom_value=True,
                info="the lesson, a data set of the catalogue, or a key of the Data tab",
            ),
        )  # fmt: skip
    # Preferences are for a model that answers already: choosing DPO turns to the instruct model, and back.
    objective.input(
        None, [objective, model], [model],
        js="""(objective, model) => objective === "dpo" ? (model === "base" ? "instruct" : model)
              : (model === "instruct" ? "base" : model)""",
        show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    with gr.Accordion("Teach it something yourself", open=False, elem_classes="teach"):
        gr.Markdown(
            "Each filled row is learned by heart; the data above is mixed in, so that the model does not forget how to "
            "answer. Five to twenty rows are enough."
        )
        pairs = gr.Dataframe(
            [["", ""], ["", ""], ["", ""], ["", ""], ["", ""]],
            headers=["Instruction", "Response"], datatype="str", type="array", interactive=True, wrap=True,
            column_count=2, label="Pairs", show_label=False, elem_classes="teach-pairs",
        )  # fmt: skip
    with gr.Accordion("Hyperparameters", open=False, elem_classes="hyperparameters"):
        with gr.Row():
            r = lesson.bind(
                "r",
                gr.Slider(
                    1,
                    128,
                    16,
                    step=1,
                    label="Rank r",
                    info="more: adapter and its memory grow in proportion; quality soon stops growing",
                ),
            )
            alpha = lesson.bind(
                "alpha",
                gr.Number(
                    32, label="alpha", precision=0, minimum=1, info="the adapter counts alpha/r times; costs nothing"
                ),
            )
            targets = lesson.bind(
                "targets",
                gr.Dropdown(
                    TARGETS,
                    value="all-linear",
                    label="Target modules",
                    allow_custom_value=True,
                    info="fewer: faster and smaller, usually a little worse",
                ),
            )
        with gr.Row():
            rate = gr.Number(
                None,
                label="Learning rate",
                placeholder=_CHOSEN,
                step=0.0001,
                info="too low learns nothing in time, too high forgets; costs nothing",
            )
            steps = gr.Number(
                None,
                label="Steps",
                precision=0,
                placeholder=_CHOSEN,
                info="time grows in proportion; too many learn the rows by heart",
            )
            scheduler = gr.Dropdown(
                list(SCHEDULERS),
                value="linear",
                label="Schedule",
                info="how the learning rate falls; a fall to zero ends steadier",
            )
        with gr.Row():
            batch = gr.Number(
                None,
                label="Batch size",
                precision=0,
                placeholder=_CHOSEN,
                info="conversations at once: memory and time of a step grow, gradients get steadier",
            )
            accumulation = gr.Number(
                1,
                label="Gradient accumulation",
                precision=0,
                minimum=1,
                info="steadier as a larger batch is, for time instead of memory",
            )
            length = gr.Number(
                None,
                label="Maximum length",
                precision=0,
                placeholder=_CHOSEN,
                info="tokens; longer conversations are cut; memory grows with it",
            )
        with gr.Row():
            train_on = gr.Dropdown(
                list(TRAIN_ON),
                value="assistant",
                label="Loss on",
                info="everything also teaches it to write the user's turns",
            )
            template = gr.Dropdown(
                _templates(),
                value="",
                label="Chat template",
                info="what it is trained with is what it must be spoken to with",
            )
            dtype = gr.Dropdown(
                list(DTYPES),
                value="auto",
                label="Numbers",
                info="bf16 halves the memory of the weights; small models lose nothing by fp32",
            )
        with gr.Row():
            looks = gr.Number(
                None,
                label="Look every … steps",
                precision=0,
                placeholder=_CHOSEN,
                info="held-out questions are answered, and a checkpoint is written; more looks take time",
            )
            beta = gr.Number(
                0.1,
                label="beta of DPO",
                minimum=0.01,
                step=0.05,
                info="how closely the model is held to what it was; SFT has none",
            )
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, info="same seed, same rows, same curve")
        report = gr.Checkbox(
            False, label="Log to Trackio", info="also to Trackio's database on the studio's machine, if it is installed"
        )
    return Form(
        model, objective, method, data, pairs, r, alpha, targets, rate, steps, batch, accumulation, length, scheduler,
        train_on, template, dtype, looks, beta, seed, report,
    )  # fmt: skip


_EMPTY_IS_ZERO = frozenset({"learning_rate", "max_steps", "batch_size", "max_length", "eval_steps", "beta"})


def config_of(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """The form's values as a configuration: empty numbers are left to the model, empty rows of the table left out."""
    config = dict(zip(names, values, strict=True))
    rows = [[str(cell or "").strip() for cell in row] for row in config["pairs"] or []]
    config["report_to"] = "trackio" if config["report_to"] else "none"
    config["pairs"] = [{"instruction": row[0], "response": "".join(row[1:2])} for row in rows if any(row)]
    # An empty number field that has been drawn arrives as 0, which none of these can be.
    return {key: value for key, value in config.items() if value is not None and (value or key not in _EMPTY_IS_ZERO)}


def _models(studio: Studio) -> list[tuple[str, str]]:
    pair = studio.manager.pair
    return [(f"{pair.base.title} (base)", "base"), (f"{pair.instruct.title} (instruct)", "instruct")]


def _data() -> list[tuple[str, str]]:
    catalogue = [(f"{entry.title}: our rows in its schema", entry.key) for entry in dataset_catalogue()]
    return [("The lesson", "lesson"), *catalogue]


def _templates() -> list[tuple[str, str]]:
    from pipelines.templates import catalogue

    return [(OWN, ""), *((entry.title, entry.key) for entry in catalogue())]
