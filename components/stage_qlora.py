"""Stage 6, QLoRA: what training takes in memory, term by term, and which GPUs have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.frame import StageFrame, stage_frame
from components.lesson import Lesson
from components.widgets import memory as draw
from components.widgets.architectures import chosen, model_picker
from components.widgets.lora import claims_html
from pipelines.architecture import architecture
from pipelines.architecture.tensors import TensorPlace, tensors
from pipelines.errors import InputError
from pipelines.lora import PRESETS, resolve
from pipelines.memory import MemorySetup, cost, estimate, fits
from pipelines.memory.chapter import memory_claims
from pipelines.memory.loaded import WAYS, LoadedBytes, measure_loaded
from pipelines.memory.measured import accuracy, comparisons
from pipelines.memory.nf4 import close_up
from pipelines.memory.optimizers import TITLES as OPTIMIZERS
from pipelines.memory.script import accelerate_config, memory_script
from pipelines.memory.setup import ATTENTIONS, DTYPES, METHODS, QUANTS

SHARDINGS = [
    ("none: a copy on each", "none"),
    ("ZeRO-1: share states", "zero1"),
    ("ZeRO-2: and gradients", "zero2"),
    ("ZeRO-3: and weights", "zero3"),
    ("FSDP: all three", "fsdp"),
]
LOSSES = [
    ("all logits in fp32 (transformers)", "full"),
    ("in chunks (torchtune)", "chunked"),
    ("fused with the head (TRL, Liger)", "fused"),
]
MASTERS = [("as the library does", "auto"), ("fp32 master weights and states", "yes"), ("none", "no")]


@dataclass(frozen=True, slots=True)
class Controls:
    """The components of the settings, in the order in which handlers take them."""

    components: tuple[gr.components.Component, ...]
    tokens: gr.Number


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("qlora") as frame:
        controls = _controls(lesson)
        figures = gr.HTML("", min_height=110)
        bars = gr.HTML("", min_height=180)
        terms = gr.HTML("", min_height=300)
        gr.HTML("<h4>GPUs that hold it, and what the run costs</h4>")
        table = gr.HTML("", min_height=300)
        asked = list(controls.components)
        frame.follow(view, [*asked, controls.tokens], [figures, bars, terms, table])
        gr.HTML("<h4>How good the estimate is</h4>")
        scatter = gr.HTML("", min_height=380)
        gr.HTML("<h4>The chapter's figures</h4>")
        claims = gr.HTML("", min_height=200)
        frame.tab.select(
            compare, None, [scatter, claims], show_progress="hidden", api_visibility="private", concurrency_limit=None
        )
        _draw_loaded(studio)
        _close_up(studio, frame)
        frame.prove(studio)
        frame.take_home(script, asked, "qlora.py", play_says=True)
        started = "accelerate launch --config_file accelerate.yaml qlora.py"
        frame.take_home(launch, asked, "accelerate.yaml", started, play_says=True)


def _controls(lesson: Lesson) -> Controls:
    model, pasted = model_picker(lesson)
    with gr.Row(elem_classes="knobs"):
        method = gr.Radio(
            [(draw.METHOD_TITLES[key], key) for key in METHODS], value="qlora", label="Method", info="of table and GPUs"
        )
        seq_len = gr.Slider(128, 32_768, 2_048, step=128, label="Sequence", info="tokens")
        batch = gr.Slider(1, 64, 1, step=1, label="Batch", info="sequences on each GPU")
        tokens = gr.Number(10, label="Training tokens, millions", info="all epochs together")
    with gr.Row(elem_classes="knobs"):
        r = lesson.bind("r", gr.Slider(1, 256, lesson.default("r"), step=1, label="Rank r"))
        targets = lesson.bind(
            "targets",
            gr.Dropdown(
                list(PRESETS), value=lesson.default("targets"), allow_custom_value=True, label="target_modules"
            ),
        )
        quant = lesson.bind("quant", gr.Dropdown(list(QUANTS), value=lesson.default("quant"), label="Quantization"))
        double = gr.Checkbox(True, label="Double quantization", info="of the scales")
        checkpointing = gr.Checkbox(True, label="Gradient checkpointing", info="compute activations twice")
    with gr.Accordion("Optimizer, dtype, attention, loss, several GPUs", open=False):
        with gr.Row(elem_classes="knobs"):
            optimizer = gr.Dropdown(
                [(title, key) for key, title in OPTIMIZERS.items()], value="adamw", label="Optimizer"
            )
            dtype = gr.Dropdown(list(DTYPES), value="bf16", label="dtype")
            master = gr.Dropdown(MASTERS, value="auto", label="Master weights", info="full fine-tuning")
            attention = gr.Dropdown(list(ATTENTIONS), value="sdpa", label="Attention")
        with gr.Row(elem_classes="knobs"):
            loss = gr.Dropdown(LOSSES, value="full", label="Cross-entropy")
            gpus = gr.Slider(1, 64, 1, step=1, label="GPUs")
            sharding = gr.Dropdown(SHARDINGS, value="none", label="Sharding")
    components = (model, pasted, method, seq_len, batch, r, targets, quant, double, checkpointing, optimizer, dtype)
    return Controls((*components, master, attention, loss, gpus, sharding), tokens)


def setup_of(
    model: str | None,
    pasted: str | None,
    method: str,
    seq_len: float,
    batch: float,
    r: float,
    targets: str | None,
    quant: str,
    double: bool,
    checkpointing: bool,
    optimizer: str,
    dtype: str,
    master: str,
    attention: str,
    loss: str,
    gpus: float,
    sharding: str,
) -> MemorySetup:
    """The settings as the estimator takes them; several GPUs without sharding each hold a copy (ddp)."""
    count = int(gpus)
    return MemorySetup(
        chosen(model, pasted),
        method=method,
        optimizer=optimizer,
        dtype=dtype,
        quant=quant,
        double_quant=bool(double),
        r=int(r),
        targets=targets or "",
        batch=int(batch),
        seq_len=int(seq_len),
        gradient_checkpointing=bool(checkpointing),
        attention=attention,
        gpus=count,
        sharding="ddp" if count > 1 and sharding == "none" else sharding,
        loss=loss,
        master=master,
        accumulation=1 if method == "full" else 2,
    )


def view(*settings: Any) -> tuple[str, str, str, str]:
    """Everything that is drawn from the settings; the last one is the number of training tokens in millions."""
    *asked, millions = settings
    setup = setup_of(*asked)
    if not millions or millions <= 0:
        raise InputError(f"{millions} million tokens", "Training tokens", "Use a number above 0, such as 10.")
    results = [estimate(replace(setup, method=method, accumulation=1 if method == "full" else 2)) for method in METHODS]
    shown = results[METHODS.index(setup.method)]
    found = fits(shown)
    costs = []
    for fit in found:
        run = replace(setup, gpus=fit.count, sharding="fsdp" if fit.count > 1 else "none") if fit.count else None
        costs.append(cost(run, fit.gpu, millions * 1e6) if run else None)
    return (
        draw.figures_html(shown, f"{shown.trainable:,}"),
        draw.bars_html(results),
        draw.terms_html(shown),
        draw.gpus_html(found, costs, millions * 1e6),
    )


def compare() -> tuple[str, str]:
    """The scatter of published runs, and the chapter's figures."""
    rows = comparisons()
    return draw.scatter_html(rows, accuracy(rows)), claims_html(memory_claims())


def script(*settings: Any) -> str:
    """The handler of Take home."""
    result = estimate(setup_of(*settings))
    targets: object = None
    if result.setup.method != "full":
        names = list(resolve(architecture(result.setup.model), result.setup.targets).names)
        targets = "all-linear" if names == ["all-linear"] else names
    return memory_script(result, targets)


def launch(*settings: Any) -> str:
    """The `accelerate` configuration of Take home."""
    return accelerate_config(setup_of(*settings))


def _draw_loaded(studio: Studio) -> None:
    """The running base, really loaded in each way."""
    folder = studio.manager.pair.base.folder
    if why := studio.manager.no_weights("base"):
        gr.HTML(f'<p class="quiet">No weights to load and count, or to look at through NF4: {escape(why)}.</p>')
    if why or not folder:
        return
    gr.HTML(
        "<h4>The same terms on a model that is really loaded</h4>"
        '<p class="quiet">The base of the running pair, loaded here four times by transformers and bitsandbytes: '
        "weights, scales and tables, counted on the tensors.</p>"
    )
    press = gr.Button("Load it and count", size="sm", scale=0, min_width=180, elem_classes="load-and-count")
    shown = gr.HTML("", min_height=30)
    press.click(loader(folder), None, [shown], show_progress="hidden", api_visibility="private", concurrency_limit=1)


def loader(folder: Path) -> Callable[[], Iterator[str]]:
    """The handler that loads the base and counts, a row at a time."""

    @shows_input_errors
    def load() -> Iterator[str]:
        rows: list[LoadedBytes] = []
        yield draw.loaded_html(rows, WAYS[0][0])
        for row in measure_loaded(folder):
            rows.append(row)
            yield draw.loaded_html(rows, WAYS[len(rows)][0] if len(rows) < len(WAYS) else "")

    return load


def _close_up(studio: Studio, frame: StageFrame) -> None:
    """NF4 over a real layer of the running pair."""
    folder = studio.manager.pair.base.folder
    layers = layers_of(folder) if folder else {}
    if not layers or studio.manager.no_weights("base"):
        return
    gr.HTML(
        "<h4>NF4 up close</h4>"
        '<p class="quiet">Trained weights are nearly normal. NF4 puts its sixteen levels at quantiles of the normal '
        "distribution, so that each stands for about as many weights; INT4 spaces them evenly, FP4 by powers of "
        "two.</p>"
    )
    name = gr.Dropdown(list(layers), value=next(iter(layers)), label="Layer of the running pair")
    shown = gr.HTML("", min_height=420)
    frame.follow(looker(folder), [name], [shown])


def layers_of(folder: Path) -> dict[str, TensorPlace]:
    """The linear layers of a model folder by name, in the order of its file."""
    return {
        name: place for name, place in tensors(folder).items() if len(place.shape) == 2 and name.endswith("proj.weight")
    }


def looker(folder: Path | None) -> Callable[[str], str]:
    """The handler that draws one layer."""

    def look(name: str) -> str:
        layers = layers_of(folder) if folder else {}
        if name not in layers:
            raise InputError(f"'{name}' is no layer of the pair", "Layer", "Choose one from the list.")
        return draw.close_up_html(close_up(layers[name]), name)

    return look
