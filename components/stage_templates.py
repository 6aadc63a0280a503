"""Stage 4, Templates: any conversation through any chat template."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.context import Studio
from components.frame import stage_frame
from components.lesson import Lesson
from components.system_prompts import draw_bench
from components.widgets.conversation import conversation_editor
from components.widgets.renderings import difference_html, refusal_html, rendering_html
from components.widgets.spans import Piece, legend_html
from pipelines.errors import InputError
from pipelines.messages import Message, parse_messages
from pipelines.templates.catalogue import catalogue, get_template
from pipelines.templates.types import Rendered, TemplateEntry
from pipelines.untrusted_json import read_json

if TYPE_CHECKING:
    from pipelines.templates.warnings import TemplateWarning

OWN = "own"
NOTHING = ""
SECOND, THIRD = "chatml", "llama3.2"
OWN_EXAMPLE = """\
{%- for message in messages -%}
    {{- '<|' + message.role + '|>' + message.content + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""
TOOLS_EXAMPLE = """\
[{"type": "function", "function": {"name": "weather", "description": "The weather of a city",
  "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
"""
_PAIRS = {"1 and 2": (0, 1), "1 and 3": (0, 2), "2 and 3": (1, 2)}


@dataclass(frozen=True, slots=True)
class Column:
    """One rendering: its title, what came out, or the sentence of a refusal."""

    title: str
    rendered: Rendered | None
    warnings: tuple[TemplateWarning, ...] = ()
    refusal: str = ""


def build(studio: Studio, lesson: Lesson) -> None:
    """Draw the tab."""
    entries = catalogue()
    choices = [(entry.title, entry.key) for entry in entries] + [("Own Jinja, below", OWN)]
    first = lesson.default("template")
    with stage_frame("templates") as frame:
        messages = lesson.bind("messages", conversation_editor(lesson.default("messages")))
        with gr.Row(elem_classes="pick-templates"):
            one = lesson.bind("template", gr.Dropdown(choices, value=_known(first, entries), label="Template 1"))
            two = gr.Dropdown(choices, value=_known(SECOND, entries), label="Template 2")
            three = gr.Dropdown([("None", NOTHING), *choices], value=NOTHING, label="Template 3")
        with gr.Row(elem_classes="switches"):
            prompt = gr.Checkbox(False, label="Generation prompt", info="open the answer at the end")
            whitespace = gr.Checkbox(False, label="Whitespace", info="draw spaces and newlines")
            ids = gr.Checkbox(False, label="Token ids", info="as the running pair's tokenizer cuts it")
            pair = gr.Radio(list(_PAIRS), value="1 and 2", label="Difference of")
        with gr.Accordion("Own Jinja", open=False):
            jinja = gr.Code(OWN_EXAMPLE, language="jinja2", label="Choose “Own Jinja” above to see it", lines=7)
        with gr.Accordion("Tools", open=False):
            tools = gr.Code("", language="json", label="A list of JSON schemas", lines=4)
            example = gr.Button("Put an example", size="sm")
        gr.HTML(legend_html(["system", "user", "assistant", "tool", "control"]))
        with gr.Row(elem_classes="renderings"):
            columns = [gr.HTML("", min_height=120) for _ in range(3)]
        gr.HTML("<h4>Difference, character by character</h4>")
        difference = gr.HTML("")
        example.click(lambda: TOOLS_EXAMPLE, None, [tools], show_progress="hidden", api_visibility="private")
        inputs = [messages, one, two, three, jinja, tools, prompt]
        frame.follow(viewer(studio), [*inputs, whitespace, ids, pair], [*columns, difference])
        draw_bench(studio, lesson)
        home = [messages, one, jinja, tools, prompt]
        frame.prove(studio)
        frame.take_home(take_template, [one, jinja], "chat_template.jinja", "The template", play_says=True)
        frame.take_home(take_script, home, "chat_template.py", "In a tokenizer, with its test", play_says=True)


def _known(key: str, entries: tuple[TemplateEntry, ...]) -> str:
    return key if any(entry.key == key for entry in entries) else entries[0].key


def viewer(studio: Studio) -> Callable[..., tuple[str, str, str, str]]:
    """The handler that draws the three columns and the difference."""

    def view(
        messages: list[dict[str, Any]],
        one: str,
        two: str,
        three: str,
        jinja: str,
        tools: str,
        prompt: bool,
        whitespace: bool,
        ids: bool,
        pair: str,
    ) -> tuple[str, str, str, str]:
        conversation, schemas = parse_messages(messages), read_tools(tools)
        columns = [column(conversation, key, jinja, prompt, schemas) for key in (one, two, three)]
        tokenizer = studio.manager.tokenizer("instruct") if ids else None
        drawn = [draw(each, whitespace, tokenizer) for each in columns]
        return drawn[0], drawn[1], drawn[2], differ(*(columns[at] for at in _PAIRS[pair]))

    return view


def column(
    messages: tuple[Message, ...], key: str, jinja: str, prompt: bool, tools: list[dict[str, Any]] | None
) -> Column | None:
    """The conversation through one template; None for none."""
    if not key:
        return None
    from pipelines.templates import render
    from pipelines.templates.sandbox import render_own, warnings_of_own
    from pipelines.templates.warnings import warnings_for, warnings_of

    entry = entry_of(key, jinja)
    try:
        if key == OWN:
            rendered = render_own(messages, entry, add_generation_prompt=prompt, tools=tools)
            known = warnings_of_own(entry)
        else:
            rendered = render(messages, entry, add_generation_prompt=prompt, tools=tools)
            known = warnings_of(entry)
    except InputError as error:
        return Column(entry.title, None, refusal=error.what)
    return Column(entry.title, rendered, warnings_for(messages, rendered) + known)


def entry_of(key: str, jinja: str) -> TemplateEntry:
    """The template of that key; a person's own borrows the pocket pair's special tokens."""
    from pipelines.templates.record import own_template

    if key != OWN:
        return get_template(key)
    return own_template(catalogue()[0], jinja)


def draw(this: Column | None, whitespace: bool, tokenizer: Any) -> str:
    """A column's HTML; with a tokenizer, token by token."""
    if this is None:
        return ""
    if this.rendered is None:
        return refusal_html(this.title, this.refusal)
    tokens = token_pieces(this.rendered, tokenizer) if tokenizer is not None else None
    return rendering_html(this.title, this.rendered, this.warnings, whitespace=whitespace, tokens=tokens)


def token_pieces(rendered: Rendered, tokenizer: Any) -> list[Piece]:
    """The tokens of a rendering, coloured by the span they begin in, with their ids."""
    from pipelines.labels import touching
    from pipelines.loss_mask import token_texts

    encoded = tokenizer(rendered.text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    spans = touching(offsets, [(span.start, span.end) for span in rendered.spans])
    pieces = []
    for token, text, at in zip(encoded["input_ids"], token_texts(rendered.text, offsets), spans, strict=True):
        span = rendered.spans[at] if at is not None else None
        control = span is None or span.kind == "control"
        role = "control" if span is None or control else span.role
        note = f"{span.role} · {span.kind} · id {token}" if span else f"id {token}"
        pieces.append(Piece(text, role, control, note=note, below=str(token)))
    return pieces


def differ(left: Column | None, right: Column | None) -> str:
    """The difference of two columns, or why there is none."""
    from pipelines.templates.comparing import compare

    if left is None or right is None or left.rendered is None or right.rendered is None:
        return '<p class="quiet">Choose two templates that render this conversation.</p>'
    return difference_html(left.title, right.title, compare(left.rendered, right.rendered))


def read_tools(text: str) -> list[dict[str, Any]] | None:
    """The tools that were typed. Raises InputError with the line where the JSON breaks."""
    from pipelines.templates.record import parse_tools

    if not text or not text.strip():
        return None
    try:
        return parse_tools(read_json(text))
    except json.JSONDecodeError as error:
        raise InputError(f"line {error.lineno}: {error.msg}", "tools", "Write a JSON list.") from error


def take_template(key: str, jinja: str) -> str:
    """The text of the first template."""
    return entry_of(key, jinja).jinja


def take_script(messages: list[dict[str, Any]], key: str, jinja: str, tools: str, prompt: bool) -> str:
    """A script with the first template, its tokenizer snippet and a test; a sentence where it refuses."""
    from pipelines.templates.take_home import template_script

    conversation, schemas = parse_messages(messages), read_tools(tools)
    this = column(conversation, key, jinja, prompt, schemas)
    if this is None or this.rendered is None:
        return f"# {this.title if this else key} refuses this conversation:\n# {this.refusal if this else ''}\n"
    return template_script(
        conversation,
        entry_of(key, jinja),
        this.rendered,
        add_generation_prompt=prompt,
        tools=schemas,
        dated=any(warning.key == "date" for warning in this.warnings),
    )
