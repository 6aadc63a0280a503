"""What a press on a drawn button tells; its details come from the page's script, or from whoever writes a client."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipelines.errors import InputError


def detail(event: gr.EventData, name: str) -> Any:
    """One of the details, None where it was not sent."""
    try:
        return getattr(event, name)
    except (AttributeError, TypeError):  # the latter where what was sent has no parts at all
        return None


def number_of(event: gr.EventData, name: str) -> int:
    """A detail that counts something. Raises InputError for anything else."""
    value = detail(event, name)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError("this press does not say on what", name, "Reload the page.") from None
