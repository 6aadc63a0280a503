"""Stage 1, Problem: a pretrained model knows, but does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.frame import stage_frame
from components.lesson import Lesson
from components.pressed import number_of
from components.widgets.distribution import distribution_html
from components.widgets.generation import ending_html, generation_html
from components.widgets.spans import PRESS, Piece
from pipelines.messages import Message
from pipelines.problem_script import problem_script
from pipelines.running_example import CLOZE, QUESTION

if TYPE_CHECKING:
    from pipelines.completion import Completion, GeneratedToken

CHIPS = (
    QUESTION,
    "What is photosynthesis?",
    CLOZE,
    "Who wrote Hamlet?",
    "What is the chemical symbol of gold?",
    "The largest planet is",
)
SHOWN = 8  # bars under each column
_INVITATION = '<p class="quiet">Press a question above, or write your own.</p>'
REDRAW = 0.08  # seconds between two updates of a stream: faster than reading, slower than the model
MAX_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Panel:
    """One cell of {base, instruct} × {raw text, chat template}. `usual`: shown when only two are."""

    model: str
    chat: bool
    usual: bool

    @property
    def title(self) -> str:
        return f"{self.model.capitalize()} · {'chat template' if self.chat else 'raw text'}"

    @property
    def key(self) -> str:
        return f"{self.model}-{'chat' if self.chat else 'raw'}"


PANELS = (
    Panel("base", chat=False, usual=True),
    Panel("instruct", chat=False, usual=False),
    Panel("base", chat=True, usual=False),
    Panel("instruct", chat=True, usual=True),
)


@dataclass(frozen=True, slots=True)
class Trail:
    """What a panel shows.

    given:  the prompt as the model takes it, in pieces, and its ids
    tokens: what was written after it; `chosen` is the one whose alternatives are shown
    """

    given: tuple[Piece, ...]
    ids: tuple[int, ...]
    tokens: tuple[GeneratedToken, ...]
    chosen: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """The components of a panel."""

    panel: Panel
    column: gr.Column
    text: gr.HTML
    ending: gr.HTML
    bars: gr.HTML
    trail: gr.State

    @property
    def outputs(self) -> list[gr.components.Component]:
        return [self.text, self.ending, self.bars, self.trail]


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("problem") as frame:
        with gr.Row(elem_classes="ask"):
            prompt = lesson.bind(
                "prompt",
                gr.Textbox(lesson.default("prompt"), label="Prompt", lines=1, max_lines=6, scale=5, max_length=4_000),
            )
            run = gr.Button("Ask both", variant="primary", scale=0, min_width=120)
            stop = gr.Button("Stop", scale=0, min_width=90)
        with gr.Row(elem_classes="chips"):
            chips = [gr.Button(text, size="sm") for text in CHIPS]
        with gr.Row(elem_classes="knobs"):
            temperature = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature", info="0 takes the likeliest token")
            length = gr.Slider(1, MAX_TOKENS, 64, step=1, label="Length", info="tokens at most")
            seed = gr.Number(0, precision=0, minimum=0, label="Seed", info="for temperatures above 0")
            crossed = gr.Checkbox(False, label="Cross model and format", info="all four combinations")
        with gr.Row(elem_classes="cells"):
            cells = [_draw(panel) for panel in PANELS]
        knobs = [temperature, length, seed]
        _listen(studio, lesson, cells, prompt, knobs, crossed, (run, stop), chips)
        frame.prove(studio)
        frame.take_home(script_writer(studio), [prompt, *knobs, crossed], "base_and_instruct.py")


def _draw(panel: Panel) -> Cell:
    with gr.Column(visible=panel.usual, min_width=280, elem_classes=["cell", f"cell-{panel.key}"]) as column:
        gr.HTML(f"<h4>{panel.title}</h4>")
        text = gr.HTML(_INVITATION, js_on_load=PRESS, elem_classes="written")
        ending = gr.HTML("")
        bars = gr.HTML("", js_on_load=PRESS, elem_classes="alternatives")
    return Cell(panel, column, text, ending, bars, gr.State(None))


def _listen(
    studio: Studio,
    lesson: Lesson,
    cells: list[Cell],
    prompt: gr.Textbox,
    knobs: list[gr.components.Component],
    crossed: gr.Checkbox,
    buttons: tuple[gr.Button, gr.Button],
    chips: list[gr.Button],
) -> None:
    run, stop = buttons
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    running = []
    for cell in cells:
        # A stream of its own for each panel: they are written at the same time, and one that fails fails alone.
        running.append(
            gr.on(
                [run.click, prompt.submit, *(chip.click for chip in chips)],
                asker(studio, cell.panel, chips),
                [prompt, crossed, *knobs],
                cell.outputs,
                concurrency_limit=None,
                **quiet,
            )
        )
        cell.text.press(look, [cell.trail], [cell.text, cell.bars, cell.trail], **quiet)
        running.append(
            cell.bars.press(
                brancher(studio, cell.panel), [cell.trail, *knobs], cell.outputs, concurrency_limit=None, **quiet
            )
        )
    for chip, text in zip(chips, CHIPS, strict=True):
        lesson.choose(chip, "prompt", text)
    stop.click(None, None, None, cancels=running, api_visibility="private")
    crossed.change(show_cells, [crossed], [cell.column for cell in cells], **quiet)


def show_cells(crossed: bool) -> list[gr.Column]:
    """All four panels, or the two a person meets in practice."""
    return [gr.Column(visible=panel.usual or crossed) for panel in PANELS]


Update = tuple[str, str, str, Trail | None]  # text, ending, bars and trail of a panel


def asker(studio: Studio, panel: Panel, chips: Sequence[gr.Button]) -> Callable[..., Iterator[Update]]:
    """The handler that streams one panel; a press on one of the chips asks that instead of what the box holds."""

    @shows_input_errors
    def ask(
        typed: str, crossed: bool, temperature: float, length: int, seed: int, event: gr.EventData
    ) -> Iterator[Update]:
        from pipelines.completion import Sampling, chat, complete

        if not (panel.usual or crossed):
            return
        yield _loading()
        # One event for all: Gradio's page looks through every event for each of its components when it opens.
        prompt = str(event.target.value) if event.target in chips else typed
        sampling = Sampling(length, temperature, seed)
        if panel.chat:
            answer = chat(studio.manager, (Message("user", prompt),), panel.model, sampling)
        else:
            answer = complete(studio.manager, prompt, panel.model, sampling)
        yield from _show(studio, panel, answer, ())

    return ask


def brancher(studio: Studio, panel: Panel) -> Callable[..., Iterator[Update]]:
    """The handler of a press on an alternative: the text up to the chosen token, then the alternative, goes on."""

    @shows_input_errors
    def branch(
        trail: Trail | None, temperature: float, length: int, seed: int, event: gr.EventData
    ) -> Iterator[Update]:
        from pipelines.completion import Sampling, continue_ids, stop_ids

        if trail is None or not trail.tokens:
            return
        here = trail.tokens[trail.chosen]
        place = number_of(event, "index")
        if not 0 <= place < len(here.alternatives):
            return
        other = here.alternatives[place]
        kept = (
            *trail.tokens[: trail.chosen],
            replace(here, id=other.id, text=other.token, probability=other.probability),
        )
        if other.id in stop_ids(studio.manager, panel.model):
            ended = replace(trail, tokens=(*kept[:-1], replace(kept[-1], special=True)))
            yield _text(ended, busy=False), ending_html(len(kept), 0.0, "eos"), _bars(ended), ended
            return
        ids = (*trail.ids, *(token.id for token in kept))
        sampling = Sampling(max(1, int(length) - len(kept)), temperature, seed)
        yield from _show(studio, panel, continue_ids(studio.manager, ids, panel.model, sampling), kept, trail)

    return branch


@shows_input_errors
def look(trail: Trail | None, event: gr.EventData) -> tuple[Any, Any, Trail | None]:
    """A press on a written token: show what else could have stood there."""
    place = number_of(event, "index")
    if trail is None or not 0 <= place < len(trail.tokens):
        return gr.skip(), gr.skip(), trail
    chosen = replace(trail, chosen=place)
    return _text(chosen, busy=False), _bars(chosen), chosen


def script_writer(studio: Studio) -> Callable[..., str]:
    """The handler of Take home."""

    def write(prompt: str, temperature: float, length: int, seed: int, crossed: bool) -> str:
        pair = studio.manager.pair
        return problem_script(pair.base, pair.instruct, prompt, temperature, int(length), int(seed or 0), crossed)

    return write


def _show(
    studio: Studio,
    panel: Panel,
    answer: Iterator[Completion],
    kept: tuple[GeneratedToken, ...],
    before: Trail | None = None,
) -> Iterator[Update]:
    """The panel as the answer grows, after the tokens that a branch has kept."""
    trail, drawn = before, 0.0
    for state in answer:
        if trail is None:
            trail = Trail(_given(studio, panel, state.prompt_ids), state.prompt_ids, ())
        trail = replace(trail, tokens=(*kept, *state.tokens), chosen=min(trail.chosen, len(kept)))
        now = time.monotonic()
        if state.stop_reason is None and now - drawn < REDRAW:
            continue
        drawn = now
        ending = ending_html(len(trail.tokens), state.seconds, state.stop_reason, state.place)
        yield (_text(trail, busy=state.stop_reason is None), ending, _bars(trail), trail)


def _given(studio: Studio, panel: Panel, ids: tuple[int, ...]) -> tuple[Piece, ...]:
    """The prompt as the model takes it, special tokens as chips."""
    from pipelines.completion import spelled

    role = "user" if panel.chat else ""
    return tuple(
        Piece(text, role="control", control=True) if special else Piece(text, role=role)
        for text, special in spelled(studio.manager, panel.model, ids)
    )


def _text(trail: Trail, busy: bool) -> str:
    return generation_html(trail.given, trail.tokens, "written by the model", chosen=trail.chosen, busy=busy)


def _bars(trail: Trail) -> str:
    if not trail.tokens:
        return ""
    token = trail.tokens[trail.chosen]
    others = token.alternatives[:SHOWN]
    taken = next((place for place, other in enumerate(others) if other.id == token.id), None)
    place = "First token" if trail.chosen == 0 else f"Token {trail.chosen + 1}"
    return distribution_html(others, f"{place}: what could stand here", chosen=taken, pressable=True)


def _loading() -> Update:
    return '<p class="quiet">The model is being asked …</p>', "", "", None
