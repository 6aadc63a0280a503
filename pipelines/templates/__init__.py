"""Chat templates: the catalogue, rendering with spans, and what can go wrong with each."""

from pipelines.templates.catalogue import catalogue, get_template, template_of
from pipelines.templates.rendering import render
from pipelines.templates.types import Answer, Rendered, Span, TemplateEntry

__all__ = [
    "Answer",
    "Rendered",
    "Span",
    "TemplateEntry",
    "catalogue",
    "get_template",
    "render",
    "template_of",
]
