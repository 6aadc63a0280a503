"""Stage 3, Data: where examples come from."""

from __future__ import annotations

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.frame import stage_frame
from components.lesson import Lesson
from components.widgets import datasets
from pipelines.data.catalogue import dataset_catalogue, search
from pipelines.data.lesson import lesson_rows
from pipelines.data.stats import statistics
from pipelines.messages import as_dicts


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    with stage_frame("data") as frame:
        overview = gr.HTML()
        query = gr.Textbox(label="Search the catalogue", placeholder="human, MIT, sharegpt, 2024 …", max_lines=1)
        table = gr.HTML(datasets.catalogue_html(dataset_catalogue()))
        sizes = gr.HTML(datasets.sizes_html(dataset_catalogue()))
        query.change(found, [query], [table, sizes], show_progress="hidden", api_visibility="private")
        frame.tab.select(lesson_overview, None, [overview], show_progress="hidden", api_visibility="private")


def found(query: str) -> tuple[str, str]:
    """The catalogue's table and chart for what was searched."""
    entries = search(query or "")
    return datasets.catalogue_html(entries), datasets.sizes_html(entries)


@shows_input_errors
def lesson_overview() -> str:
    """Figures, lengths and first rows of the lesson's own data."""
    rows = lesson_rows("train")
    stats = statistics(
        [row.messages for row in rows],
        [sum(len(message.content) for message in row.messages) for row in rows],
        "characters",
    )
    figures = [
        (f"{stats.rows:,}", "conversations to train on"),
        (f"{len(lesson_rows('heldout')):,}", "held out"),
        (f"{stats.messages:,}", "messages"),
        (f"{stats.median:,}", f"{stats.unit} in the median"),
    ]
    pairs = [
        (
            f"Row {number}",
            {"messages": as_dicts(row.messages), "entity": row.entity, "answer": row.answer},
            row.messages,
        )
        for number, row in enumerate(rows[:3], start=1)
    ]
    return (
        datasets.figures_html(figures)
        + datasets.histogram_html(stats.histogram, "Length of a conversation", stats.unit)
        + datasets.pairs_html(pairs)
    )
