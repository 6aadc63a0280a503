"""The experiments of the LoRA tab: how low the rank of a real change is, the chapter's layer, sums of adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.frame import StageFrame
from components.widgets import low_rank as draw
from pipelines.architecture.tensors import read_tensor, tensors
from pipelines.errors import InputError
from pipelines.lora.low_rank import matrices, weight_change
from pipelines.lora.rebuild import Rebuilder

MAX_TABLE = 64  # matrices whose singular values are computed while one waits: half a second for the pocket pair
_LEAST_ALPHA = 1e-3  # the adapters are cut out for their scaling: with less, A and B leave float32
_BUSY: dict[str, Any] = {"api_visibility": "private", "trigger_mode": "once"}


def draw_experiments(studio: Studio, frame: StageFrame, r: gr.Slider, alpha: gr.Number, rslora: gr.Checkbox) -> None:
    """Everything that needs the pair's own weights; nothing when they do not lie on this machine, but why at an
    endpoint."""
    if why := studio.manager.no_weights("base"):
        gr.HTML(f'<p class="quiet">No weights whose change could be measured: {escape(why)}.</p>')
        return
    rebuilder = Rebuilder(studio.manager)
    folders = rebuilder.folders()
    names = list(matrices(*folders)) if folders else []
    if not folders or not names:
        return
    gr.HTML(
        "<h4>Is the change really of low rank?</h4>"
        '<p class="quiet">The instruct model was made from the base model by training every weight. This is what '
        "that did to one of its matrices: how much of the change lies in its first directions, the most that a LoRA "
        "of that rank could hold.</p>"
    )
    name = gr.Dropdown(names, value=names[-1], label="Weight of the running pair")
    shown = gr.HTML("", min_height=60)
    frame.follow(change_viewer(folders), [name, r], [shown])
    if len(names) <= MAX_TABLE:
        ranks = gr.HTML("", min_height=60)
        frame.follow(ranks_viewer(folders), [], [ranks])
    _draw_rebuilding(frame, rebuilder)
    _draw_layer(studio, r, alpha)
    gr.HTML(
        "<h4>Merging and adding up</h4>"
        '<p class="quiet">Two adapters cut out of the change of the weight chosen above: its first r directions, and '
        "the next r. PEFT merges the first into W, and adds both up in three ways; each result is compared with the "
        "matrices themselves.</p>"
    )
    with gr.Row(elem_classes="knobs"):
        first = gr.Slider(-1, 2, 1.0, step=0.1, label="Weight w₁ of the first adapter")
        second = gr.Slider(-1, 2, 0.5, step=0.1, label="Weight w₂ of the second")
    sums = gr.HTML("", min_height=60)
    # Quiet: the picture of the change says what is wrong with the name of a weight.
    frame.follow(adder(folders), [name, r, alpha, rslora, first, second], [sums], quiet=True)


def _draw_rebuilding(frame: StageFrame, rebuilder: Rebuilder) -> None:
    """The slider that rebuilds the instruct model from the first directions of its change."""
    full = rebuilder.full_rank()
    gr.HTML(
        "<h4>How much of it does the model need?</h4>"
        '<p class="quiet">The change of every matrix is rebuilt from its first r directions, and the model that '
        "results answers held-out questions. Each rank is computed when it is asked for, and kept.</p>"
    )
    with gr.Row(elem_classes="knobs"):
        rank = gr.Slider(0, full, 8, step=1, label="Rebuild from rank", info="measured when you let go", scale=3)
        sweep = gr.Button("Measure 0, 1, 2, 4 …", size="sm", scale=1, elem_classes="rebuild-sweep")
    shown = gr.HTML("", min_height=60, elem_classes="rebuilt")
    frame.tab.select(
        lambda: draw.rebuilt_html(rebuilder.points(), None), None, [shown], show_progress="hidden", **_BUSY
    )
    rank.release(measurer(rebuilder), [rank], [shown], show_progress="minimal", **_BUSY)
    sweep.click(sweeper(rebuilder), None, [shown], show_progress="minimal", **_BUSY)


def _draw_layer(studio: Studio, r: gr.Slider, alpha: gr.Number) -> None:
    gr.HTML(
        "<h4>The layer, as listed and repaired</h4>"
        '<p class="quiet">The chapter\'s <code>LoRALinear</code> draws A and B both at random. Put around every linear '
        "layer of the base, it changes the model before any training. One line repairs it: "
        "<code>self.B = nn.Parameter(torch.zeros(out_features, r))</code>.</p>"
    )
    run = gr.Button("Run both on the base model", size="sm", elem_classes="run-layer")
    shown = gr.HTML("", min_height=60, elem_classes="first-steps")
    run.click(layer_runner(studio), [r, alpha], [shown], show_progress="minimal", **_BUSY)


def change_viewer(folders: tuple[Path, Path]) -> Callable[[str, float], str]:
    """The handler that draws one matrix's change."""

    def change(name: str, r: float) -> str:
        _known(folders, name)
        return draw.change_html(weight_change(*folders, name), int(r))

    return change


def ranks_viewer(folders: tuple[Path, Path]) -> Callable[[], str]:
    """The handler that draws the effective rank of every matrix's change."""

    def ranks() -> str:
        return draw.ranks_html([weight_change(*folders, name) for name in matrices(*folders)])

    return ranks


def measurer(rebuilder: Rebuilder) -> Callable[[float], str]:
    """The handler that measures one rank."""

    @shows_input_errors
    def measure(r: float) -> str:
        point = rebuilder.measure(int(r))
        return draw.rebuilt_html(rebuilder.points(), point.r)

    return measure


def sweeper(rebuilder: Rebuilder) -> Callable[[], Iterator[str]]:
    """The handler that measures rank 0 and every power of two up to the full rank, drawing as it goes."""

    @shows_input_errors
    def sweep() -> Iterator[str]:
        full = rebuilder.full_rank()
        for r in (0, *(1 << power for power in range(full.bit_length()) if 1 << power < full), full):
            point = rebuilder.measure(r)
            yield draw.rebuilt_html(rebuilder.points(), point.r)

    return sweep


def layer_runner(studio: Studio) -> Callable[[float, float | None], str]:
    """The handler that runs the chapter's layer on the base model."""

    @shows_input_errors
    def run(r: float, alpha: float | None) -> str:
        from pipelines.lora.layer import first_steps

        return draw.first_steps_html(first_steps(studio.manager, int(r), float(alpha or 0)))

    return run


def adder(folders: tuple[Path, Path]) -> Callable[[str, float, float | None, bool, float, float], str]:
    """The handler that merges one adapter and adds two up."""

    def add(name: str, r: float, alpha: float | None, rslora: bool, first: float, second: float) -> str:
        import torch

        from pipelines.lora.arithmetic import arithmetic

        _known(folders, name)
        if not alpha or alpha < _LEAST_ALPHA:
            return f'<p class="quiet">With lora_alpha {alpha or 0:g} there is nothing to merge.</p>'
        if not first and not second:
            return '<p class="quiet">Both weights are 0: nothing to add up.</p>'
        before, after = (torch.from_numpy(read_tensor(tensors(folder)[name]).copy()) for folder in folders)
        if not (after - before).any():
            return f'<p class="quiet">{escape(name)} is the same in both models: nothing to add up.</p>'
        weights = (float(first), float(second))
        return draw.arithmetic_html(
            arithmetic(before, after - before, int(r), float(alpha), bool(rslora), weights), bool(rslora)
        )

    return add


def _known(folders: tuple[Path, Path], name: str) -> None:
    if name not in matrices(*folders):
        raise InputError(f"'{name}' is no weight of the pair", "Weight", "Choose one from the list.")
