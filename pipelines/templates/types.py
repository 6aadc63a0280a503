"""What a template is, and what a rendering is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SpanKind = Literal["control", "content"]


@dataclass(frozen=True, slots=True)
class TemplateEntry:
    """One chat template with what it needs to render.

    key:             name in `/templates` and `/render`
    families:        the models that use it, as people call them
    jinja:           the template's text
    special_tokens:  `bos_token`, `eos_token`, … as the template reads them
    supports_system: whether a system message appears in the rendering (found by rendering)
    supports_tools:  whether tools and tool calls appear in the rendering (found by rendering)
    source:          where the text comes from
    """

    key: str
    title: str
    families: tuple[str, ...]
    jinja: str
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    supports_system: bool = True
    supports_tools: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a rendering.

    kind:    `content` if the characters were said in a message, `control` if the template wrote them
    role:    whose turn they belong to
    message: position of that message from 0; None for text of no message (a default system prompt, BOS)
    """

    role: str
    kind: SpanKind
    start: int
    end: int
    message: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Characters `start` to `end` (exclusive) that the assistant has to write in message number `message`:
    its content and the token that ends its turn, without the header before it."""

    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text. `spans` tile it: ordered, no gap, no overlap, none empty."""

    text: str
    spans: tuple[Span, ...]
    answers: tuple[Answer, ...] = ()
