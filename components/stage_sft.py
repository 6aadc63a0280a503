"""Stage 2, SFT: the loss sees the assistant's tokens only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.context import Studio
from components.errors import shows_input_errors
from components.frame import stage_frame
from components.lesson import Lesson
from components.widgets.conversation import conversation_editor
from components.widgets.masks import figures_html, mask_html, rows_html, verdict_html
from components.widgets.renderings import warnings_html
from components.widgets.spans import Piece
from pipelines.messages import parse_messages
from pipelines.templates.catalogue import catalogue

if TYPE_CHECKING:
    from pipelines.batches import BatchRow
    from pipelines.loss_mask import LossMask

TRAIN_ON = [
    ("Every answer", "assistant"),
    ("Last answer only", "last_assistant"),
    ("Everything", "everything"),
]
MAX_LENGTH = 1024  # SFTConfig's own default
COMPANIONS = 3  # conversations of the lesson that make a batch with the one on the page


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    choices = [(entry.title, entry.key) for entry in catalogue()]
    keys = [key for _, key in choices]
    first = lesson.default("template")
    with stage_frame("sft") as frame:
        messages = lesson.bind("messages", conversation_editor(lesson.default("messages")))
        with gr.Row(elem_classes="switches"):
            train_on = gr.Radio(TRAIN_ON, value="assistant", label="Train on", scale=2)
            model = gr.Radio([("Base", "base"), ("Instruct", "instruct")], value="instruct", label="Losses of")
            template = lesson.bind(
                "template", gr.Dropdown(choices, value=first if first in keys else keys[0], label="Template")
            )
            length = gr.Slider(16, 4096, MAX_LENGTH, step=16, label="max_length", info="training cuts after it")
            whitespace = gr.Checkbox(False, label="Whitespace", info="draw spaces and newlines")
        figures = gr.HTML("", min_height=84)
        tokens = gr.HTML('<p class="quiet">The tokens appear as soon as the model is loaded.</p>', min_height=120)
        warnings = gr.HTML("")
        gr.HTML("<h4>What TRL's assistant_only_loss would train on</h4>")
        trl = gr.HTML("", min_height=30)
        asked = [messages, template, model, train_on]
        frame.follow(viewer(studio), [*asked, length, whitespace], [figures, tokens, warnings])
        frame.follow(asker(studio), [messages, template, model], [trl], quiet=True)
        _draw_batch(studio, messages, template, model, length)
        frame.prove(studio)
        title = "The labels, as TRL trains on them"
        frame.take_home(labelled_script(studio), asked, "labelled.py", title, play_says=True)
        frame.take_home(
            marked_template(studio),
            [template, model],
            "chat_template_training.jinja",
            label="The template with generation markers, for assistant_only_loss=True",
        )


def _draw_batch(studio: Studio, messages: gr.HTML, template: gr.Dropdown, model: gr.Radio, length: gr.Slider) -> None:
    with gr.Accordion("Several conversations as one batch", open=False):
        with gr.Row(elem_classes="switches"):
            kind = gr.Radio(["Padded", "Packed"], value="Padded", label="Batch")
            press = gr.Button("Draw the batch", size="sm", scale=0, min_width=160)
        batch = gr.HTML("")
        inputs = [messages, template, model, length, kind]
        press.click(batcher(studio), inputs, [batch], show_progress="minimal", api_visibility="private")


def viewer(studio: Studio) -> Callable[..., tuple[str, str, str]]:
    """The handler that labels the conversation and draws it."""

    def view(
        messages: list[dict[str, Any]], template: str, model: str, train_on: str, length: int, whitespace: bool
    ) -> tuple[str, str, str]:
        from pipelines.completion import stop_ids
        from pipelines.mask_warnings import mask_warnings

        mask = masked(studio, messages, template, model, train_on)
        stops = stop_ids(studio.manager, model)
        known = mask_warnings(
            mask.rendered, mask.labelled, studio.manager.tokenizer(model), eos_ids=stops, max_length=int(length)
        )
        return figures_html(mask, studio.manager.no_weights(model)), mask_html(mask, whitespace), warnings_html(known)

    return view


def masked(studio: Studio, messages: list[dict[str, Any]], template: str, model: str, train_on: str) -> LossMask:
    """The mask of what is on the page, with losses where the weights are here."""
    from pipelines.loss_mask import loss_mask, template_for

    conversation = parse_messages(messages)
    entry = template_for(studio.manager, template, model)
    losses = not studio.manager.no_weights(model)
    return loss_mask(studio.manager, conversation, entry, model, train_on, losses)  # type: ignore[arg-type]


def asker(studio: Studio) -> Callable[..., str]:
    """The handler that asks TRL; apart from the drawing, because TRL takes seconds to import."""

    def ask(messages: list[dict[str, Any]], template: str, model: str) -> str:
        from pipelines.labels import label
        from pipelines.loss_mask import template_for
        from pipelines.templates import render
        from pipelines.trl_mask import compare_with_trl

        conversation, entry = parse_messages(messages), template_for(studio.manager, template, model)
        tokenizer = studio.manager.tokenizer(model)
        rendered = render(conversation, entry)
        return verdict_html(compare_with_trl(conversation, entry, tokenizer, rendered, label(rendered, tokenizer)))

    return ask


def batcher(studio: Studio) -> Callable[..., str]:
    """The handler that makes a batch of this conversation and three of the lesson, by TRL's collator."""

    @shows_input_errors
    def draw(messages: list[dict[str, Any]], template: str, model: str, length: int, kind: str) -> str:
        from pipelines.batches import packed, padded
        from pipelines.data.lesson import lesson_rows
        from pipelines.labels import label
        from pipelines.loss_mask import template_for
        from pipelines.templates import render

        entry, tokenizer = template_for(studio.manager, template, model), studio.manager.tokenizer(model)
        lesson = [row.messages for row in lesson_rows("train")[:COMPANIONS]]
        conversations = [parse_messages(messages), *lesson]
        labelled = [label(render(each, entry), tokenizer) for each in conversations]
        make = packed if kind == "Packed" else padded
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        rows = make(labelled, pad, int(length))
        return rows_html(
            [batch_pieces(row, tokenizer) for row in rows], [row_caption(row, make is packed) for row in rows]
        )

    return draw


def batch_pieces(row: BatchRow, tokenizer: Any) -> list[Piece]:
    """The tokens of a row: supervised ones lit, each with its position under it."""
    return [
        Piece(
            tokenizer.decode([token]),
            "assistant" if name != -100 else "",
            control=whose is None,
            lit=name != -100,
            note=f"{'padding' if whose is None else f'conversation {whose + 1}'} · position {position} · "
            f"label {name if name != -100 else '−100'}",
            below=str(position) if position % 10 == 0 else "",
        )
        for token, name, position, whose in zip(
            row.input_ids, row.labels, row.positions, row.conversations, strict=True
        )
    ]


def row_caption(row: BatchRow, packed: bool = False) -> str:
    """What a row holds. packed: whether rows hold several conversations; then TRL keeps those without labels, too."""
    held = sorted({whose + 1 for whose in row.conversations if whose is not None})
    padding = sum(whose is None for whose in row.conversations)
    names = f"conversation{'s' if len(held) > 1 else ''} {', '.join(map(str, held))}"
    learned = sum(name != -100 for name in row.labels)
    left_out = "" if learned or packed else "; SFTTrainer leaves such a row out"
    return f"{names}: {len(row.input_ids)} tokens, {learned} supervised, {padding} padding{left_out}"


def marked_template(studio: Studio) -> Callable[..., str]:
    """The handler that gives the template with markers, or says why there is none."""

    def write(template: str, model: str) -> str:
        from pipelines.loss_mask import template_for
        from pipelines.templates.markers import with_markers

        entry = template_for(studio.manager, template, model)
        marked = with_markers(entry)
        if marked.jinja is None:
            return f"{{# No markers for {entry.title}: {marked.reason}. Take the labels instead. #}}"
        return marked.jinja

    return write


def labelled_script(studio: Studio) -> Callable[..., str]:
    """The handler of Take home."""

    def write(messages: list[dict[str, Any]], template: str, model: str, train_on: str) -> str:
        from pipelines.labels import label
        from pipelines.loss_mask import template_for
        from pipelines.templates import render
        from pipelines.templates.take_home import labels_script

        conversation, entry = parse_messages(messages), template_for(studio.manager, template, model)
        rendered = render(conversation, entry)
        labelled = label(rendered, studio.manager.tokenizer(model), train_on)  # type: ignore[arg-type]
        return labels_script(entry, rendered, labelled, studio.manager.resolve(model).source)

    return write
