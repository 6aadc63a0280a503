"""Stage 8, Base vs Chat: base, instruct and what was trained here answer one prompt; merging; the whole road."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from components import blind_vote
from components.context import Studio
from components.errors import shows_input_errors
from components.frame import stage_frame
from components.lesson import Lesson
from components.visitors import known_visitor
from components.widgets.answers import answers_html, merge_html, proof_html, refused_html, road_html
from pipelines.blind_vote import BlindVote, Entry
from pipelines.errors import InputError
from pipelines.models.names import HUB_ID
from pipelines.models.spec import ModelSpec
from pipelines.road import own_road, road
from pipelines.serving_script import serving_command, swapping_script

if TYPE_CHECKING:
    from pipelines.comparison import Answer

MAX_RUNS = 4  # columns of runs beside base and instruct; more would be too narrow to read
MAX_COLUMNS = 8  # of all kinds
LOOK = 2.0  # seconds between two looks for runs that have finished
REDRAW = 0.08  # seconds between two drawings of a stream: faster than reading
_INVITATION = '<p class="quiet">Ask, and every model you chose answers here, side by side.</p>'
_NOT_MERGED = '<p class="quiet">Measures bytes, speed and logits, with the adapter beside its base and merged.</p>'
_PEOPLE = "small adapters on one base in memory: several behaviours for 0.3 MB each"
_ELSEWHERE = "shipped, or made elsewhere for this pair: one base in memory, several behaviours"
_NO_MERGE = '<p class="quiet">Choose a run that was trained with LoRA: in the Practice tab one takes seconds.</p>'
_ASKED_BLIND = (
    '<p class="quiet">Asked blind: the vote stands above, on this page and on all that have this tab open.</p>'
)
_NO_RUNS = "nothing yet: a run of the Practice tab joins here by itself when it has finished"
_RUNS = f"up to {MAX_RUNS} of them join base and instruct"
_WITH_VISITOR = "(...values) => [...values.slice(0, -1), studioVisitor()]"
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    vote = BlindVote()
    with stage_frame("base-vs-chat") as frame:
        blind_vote.draw(frame, vote)
        with gr.Row(elem_classes="ask"):
            prompt = lesson.bind(
                "prompt",
                gr.Textbox(lesson.default("prompt"), label="Prompt", lines=1, max_lines=6, scale=5, max_length=4_000),
            )
            ask = gr.Button("Ask all", variant="primary", scale=0, min_width=120)
            stop = gr.Button("Stop", scale=0, min_width=90)
        there = _offered(studio)
        people = gr.CheckboxGroup(
            there, value=[], label="Adapters" if studio.manager.foreign() else "Personalities",
            visible=bool(there) or studio.settings.allow_any_model, elem_classes="personalities",
            info=_ELSEWHERE if studio.manager.foreign() else _PEOPLE,
        )  # fmt: skip
        if refused := studio.manager.refused():
            gr.HTML(refused_html(refused))
        added = gr.State(())
        if studio.settings.allow_any_model:
            with gr.Row(elem_classes="ask"):
                hub = gr.Textbox(label="Adapter of the Hub", placeholder="somebody/adapter", max_length=200, scale=5)
                add = gr.Button("Add", scale=0, min_width=120)
            gr.on([add.click, hub.submit], adder(studio), [hub, added, people], [added, people], **_QUIET)
        runs = gr.CheckboxGroup([], label="Trained here", info=_NO_RUNS)
        with gr.Row(elem_classes="knobs"):
            temperature = gr.Slider(0, 1.5, 0, step=0.1, label="Temperature", info="0 takes the likeliest token")
            length = gr.Slider(1, 200, 64, step=1, label="Length", info="tokens at most")
            seed = gr.Number(0, precision=0, minimum=0, label="Seed", info="for temperatures above 0")
            # Strangers on a public link are no room: what one asks is not for the others to read.
            blind = gr.Checkbox(
                False, label="Blind vote", info="names hidden, order shuffled; the whole room votes",
                visible=not studio.settings.public,
            )  # fmt: skip
        visitor = gr.Textbox(visible=False)
        answers = gr.HTML(_INVITATION, elem_id="answers")
        with gr.Row(elem_classes="ask"):
            merged = gr.Dropdown(
                there, value=there[0][1] if there else None, label="Merge an adapter", info="into a copy of its base",
                scale=5,
            )  # fmt: skip
            measure = gr.Button("Merge", scale=0, min_width=120)
        merge = gr.HTML(_NOT_MERGED if there else _NO_MERGE, elem_id="merge")
        gr.HTML(
            "<h4>The whole road</h4>" + road_html(road(), own_road() if studio.manager.pair.key == "pocket" else {})
        )
        known = gr.State(())
        timer = gr.Timer(LOOK, active=False)  # nobody looks for runs before the tab was opened
        frame.tab.select(lambda: gr.Timer(active=True), None, [timer], **_QUIET)
        listed = [known, runs, merged]
        gr.on([frame.tab.select, timer.tick], run_lister(studio), listed, listed, **_QUIET)
        asked = Asked()
        gr.on(
            [ask.click, prompt.submit],
            asker(studio, asked, vote),
            [prompt, runs, people, temperature, length, seed, blind, visitor],
            [answers],
            js=_WITH_VISITOR,
            concurrency_limit=None,
            **_QUIET,
        )
        stop.click(asked.stop, None, None, queue=False, **_QUIET)
        measure.click(merger(studio), [merged, prompt], [merge], concurrency_limit=2, **_QUIET)
        frame.prove(studio)
        # With a state among its inputs a follower asks through the queue, which knows the runs that were offered since
        # the page was built; past it, a run chosen now would be none of the choices.
        frame.take_home(script_writer(studio), [prompt, runs, people, length, known], "swap_adapters.py", "Script")
        frame.take_home(command_writer(studio), [runs, people, known], "serve.sh", "Serving command")


class Asked:
    """What each visitor is being answered, so that Stop ends it and the columns say so."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}

    @contextmanager
    def running(self, request: gr.Request | None) -> Iterator[threading.Event]:
        """The event that `stop` sets while this visitor is answered."""
        visitor, event = _visitor(request), threading.Event()
        self._events[visitor] = event
        try:
            yield event
        finally:
            if self._events.get(visitor) is event:
                del self._events[visitor]

    def stop(self, request: gr.Request | None = None) -> None:
        """End what this visitor is being answered, if anything."""
        event = self._events.get(_visitor(request))
        if event is not None:
            event.set()


def _visitor(request: gr.Request | None) -> str:
    return (request.session_hash if request else None) or ""


def run_lister(studio: Studio) -> Callable[..., tuple[Any, Any, Any]]:
    """The handler that offers the runs of this studio; a run that has just finished is chosen by itself."""

    def look(known: tuple[str, ...], chosen: list[str], merged: str | None) -> tuple[Any, Any, Any]:
        specs = studio.manager.runs()
        keys = tuple(spec.key for spec in specs)
        if keys == tuple(known):
            return gr.skip(), gr.skip(), gr.skip()
        titles = {f"run:{view.run_id}": view.title for view in studio.runs.list()}
        # The newest is the one that a person has just trained and come to see.
        new = [key for key in keys if key not in known][-1:]
        kept = [key for key in chosen if key in keys]
        now = [*kept, *(key for key in new if key not in kept)][-MAX_RUNS:]
        adapters = [spec for spec in specs if spec.adapter is not None]
        offered = [(titles.get(spec.key, spec.title), spec.key) for spec in reversed(specs)]
        mergeable = [(titles.get(spec.key, spec.title), spec.key) for spec in reversed(adapters)] + _offered(studio)
        fresh = [spec.key for spec in adapters if spec.key not in known]
        still = [key for _, key in mergeable if key == merged] or [key for _, key in mergeable]
        first = fresh[-1] if fresh else still[0] if still else None
        return (
            keys,
            gr.CheckboxGroup(offered, value=now, info=_RUNS if offered else _NO_RUNS),
            gr.Dropdown(mergeable, value=first),
        )

    return look


def asker(studio: Studio, asked: Asked, vote: BlindVote) -> Callable[..., Iterator[str]]:
    """The handler that streams the columns, and then proves the base."""

    @shows_input_errors
    def ask(
        prompt: str,
        runs: list[str],
        people: list[str],
        temperature: float,
        length: int,
        seed: int,
        blind: bool = False,
        visitor: str = "",
        request: gr.Request | None = None,
    ) -> Iterator[str]:
        from pipelines.comparison import side_by_side
        from pipelines.completion import Sampling

        if len(runs) > MAX_RUNS:
            raise InputError(f"{len(runs)} runs", "Trained here", f"Choose at most {MAX_RUNS}.")
        offered = {key for _, key in _offered(studio)}
        chosen = [key for key in people if key in offered or HUB_ID.fullmatch(key)]
        models = ["base", "instruct", *chosen, *runs]
        if len(models) > MAX_COLUMNS:
            raise InputError(f"{len(models)} models", "Ask all", f"Choose at most {MAX_COLUMNS - 2} beside the pair.")
        titles = _headings(studio, models)
        notes = [""] * len(models)
        drawn = 0.0
        columns: tuple[Answer, ...] = ()
        sampling = Sampling(length, temperature, seed)
        if blind and not studio.settings.public:
            with asked.running(request) as stopped:
                answered = side_by_side(studio.manager, prompt, models, sampling, stopped)
                yield from _ask_blind(vote, known_visitor(visitor, "Blind vote"), prompt, titles, answered, stopped)
            return
        with asked.running(request) as stopped:
            for columns in side_by_side(studio.manager, prompt, models, sampling, stopped):
                if time.monotonic() - drawn >= REDRAW:
                    drawn = time.monotonic()
                    yield answers_html(titles, columns, notes)
        if stopped.is_set():
            yield answers_html(titles, columns, notes)
            return
        notes[0] = '<p class="proof quiet">Reading the base from disk once more, to compare …</p>'
        yield answers_html(titles, columns, notes)
        notes[0] = _proof(studio, prompt, columns[0])
        yield answers_html(titles, columns, notes)

    return ask


def _ask_blind(
    vote: BlindVote,
    visitor: str,
    prompt: str,
    titles: list[str],
    answered: Iterator[tuple[Answer, ...]],
    stopped: threading.Event,
) -> Iterator[str]:
    """Put the answers to the vote of the room once all are there: how fast each came would tell who wrote it."""
    number = vote.ask(visitor, prompt, len(titles))
    columns: tuple[Answer, ...] = ()
    try:
        yield _ASKED_BLIND
        for latest in answered:
            columns = latest
            yield _ASKED_BLIND
        if stopped.is_set():
            yield '<p class="quiet">Stopped: nothing was put to the vote.</p>'
            return
        entries, failed = [], []
        for title, column in zip(titles, columns, strict=True):
            if column.completion is None or column.error:
                failed.append(title)
            else:
                # A line break at the start is the mark of a model that goes on where the question ends.
                entries.append(Entry(column.model, title, column.completion.text.strip()))
        vote.present(number, entries, failed)
    finally:
        vote.withdraw(number)


def adder(studio: Studio) -> Callable[..., tuple[Any, Any]]:
    """The handler that offers an adapter of the Hub beside the others, chosen at once."""

    @shows_input_errors
    def add(name: str, added: tuple[str, ...], chosen: list[str]) -> tuple[Any, Any]:
        name = name.strip()
        spec = studio.manager.resolve(name)
        if spec.adapter is None:
            raise InputError(
                f"'{name[:80]}' is no LoRA adapter that this machine can reach",
                "Adapter of the Hub",
                "Give the id of a repository that holds an adapter_config.json and safetensors.",
            )
        there = _offered(studio)
        if spec.key in {key for _, key in there}:
            return added, gr.CheckboxGroup(value=list(dict.fromkeys([*chosen, spec.key])))
        now = tuple(dict.fromkeys([*added, spec.key]))[-MAX_COLUMNS:]
        choices = there + [(key, key) for key in now]
        return now, gr.CheckboxGroup(choices, value=list(dict.fromkeys([*chosen, spec.key])))

    return add


def merger(studio: Studio) -> Callable[[str | None, str], Iterator[str]]:
    """The handler that merges a copy and shows what was measured."""

    @shows_input_errors
    def measure(run: str | None, prompt: str) -> Iterator[str]:
        from pipelines.comparison import measure_merge

        if not run:
            raise InputError("no run is chosen", "Merge an adapter", "Train one in the Practice tab first.")
        yield '<p class="quiet">Reading a copy of the base, merging, timing both …</p>'
        report = measure_merge(studio.manager, run, prompt)
        yield merge_html(report, _headings(studio, [run])[0])

    return measure


def script_writer(studio: Studio) -> Callable[..., str]:
    """The handler of the script to take home."""

    def write(prompt: str, runs: list[str], people: list[str], length: int, known: Any = ()) -> str:
        pair = studio.manager.pair
        return swapping_script(pair.base, pair.instruct, _specs(studio, [*people, *runs]), prompt, int(length))

    return write


def command_writer(studio: Studio) -> Callable[..., str]:
    """The handler of the serving command to take home."""

    def write(runs: list[str], people: list[str], known: Any = ()) -> str:
        return serving_command(studio.manager.pair.base, _specs(studio, [*people, *runs]))

    return write


def _proof(studio: Studio, prompt: str, base: Answer) -> str:
    from pipelines.comparison import prove_base

    if base.error:
        return ""
    try:
        return proof_html(prove_base(studio.manager, prompt))
    except InputError as error:
        return f'<p class="proof quiet">Not compared with a fresh base: {escape(error.what)}.</p>'


def _offered(studio: Studio) -> list[tuple[str, str]]:
    """Title and key of the adapters that are there without training: shipped, and from the models directory."""
    return [(spec.title, spec.key) for spec in (*studio.manager.personalities(), *studio.manager.foreign())]


def _specs(studio: Studio, chosen: list[str]) -> list[ModelSpec]:
    """The adapters and runs that are still there: a choice may outlive its run."""
    found = []
    for key in chosen:
        with suppress(InputError):
            spec = studio.manager.resolve(key)
            if spec.role in ("adapter", "fine-tuned"):
                found.append(spec)
    return found


def _headings(studio: Studio, models: list[str]) -> list[str]:
    return [_heading(studio, model) for model in models]


def _heading(studio: Studio, model: str) -> str:
    """What was trained, how, on what; of a model that was not trained here, its title."""
    spec = studio.manager.resolve(model)
    if model.startswith("run:"):
        with suppress(InputError):  # an adapter that was registered, and whose run is not here
            return studio.runs.view(model.removeprefix("run:")).title
    return spec.title
