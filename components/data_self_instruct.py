"""The Self-Instruct corner of the Data tab: seeds in, a model's own examples out, each with its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.context import Studio
from components.data_session import Session
from components.errors import shows_input_errors
from pipelines.data import store
from pipelines.data.record import open_dataset
from pipelines.data.tokens import measure_of
from pipelines.errors import InputError

if TYPE_CHECKING:
    from pipelines.data.self_instruct import Candidate

# Counts: section 3.1 of the paper; the limit: its section 2.2 and the authors' code.
EXPLAINED = """\
People wrote 175 seed tasks; GPT-3 saw eight instructions at a time, wrote on, and after filtering there were 52,445
instructions with 82,439 instances ([Wang et al. 2023](https://arxiv.org/abs/2212.10560)). The same filters stand here:
an instruction has 4 to 150 words, begins with a letter or digit, asks for nothing a text model cannot see, and its
ROUGE-L with every instruction of the pool is below 0.7. The instruct model answers what is left. No filter knows
whether an answer is true: read them.
"""
WRITERS = [("Base, as in the paper", "base"), ("Instruct", "instruct")]


def draw_corner(studio: Studio) -> tuple[gr.State, gr.Button]:
    """The components; what was written, and the button that opens what was kept."""
    written = gr.State(())
    gr.Markdown(EXPLAINED)
    seeds = gr.Textbox(_seeds(), label="Seeds, one to a line", lines=6, max_lines=10)
    with gr.Row(elem_classes="switches"):
        writer = gr.Radio(WRITERS, value="base", label="Instructions are written by")
        wanted = gr.Slider(1, 50, 8, step=1, label="Examples to keep")
        limit = gr.Slider(0.3, 1.0, 0.7, step=0.05, label="ROUGE-L limit", info="the pool's nearest must be below")
        seed = gr.Number(0, label="Random seed", precision=0, minimum=0, maximum=1_000_000)
    with gr.Row():
        start = gr.Button("Write examples")
        stop = gr.Button("Stop", interactive=True)
    shown = gr.HTML()
    take = gr.Button("Look inside what was kept", visible=False)
    private: dict[str, Any] = {"api_visibility": "private"}
    run = start.click(
        write_examples(studio),
        [seeds, writer, wanted, limit, seed],
        [written, shown, take],
        show_progress="minimal",
        **private,
    )
    stop.click(None, None, None, cancels=[run], **private)
    return written, take


def _seeds() -> str:
    from pipelines.data.self_instruct import default_seeds

    try:
        return "\n".join(default_seeds())
    except InputError:
        return ""  # a studio without the lesson data: a person writes their own


def write_examples(studio: Studio) -> Callable[..., Iterator[tuple[tuple[Candidate, ...], str, Any]]]:
    """The handler that runs the rounds and draws each."""

    @shows_input_errors
    def write(
        seeds: str, writer: str, wanted: float, limit: float, seed: float | None
    ) -> Iterator[tuple[tuple[Candidate, ...], str, Any]]:
        from components.widgets.candidates import candidates_html
        from pipelines.data.self_instruct import self_instruct

        lines = (seeds or "").splitlines()
        rounds = self_instruct(
            studio.manager, lines, writer=writer, wanted=int(wanted), rouge_limit=limit, seed=int(seed or 0)
        )
        for candidates in rounds:
            kept = any(not candidate.why for candidate in candidates)
            yield candidates, candidates_html(candidates), gr.Button(visible=kept)

    return write


def open_examples(studio: Studio, candidates: tuple[Candidate, ...]) -> Session:
    """What was kept as a data set like any other. Raises InputError when nothing was."""
    from pipelines.data.self_instruct import write_examples as write_lines

    with store.workspace(studio.settings.runs_dir) as folder:
        path = folder / "self-instruct.jsonl"
        if not write_lines(candidates, path):
            raise InputError("nothing was kept", "Self-Instruct", "Write examples first.")
        file = {"path": str(path), "orig_name": path.name}
        return Session(
            open_dataset(studio.settings, file=file, measure=measure_of(studio.manager.tokenizer("instruct")))
        )
