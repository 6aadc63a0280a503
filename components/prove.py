"""The Prove block of every tab: the claim before it runs, the experiment while it runs, the verdict after."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.watching import watch
from components.widgets.experiments import claim_html, running_html, verdict_html
from pipelines.experiments import experiment
from pipelines.experiments.service import LARGEST_SEED

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": True}
_ENDED = '<p class="prove-state" role="status">Cancelled. Nothing runs, unless somebody else asked for the same.</p>'


def draw(studio: Studio, key: str, verb: str = "Prove it") -> None:
    """The block of an experiment. Nothing runs until somebody presses the button."""
    gr.HTML(claim_html(experiment(key).claim))
    draw_runner(studio, lambda: key, [], verb)


def draw_runner(
    studio: Studio, key_of: Callable[..., str], settings: Sequence[gr.components.Component], verb: str
) -> None:
    """Button, Cancel, seed and result of the experiment whose key `key_of(*settings)` is."""
    with gr.Row(elem_classes="keep prove-knobs"):
        begin = gr.Button(verb, variant="primary", elem_classes="prove-begin", scale=0, min_width=120)
        cancel = gr.Button("Cancel", elem_classes="prove-cancel", interactive=False, scale=0, min_width=100)
        seed = gr.Number(
            0, minimum=0, maximum=LARGEST_SEED, precision=0, label="Seed", elem_classes="prove-seed", scale=0,
            min_width=120,
        )  # fmt: skip
    shown = gr.HTML("", elem_classes="prove-shown")
    # Nobody waits in Gradio's queue for somebody's experiment: the service has a queue of its own, and says the place.
    proven = begin.click(
        prover(studio, key_of), [seed, *settings], [shown, begin, cancel], concurrency_limit=None, **_QUIET
    )
    # A generator that raised has not put the buttons back.
    proven.failure(_buttons, None, [begin, cancel], **_QUIET)
    cancel.click(_cancelled, None, [shown, begin, cancel], cancels=[proven], **_QUIET)


def prover(studio: Studio, key_of: Callable[..., str]) -> Callable[..., AsyncIterator[tuple[Any, ...]]]:
    """The handler of the button: streams what is drawn until the verdict."""

    @shows_input_errors
    async def prove(seed: float | None, *settings: Any) -> AsyncIterator[tuple[Any, ...]]:
        key = key_of(*settings)
        async with contextlib.aclosing(watch(studio.experiments, key, seed)) as states:
            async for state in states:
                if state.report:
                    yield verdict_html(state.report, state.kept), *_buttons()
                else:
                    yield running_html(experiment(key).claim, state), *_buttons(running=True)

    return prove


def _buttons(running: bool = False) -> tuple[gr.Button, gr.Button]:
    return gr.Button(interactive=not running), gr.Button(interactive=running)


def _cancelled() -> tuple[Any, ...]:
    return _ENDED, *_buttons()
