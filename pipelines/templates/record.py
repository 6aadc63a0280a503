"""`/render`: a conversation as text and spans, in plain types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.errors import InputError
from pipelines.messages import Message, parse_messages
from pipelines.templates.catalogue import get_template
from pipelines.templates.rendering import render
from pipelines.templates.sandbox import render_own
from pipelines.templates.types import Rendered, TemplateEntry


def render_record(
    messages: object,
    template: str,
    add_generation_prompt: bool = False,
    tools: object = None,
    jinja: str = "",
) -> dict[str, Any]:
    """`{text, spans}`; a span is `{role, kind, start, end}`.

    With `jinja`, that text is the template and `template` only lends its special tokens; it may be empty then.
    """
    rendered = render_any(parse_messages(messages), template, jinja, add_generation_prompt, parse_tools(tools))
    spans = [{"role": s.role, "kind": s.kind, "start": s.start, "end": s.end} for s in rendered.spans]
    return {"text": rendered.text, "spans": spans}


def render_any(
    messages: Sequence[Message],
    template: str,
    jinja: str = "",
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> Rendered:
    """Through a template of the catalogue, or through `jinja` in the sandbox."""
    entry = get_template(template) if template or not jinja.strip() else TemplateEntry("", "", (), "")
    if not jinja.strip():
        return render(messages, entry, add_generation_prompt=add_generation_prompt, tools=tools)
    return render_own(messages, own_template(entry, jinja), add_generation_prompt=add_generation_prompt, tools=tools)


def own_template(lender: TemplateEntry, jinja: str) -> TemplateEntry:
    """A visitor's text with the special tokens of a template of the catalogue."""
    return replace(lender, key="own", title="of your own", families=(), jinja=jinja, source="typed here")


def parse_tools(tools: object) -> list[dict[str, Any]] | None:
    """Tools as JSON gives them. Raises InputError unless they are a list of objects, or nothing."""
    if tools is None or tools == []:
        return None
    if not isinstance(tools, Sequence) or isinstance(tools, str) or not all(isinstance(tool, dict) for tool in tools):
        raise InputError("not a list of JSON schemas", "tools", 'Write [{"type": "function", "function": {…}}].')
    return [dict(tool) for tool in tools]
