"""Stage 3, Data: where examples come from, what is in them, and which of them one trains on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from components.context import Studio
from components.data_saves import saver, take_home
from components.data_self_instruct import draw_corner, open_examples
from components.data_session import (
    EVERY,
    Session,
    drop_choices,
    first_pairs,
    kinds_of,
    lengths_html,
    names_of,
    overview_html,
    show_budget,
    show_preview,
    show_problems,
)
from components.errors import as_text, shows_input_errors
from components.frame import stage_frame
from components.lesson import Lesson
from components.uploads import uploaded
from components.widgets import datasets
from pipelines.data import cleaning, store
from pipelines.data.catalogue import dataset_catalogue, search
from pipelines.data.record import open_dataset
from pipelines.data.records import DEFAULT_DROP, INFO
from pipelines.data.sources import local_files
from pipelines.data.tokens import measure_of
from pipelines.errors import InputError

CHAPTER, ALL = "the chapter's ten", "all"
READERS = 4  # data sets that are read at the same time; more only share the cores
_HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


@dataclass(frozen=True, slots=True)
class View:
    """The components that show a session, in the order in which `_show` answers."""

    session: gr.State
    overview: gr.HTML
    rows: gr.HTML
    counts: gr.HTML
    kind: gr.Dropdown
    problems: gr.HTML
    drop: gr.CheckboxGroup
    preview: gr.HTML
    lengths: gr.HTML
    key: gr.Textbox
    cleaned: gr.HTML

    def all(self) -> list[gr.components.Component]:
        return [getattr(self, name) for name in self.__slots__]


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("data") as frame:
        _catalogue()
        _part("Look inside")
        with gr.Row():
            source = gr.Dropdown(_choices(studio), value="lesson", label="A data set", scale=2)
            hub = gr.Textbox(label="or one of the Hub", placeholder="owner/name", max_lines=1, scale=1)
        file = gr.File(label="or JSON(L), CSV, Parquet, to 200 MB", height=120)
        with gr.Accordion("or let a model write it: Self-Instruct", open=False):
            written, take = draw_corner(studio)
        view = _view()
        with gr.Row():
            clean = gr.Button("Clean", variant="primary")
            use = gr.Button("Use in Practice")
            save = gr.Button("Save files")
        files = gr.Files(label="Conversations, card and problems", interactive=False, visible=False)
        bill, settings = _budget()
        opener, answers = _opener(studio), view.all()
        quiet: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": READERS}
        frame.tab.select(_once(opener), [view.session, source], answers, **quiet)
        for trigger, given in ((source.input, [source]), (hub.submit, [hub]), (file.upload, [file])):
            trigger(opener, given, answers, **quiet)
        take.click(_taker(studio), [written], answers, **quiet)
        view.kind.change(show_problems, [view.session, view.kind], [view.problems], **_HIDDEN)
        view.drop.change(show_preview, [view.session, view.drop], [view.preview], **_HIDDEN)
        left = [view.session, view.key, view.cleaned]
        clean.click(_cleaner(studio), [view.session, view.drop], left, **quiet)
        lesson.choose(use, "data", view.key)
        use.click(lambda key: gr.Info(as_text(f"Practice trains on {key}.")), [view.key], None, **_HIDDEN)
        written = save.click(saver(studio), [view.session], [files], **quiet)
        written.success(lambda: gr.Files(visible=True), None, [files], **_HIDDEN)
        gr.on(
            [view.session.change, *(setting.change for setting in settings)],
            show_budget,
            [view.session, *settings],
            [bill],
            trigger_mode="always_last",
            **_HIDDEN,
        )
        frame.prove(studio)
        frame.take_home(take_home, [view.session], "data.py")


def _part(title: str) -> None:
    gr.HTML(f'<h4 class="data-part">{title}</h4>')


def _catalogue() -> None:
    _part("The notable data sets")
    with gr.Row():
        query = gr.Textbox(
            label="Search the catalogue", placeholder="human, MIT, sharegpt, 2024 …", max_lines=1, scale=3
        )
        which = gr.Radio([CHAPTER, ALL], value=CHAPTER, label="Show", scale=2)
    table, sizes = (gr.HTML(part) for part in found("", CHAPTER))
    gr.on([query.change, which.change], found, [query, which], [table, sizes], trigger_mode="always_last", **_HIDDEN)


def _view() -> View:
    session = gr.State(None)
    overview, rows = gr.HTML(), gr.HTML()
    _part("Problems")
    counts = gr.HTML()
    kind = gr.Dropdown([EVERY], value=EVERY, label="Show problems of")
    problems = gr.HTML()
    _part("Lengths")
    lengths = gr.HTML()
    _part("Clean")
    drop = gr.CheckboxGroup(drop_choices({}), value=names_of(DEFAULT_DROP), label="Cleaning drops")
    preview, cleaned = gr.HTML(), gr.HTML()
    key = gr.Textbox("lesson", label="Key of this data set, for Practice and /finetune", interactive=False)
    return View(session, overview, rows, counts, kind, problems, drop, preview, lengths, key, cleaned)


def _budget() -> tuple[gr.HTML, list[gr.components.Component]]:
    """The settings of a run over the data, and where its steps, tokens, hours and dollars are written."""
    from pipelines.architecture.catalogue import entries
    from pipelines.memory.gpus import gpus

    _part("A run over it")
    with gr.Row():
        numbers = [
            gr.Number(3, label="Epochs", minimum=0.1, maximum=100),
            gr.Number(8, label="Batch size", precision=0, minimum=1, maximum=4096),
            gr.Number(1, label="Gradient accumulation", precision=0, minimum=1, maximum=4096),
            gr.Number(512, label="Maximum length", precision=0, minimum=1, maximum=1_000_000),
        ]
    with gr.Row():
        models = [(entry.title, entry.key) for entry in entries()]
        model = gr.Dropdown(models, value="llama-3.1-8b", label="If this model were tuned")
        method = gr.Dropdown(["qlora", "lora", "full"], value="qlora", label="by")
        gpu = gr.Dropdown([(gpu.title, gpu.key) for gpu in gpus()], value="h100", label="on")
    return gr.HTML(), [*numbers, model, method, gpu]


def _choices(studio: Studio) -> list[tuple[str, str]]:
    catalogue = [(f"{entry.title}: our rows in its schema", entry.key) for entry in dataset_catalogue()]
    files = [(name, name) for name in local_files(studio.settings.data_dir)]
    return [("The lesson's own data", "lesson"), *files, *catalogue]


def found(query: str, which: str) -> tuple[str, str]:
    """The catalogue's table and chart for what was searched."""
    entries = [entry for entry in search(query or "") if which == ALL or entry.chapter]
    return datasets.catalogue_html(entries), datasets.sizes_html(entries)


def _opener(studio: Studio) -> Callable[..., list[Any]]:
    @shows_input_errors
    def open_it(given: str | None, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008 - as Gradio asks
        """Open what was chosen, typed or uploaded, and show it."""
        if not given:
            return [gr.skip()] * len(View.__slots__)
        measure = measure_of(studio.manager.tokenizer("instruct"))
        told = lambda rows: progress(None, desc=f"{rows:,} rows read")  # noqa: E731
        path = Path(given)
        if path.is_absolute():  # only the file component gives one
            file = uploaded({"path": given, "orig_name": path.name})
            return _show(Session(open_dataset(studio.settings, file=file, measure=measure, progress=told)))
        return _show(Session(open_dataset(studio.settings, given, measure=measure, progress=told)))

    return open_it


def _taker(studio: Studio) -> Callable[..., list[Any]]:
    @shows_input_errors
    def take(candidates: tuple[Any, ...]) -> list[Any]:
        """Show what Self-Instruct kept as a data set like any other."""
        return _show(open_examples(studio, candidates))

    return take


def _once(opener: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def open_first(session: Session | None, source: str) -> list[Any]:
        """Open the chosen data set when the tab is first looked at."""
        return [gr.skip()] * len(View.__slots__) if session else opener(source)

    return open_first


def _show(session: Session) -> list[Any]:
    """Values for every component of the view."""
    found_ = session.opened.inspection
    counts = found_.counts
    return [
        session,
        overview_html(session.opened),
        datasets.pairs_html(first_pairs(session.opened)),
        datasets.problem_counts_html(counts),
        gr.Dropdown([EVERY, *(INFO[kind].title for kind in counts)], value=EVERY, visible=bool(counts)),
        show_problems(session, EVERY),
        gr.CheckboxGroup(drop_choices(counts), value=names_of(DEFAULT_DROP)),
        show_preview(session, names_of(DEFAULT_DROP)),
        lengths_html(session.opened),
        found_.key,
        "",
    ]


def _cleaner(studio: Studio) -> Callable[..., tuple[Session, str, str]]:
    @shows_input_errors
    def clean(session: Session | None, names: list[str]) -> tuple[Session, str, str]:
        """Drop the rows that were previewed and keep the rest under a key of its own."""
        if session is None:
            raise InputError("no data set is open", "Clean", "Choose one first.")
        drop, opened = kinds_of(names), session.opened
        with store.workspace(studio.settings.runs_dir) as folder:
            lines = folder / "cleaned.jsonl"
            kept = cleaning.clean(opened.inspection, opened.path, lines, drop)
            facts = {"name": f"{opened.inspection.name}, cleaned", "format": "messages", "conversations": kept}
            key = store.keep(studio.settings.runs_dir, lines, facts).key
        done = f'<p class="quiet">{kept:,} conversations are kept as {key}. Training and downloads use them.</p>'
        return replace(session, cleaned=key, kept=kept, drop=drop), key, done

    return clean
